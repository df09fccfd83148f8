"""A call that takes longer than COMITY_TIMEOUT and gets on all the time succeeds: two hosts on a link of 200 Mbit/s.

Needs root, iproute2 and the shaping discipline tbf; without them it says so and exits 77 (a counted skip). Namespaces are
named by process id and always removed. Usage: slow_call.py FOLDER_WITH_PROGRAMS
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "support"))
import rails  # noqa: E402
import ranks  # noqa: E402

BYTES = 64 << 20  # 2.7 s each way


def main():
    ranks.need_namespaces("tc")
    size = ["-b", str(BYTES), "-e", str(BYTES), "-n", "1", "-w", "0", "-c", "1"]
    with rails.Rails(1, "200mbit") as hosts:
        results = hosts.perf(pathlib.Path(sys.argv[1], "all_reduce_perf"), 1, "rail0", *size, COMITY_TIMEOUT="1")
    took_s = BYTES / results["results"][0]["out_of_place"]["alg_bw"] / 1e9
    print(f"one call took {took_s:.1f} s; COMITY_TIMEOUT is 1 s")
    assert took_s > 2, "the link is not slow: this shows nothing"


main()
