#!/usr/bin/env python3
"""COMITY_STRIPE: one pair of ranks over two transports on two cables of unequal speed, beside each alone, interleaved.

Two hosts from network namespaces, cables shaped by tbf; a Send and a Recv each at once (send_recv_perf), results checked. TCP has one
cable and UCX the other. Root, iproute2 and UCX's library are needed. Usage: stripes.py FOLDER_WITH_PROGRAMS [ROUNDS]
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests" / "lab" / "support"))
import ranks  # noqa: E402

SIZES = [1 << 20, 8 << 20, 32 << 20]
SPEEDS = [("tcp 800, ucx 400 Mbit/s", 800, 400), ("tcp 400, ucx 800 Mbit/s", 400, 800)]
WAYS = {"tcp": ("tcp", ""), "ucx": ("ucx", ""), "both": ("ucx,tcp", "ucx,tcp")}


def bytes_per_s(programs, hosts, way, size):
    transports, stripe = WAYS[way]
    environment = {**os.environ, "COMITY_TRANSPORTS": transports, "COMITY_STRIPE": stripe, "COMITY_SOCKET_IFNAME": "=cable0", "UCX_TLS": "tcp",
                   "UCX_NET_DEVICES": "cable1", "UCX_WARN_UNUSED_ENV_VARS": "n", "COMITY_LOG": "error"}
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "id")
        result = os.path.join(folder, "result.json")
        started = []
        for host in range(2):
            command = [os.path.join(programs, "send_recv_perf"), "--rank", str(host), "--nranks", "2", "--id-file", name, "-b", str(size), "-e",
                       str(size), "-n", str(max(2, (64 << 20) // size)), "-w", "1", "-J", result + str(host)]
            started.append(subprocess.Popen(["ip", "netns", "exec", hosts.names[host], *command], env=environment, stdout=subprocess.PIPE,
                                            stderr=subprocess.STDOUT, text=True))
        outputs = [each.communicate(timeout=300)[0] for each in started]
        assert all(each.returncode == 0 for each in started), "\n".join(outputs)
        return size / json.load(open(result + "0"))["results"][0]["out_of_place"]["time"] * 1e6


def main():
    programs, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    ranks.need_namespaces("tc")
    print("| | MiB | " + " | ".join(f"{way}, MB/s" for way in WAYS) + " | both / sum of cables |\n|---" + "|---" * (len(WAYS) + 2) + "|")
    for title, first, second in SPEEDS:
        with ranks.Hosts(2) as hosts:
            for host in range(2):
                hosts.ip(host, "link", "set", "lo", "up")
            for number, speed in enumerate((first, second)):
                hosts.wire(0, 1, f"cable{number}")
                for host in range(2):
                    hosts.ip(host, "addr", "add", f"10.79.{number}.{host + 1}/24", "dev", f"cable{number}")
                    hosts.shape(host, f"cable{number}", f"{speed}mbit")
            subprocess.run(["sleep", "3"], check=True)  # UCX lists no interface that is younger
            for size in SIZES:
                speeds = {way: [] for way in WAYS}
                for _ in range(rounds):
                    for way in WAYS:
                        speeds[way].append(bytes_per_s(programs, hosts, way, size) / 1e6)
                cells = [f"{statistics.median(each):.0f} ({min(each):.0f}-{max(each):.0f})" for each in speeds.values()]
                print(f"| {title} | {size >> 20} | {' | '.join(cells)} | {statistics.median(speeds['both']) / (first + second) * 8:.2f} |", flush=True)


main()
