"""Two hosts from network namespaces, two ranks each: shared memory inside, sockets across, one rail or two.

Needs root, iproute2 and the shaping discipline tbf; without them it says so and exits 77 (a counted skip). Namespaces are
named by process id and always removed. Rails are shaped to equal rates, so that two of them have twice the bandwidth of one.
Usage: two_hosts.py FOLDER_WITH_PROGRAMS
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "support"))
import rails  # noqa: E402
import ranks  # noqa: E402


def best_algbw(results):
    return max(row["out_of_place"]["alg_bw"] for row in results["results"])


def main():
    ranks.need_namespaces("tc")
    program = pathlib.Path(sys.argv[1], "all_reduce_perf")
    with rails.Rails(2, "400mbit") as hosts:
        sizes = ["-b", "4M", "-e", "4M", "-n", "5", "-w", "2", "-c", "1"]
        one = best_algbw(hosts.perf(program, 2, "rail0", *sizes))
        two = best_algbw(hosts.perf(program, 2, "rail0,rail1", *sizes))
        hosts.perf(program, 2, "rail0,rail1", "-b", "8", "-e", "64K", "-f", "16", "-n", "5", "-c", "1")
    print(f"one rail {one:.4f} GB/s, two rails {two:.4f} GB/s, ratio {two / one:.2f}")
    assert two >= 1.7 * one, f"two equal rails gave {two / one:.2f} times one; at least 1.7 is promised"


main()
