#!/usr/bin/env python3
"""Comity's transports beside ucx_perftest, interleaved: UCX over its TCP and over shared memory, our own tcp and shm.

Two ranks on this machine, a Send and a Recv each at once (send_recv_perf), which for short messages takes as long as one way;
ucx_perftest's active messages go one way at a time (am_lat: half a round trip). Usage: transports.py FOLDER_WITH_PROGRAMS [ROUNDS]
"""
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

SIZES = [8 << 3 * i for i in range(8)]  # 8 B to 16 MiB
WAYS = {"tcp": "tcp", "shm": "posix,cma,self"}


def calls(size):
    return 2000 if size <= 4096 else 200 if size <= 1 << 20 else 20


def ours(programs, transport, size, **environment):
    with tempfile.NamedTemporaryFile(suffix=".json") as result:
        command = [os.path.join(programs, "send_recv_perf"), "--ranks", "2", "-b", str(size), "-e", str(size), "-n", str(calls(size)), "-w", "20",
                   "-c", "0", "--owner-writes", "--transport", transport, "-J", result.name]
        env = {**os.environ, "UCX_WARN_UNUSED_ENV_VARS": "n", "COMITY_SOCKET_IFNAME": "=lo", **environment}
        subprocess.run(command, env=env, check=True, capture_output=True, timeout=120)
        return json.load(open(result.name))["results"][0]["out_of_place"]["time"]


def perftest(way, size):
    env = {**os.environ, "UCX_TLS": WAYS[way], "UCX_NET_DEVICES": "lo", "UCX_WARN_UNUSED_ENV_VARS": "n"}
    if way == "shm":
        del env["UCX_NET_DEVICES"]
    server = subprocess.Popen(["taskset", "-c", "0", "ucx_perftest", "-p", "13400"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    command = ["taskset", "-c", "1", "ucx_perftest", "127.0.0.1", "-p", "13400", "-t", "ucp_am_lat", "-s", str(size), "-n", str(calls(size)), "-w", "20", "-f"]
    try:
        deadline = time.monotonic() + 30
        while True:
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode == 0:
                break
            assert time.monotonic() < deadline, done.stderr
        figures = re.findall(r"^\s*\d+\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)", done.stdout, re.M)
        return float(figures[-1][1])
    finally:
        server.kill()
        server.wait()


def main():
    programs, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    contenders = {
        "comity tcp": lambda size: ours(programs, "tcp", size),
        "comity ucx, tcp": lambda size: ours(programs, "ucx", size, UCX_TLS="tcp", UCX_NET_DEVICES="lo"),
        "ucx_perftest tcp": lambda size: perftest("tcp", size),
        "comity shm": lambda size: ours(programs, "shm", size),
        "comity ucx, shm": lambda size: ours(programs, "ucx", size, UCX_TLS="posix,cma,tcp,self", UCX_NET_DEVICES="lo", UCX_POSIX_ERROR_HANDLING="y"),
        "ucx_perftest shm": lambda size: perftest("shm", size),
    }
    times = {name: {size: [] for size in SIZES} for name in contenders}
    for number in range(rounds):
        for size in SIZES:
            for name, measure in contenders.items():
                times[name][size].append(measure(size))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    text = lambda size: f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB" if size >= 1024 else f"{size} B"
    print("| us, median (lowest-highest) | " + " | ".join(map(text, SIZES)) + " |")
    print("|---" * (len(SIZES) + 1) + "|")
    for name, mine in times.items():
        print(f"| {name} | " + " | ".join(f"{statistics.median(each):.3g} ({min(each):.3g}-{max(each):.3g})" for each in mine.values()) + " |")


main()
