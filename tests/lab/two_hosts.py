"""Two hosts from network namespaces, two ranks each: shared memory inside, sockets across, one rail or two.

Needs root, iproute2 and the shaping discipline tbf; without them it says so and exits 77 (a counted skip). Namespaces are
named by process id and always removed. Rails are shaped to equal rates, so that two of them have twice the bandwidth of one.
Usage: two_hosts.py FOLDER_WITH_PROGRAMS
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

RATE = "400mbit"
SKIP = 77


def run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)


def skip(why):
    print(f"skipped: needs {why}")
    sys.exit(SKIP)


class Lab:
    """Two namespaces joined by two shaped veth pairs."""

    def __init__(self):
        self.names = [f"comity-{os.getpid()}-{side}" for side in "ab"]

    def __enter__(self):
        for name in self.names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        for rail in range(2):
            run("ip", "-n", self.names[0], "link", "add", f"rail{rail}", "type", "veth", "peer", "name", f"rail{rail}", "netns", self.names[1])
            for side, name in enumerate(self.names):
                run("ip", "-n", name, "addr", "add", f"10.77.{rail}.{side + 1}/24", "dev", f"rail{rail}")
                run("ip", "-n", name, "link", "set", f"rail{rail}", "up")
                run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", f"rail{rail}", "root", "tbf", "rate", RATE, "burst", "256kb", "latency", "100ms")
        return self

    def __exit__(self, *unused):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def measure(lab, programs, interfaces, arguments):
    """Runs all_reduce_perf as four ranks, two in each namespace; returns rank 0's JSON."""
    with tempfile.TemporaryDirectory() as folder:
        results = pathlib.Path(folder, "results.json")
        ranks = []
        for rank in range(4):
            command = ["ip", "netns", "exec", lab.names[rank // 2], str(programs / "all_reduce_perf"), "--rank", str(rank), "--nranks", "4",
                       "--id-file", str(pathlib.Path(folder, "id"))] + arguments
            if rank == 0:
                command += ["-J", str(results)]
            environment = dict(os.environ, COMITY_SOCKET_IFNAME=interfaces, COMITY_LOG="warn")
            ranks.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        try:
            outputs = [rank.communicate(timeout=120)[0] for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
        for rank, output in zip(ranks, outputs):
            assert rank.returncode == 0, f"a rank ended with {rank.returncode}:\n{output}"
        print(outputs[0])
        return json.loads(results.read_text())


def best_algbw(results):
    return max(row["out_of_place"]["algbw_gb_per_s"] for row in results["results"])


def main():
    programs = pathlib.Path(sys.argv[1])
    if os.geteuid() != 0:
        skip("root for network namespaces")
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            skip(tool)
    with Lab() as lab:
        sizes = ["-b", "4M", "-e", "4M", "-n", "5", "-w", "2", "-c", "1"]
        one = best_algbw(measure(lab, programs, "rail0", sizes))
        two = best_algbw(measure(lab, programs, "rail0,rail1", sizes))
        measure(lab, programs, "rail0,rail1", ["-b", "8", "-e", "64K", "-f", "16", "-n", "5", "-c", "1"])
    print(f"one rail {one:.4f} GB/s, two rails {two:.4f} GB/s, ratio {two / one:.2f}")
    assert two >= 1.7 * one, f"two equal rails gave {two / one:.2f} times one; at least 1.7 is promised"


main()
