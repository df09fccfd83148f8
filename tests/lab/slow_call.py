"""A call that takes longer than COMITY_TIMEOUT and gets on all the time succeeds: two hosts on a link of 200 Mbit/s.

Needs root, iproute2 and the shaping discipline tbf; without them it says so and exits 77 (a counted skip). Namespaces are
named by process id and always removed. Usage: slow_call.py FOLDER_WITH_PROGRAMS
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

RATE = "200mbit"
BYTES = 64 << 20  # 2.7 s each way
SKIP = 77


def run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)


def skip(why):
    print(f"skipped: needs {why}")
    sys.exit(SKIP)


class Link:
    """Two namespaces joined by one shaped veth pair."""

    def __init__(self):
        self.names = [f"comity-slow-{os.getpid()}-{side}" for side in "ab"]

    def __enter__(self):
        for name in self.names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", self.names[0], "link", "add", "slow", "type", "veth", "peer", "name", "slow", "netns", self.names[1])
        for side, name in enumerate(self.names):
            run("ip", "-n", name, "addr", "add", f"10.78.0.{side + 1}/24", "dev", "slow")
            run("ip", "-n", name, "link", "set", "slow", "up")
            run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "slow", "root", "tbf", "rate", RATE, "burst", "64kb", "latency", "100ms")
        return self

    def __exit__(self, *unused):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def all_reduce(link, programs, folder):
    """One all-reduce of BYTES, a rank in each namespace; returns rank 0's results."""
    results = pathlib.Path(folder, "results.json")
    ranks = []
    for rank, name in enumerate(link.names):
        command = ["ip", "netns", "exec", name, str(programs / "all_reduce_perf"), "--rank", str(rank), "--nranks", "2", "--id-file",
                   str(pathlib.Path(folder, "id")), "-b", str(BYTES), "-e", str(BYTES), "-n", "1", "-w", "0", "-c", "1"]
        if rank == 0:
            command += ["-J", str(results)]
        environment = dict(os.environ, COMITY_SOCKET_IFNAME="slow", COMITY_TIMEOUT="1", COMITY_LOG="warn")
        ranks.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    try:
        outputs = [rank.communicate(timeout=240)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    for rank, output in zip(ranks, outputs):
        assert rank.returncode == 0, f"a rank ended with {rank.returncode}:\n{output}"
    print(outputs[0])
    return json.loads(results.read_text())


def main():
    programs = pathlib.Path(sys.argv[1])
    if os.geteuid() != 0:
        skip("root for network namespaces")
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            skip(tool)
    with Link() as link, tempfile.TemporaryDirectory() as folder:
        row = all_reduce(link, programs, folder)["results"][0]
    took_s = BYTES / row["out_of_place"]["algbw_gb_per_s"] / 1e9
    print(f"one call took {took_s:.1f} s; COMITY_TIMEOUT is 1 s")
    assert took_s > 2, "the link is not slow: this shows nothing"


main()
