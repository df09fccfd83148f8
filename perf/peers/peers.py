#!/usr/bin/env python3
"""Comity beside Open MPI and MPICH, interleaved in one run, and a table of ratios per size.

Each round runs every contender once over a band of sizes before it goes on to the next band, so that a slow
minute of the machine falls on all of them. The first round tries every known setting of each peer; later ones
keep those that came near the best somewhere. What is compared is Comity's median with that of the best peer at
each size, whichever that is there. A ratio below 1 means that Comity is faster.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys

import contenders
import everything
import ratios
import wires
from process import RunFailed, run

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "peers"
PACKAGES = ("openmpi-bin", "libopenmpi-dev", "mpich", "libmpich-dev", "iproute2")
COMPILERS = {"openmpi": "mpicc.openmpi", "mpich": "mpicc.mpich"}
WIRES = ("shm", "tcp-loopback", "tcp-veth")
# Sizes that take about as long as each other are measured in one go.
BANDS = ((8, 8 << 10), (32 << 10, 2 << 20), (8 << 20, 128 << 20))


def parse_size(text):
    match = re.fullmatch(r"(\d+)([kKmMgG]?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is no size")
    return int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[match[2].lower()]


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./dev peers", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="8:128M", help="first:last, by factors of 4 (default %(default)s)")
    parser.add_argument("--transport", choices=("shm", "tcp", "all"), default="all")
    parser.add_argument("--netns", action="store_true", help="of TCP, only between two namespaces")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5, help="rounds, the sweep included (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two rounds of fewer calls: a look, not a claim")
    parser.add_argument("--all", action="store_true", help="every collective, over shared memory and TCP on loopback")
    parser.add_argument("--congestion", default="reno", help="congestion control of everyone (default %(default)s)")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin", help="where all_reduce_perf is")
    parser.add_argument("--without-comity", action="store_true", help="measure the peers alone")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "perf/baselines", help="folder for the results")
    parser.add_argument("--no-store", action="store_true", help="print only")
    arguments = parser.parse_args()
    arguments.first, arguments.last = (parse_size(part) for part in arguments.sizes.split(":"))
    if arguments.quick:
        arguments.runs = min(arguments.runs, 1 if arguments.all else 2)
    return arguments


# ---- Preparation -----------------------------------------------------------------------------------------------


def install_peers():
    """Debian's packages, if a compiler or a launcher is missing."""
    if all(shutil.which(tool) for tool in (*COMPILERS.values(), "mpirun.openmpi", "mpirun.mpich", "ip")):
        return
    if os.geteuid() != 0:
        sys.exit(f"peers: as root, run: apt-get install {' '.join(PACKAGES)}")
    print("peers: installing", *PACKAGES, flush=True)
    for words in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        subprocess.run(["apt-get", "-qq", *words], check=True, stdout=subprocess.DEVNULL, timeout=900,
                       env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def compile_programs():
    """The same source for each MPI; {family: path}."""
    BUILD.mkdir(parents=True, exist_ok=True)
    programs = {}
    for family, compiler in COMPILERS.items():
        programs[family] = str(BUILD / f"mpi_collectives.{family}")
        run([compiler, "-std=gnu99", "-O2", f"-I{ROOT}", str(ROOT / "perf/peers/mpi_collectives.c"), "-lm",
             "-o", programs[family]], timeout_s=120)
    return programs


def cores():
    return len(os.sched_getaffinity(0))


def line_up(arguments, programs, wire, collective="all_reduce"):
    """Everyone who takes part over this wire, Comity first."""
    found = []
    if not arguments.without_comity:
        for buffers in ("plain", "registered"):
            ours = str(arguments.bin / f"{collective}_perf")
            found.append(contenders.comity(ours, wire, arguments.ranks, buffers))
    found += contenders.open_mpi(programs["openmpi"], wire, arguments.ranks, cores(), collective)
    found += contenders.mpich(programs["mpich"], wire, arguments.ranks, cores(), collective)
    return found


# ---- Measuring -------------------------------------------------------------------------------------------------


def loads(arguments, collective):
    """One per band of sizes, cut to what was asked for."""
    if arguments.all:
        return [everything.load(arguments, collective)]
    found = []
    for low, high in BANDS:
        sizes = [size for size in (8 << 2 * i for i in range(20)) if low <= size <= high]
        sizes = [size for size in sizes if arguments.first <= size <= arguments.last]
        if not sizes:
            continue
        load = contenders.Load(sizes[0], sizes[-1])
        if arguments.quick:
            load.calls, load.volume, load.seconds = 300, 256 << 20, 0.5
        if low >= 8 << 20:
            load.warmup = 2
        found.append(load)
    return found


def measure_once(contender, load, times, failures):
    """A failure of a peer is reported and does not end the comparison; one of Comity's does."""
    try:
        times.add(contender, contender.measure(load))
    except RunFailed as failure:
        if contender.family.startswith("comity"):
            raise
        failures.append(f"{contender.name}: {failure}")
        print(f"  {contender.name} failed: {str(failure).splitlines()[0]}", flush=True)


def measure_wire(arguments, programs, wire, collective="all_reduce"):
    """All rounds of one collective over one wire."""
    times, failures = ratios.Times(), []
    field = line_up(arguments, programs, wire, collective)
    if arguments.all:
        field = [contender for contender in field if contender.tuned]
    for number in range(arguments.runs):
        print(f"peers: {collective}, {wire.name}, round {number + 1} of {arguments.runs}, {len(field)} contenders", flush=True)
        for load in loads(arguments, collective):
            for contender in field:
                measure_once(contender, load, times, failures)
        if number == 0:
            keep = times.contenders_worth_keeping()
            field = [c for c in field if c.family.startswith("comity") or (c.tuned and c.name in keep)]
    return times, failures


def machine_limits(arguments):
    """What `limits` says just now; empty if it is not built."""
    program = arguments.bin / "limits"
    if not program.exists():
        return {}
    path = contenders.board()
    try:
        run([str(program), "--no-tcp", "-e", "16M", "-J", path], timeout_s=60)
        return json.loads(pathlib.Path(path).read_text())
    except RunFailed as failure:
        print(f"  limits failed: {failure}")
        return {}
    finally:
        os.unlink(path)


# ---- Results ---------------------------------------------------------------------------------------------------


def cpu_name():
    match = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    return match[1].strip() if match else platform.machine()


def commit():
    found = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                           check=False)
    return found.stdout.strip() or "unknown"


def regimes_of(times):
    return [{"line_ns": line, "ratios": ratios.table(part)} for line, part in times.regimes()]


def describe(arguments, wire_results, before, after):
    return {
        "version": 1,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit(),
        "cpu": cpu_name(),
        "cores": cores(),
        "ranks": arguments.ranks,
        "rounds": arguments.runs,
        "quick": arguments.quick,
        "congestion": arguments.congestion,
        "load_average": os.getloadavg(),
        "limits_before": before,
        "limits_after": after,
        "wires": {
            name: {"regimes": regimes_of(times), "times": times.records, "failures": failures}
            for name, (times, failures) in wire_results.items()
        },
    }


def as_markdown(document, wire_results):
    line = document["limits_before"].get("line_latency_ns", 0), document["limits_after"].get("line_latency_ns", 0)
    lines = [
        f"# All-reduce beside Open MPI and MPICH, {document['date'][:10]}",
        "",
        f"{document['cpu']}, {document['cores']} cores; {document['ranks']} ranks; float, sum; each owner rewrites its",
        f"input before each call; {document['rounds']} interleaved rounds; commit {document['commit']}.",
        f"One-way latency of a cache line {line[0]:.0f} ns before and {line[1]:.0f} ns after; load average "
        f"{document['load_average'][0]:.1f}.",
        "A cell is Comity's median over the best peer's median, and between its lowest and highest round; below 1",
        "Comity is faster.",
    ]
    for name, (times, failures) in wire_results.items():
        lines += ["", f"## {name}", ""]
        if name != "shm":
            lines += [f"Congestion control of everyone: {document['congestion']}.", ""]
        for line_ns, part in times.regimes():
            if line_ns is not None:
                lines += [f"While a cache line took about {line_ns:.0f} ns between the ranks:", ""]
            lines += [ratios.markdown(ratios.table(part), part), "", "Medians in us, out of place / in place:", ""]
            lines += [ratios.times_markdown(part), ""]
        lines += [*[f"- failed: {failure.splitlines()[0]}" for failure in failures]] if failures else []
    return "\n".join(lines) + "\n"


def store(arguments, document, text):
    arguments.output.mkdir(parents=True, exist_ok=True)
    cpu = re.sub(r"[^a-z0-9]+", "-", document["cpu"].lower()).strip("-")
    suffix = "" if arguments.ranks == 2 else f"-{arguments.ranks}-ranks"
    base = arguments.output / f"{document['date'][:10]}-{cpu}{suffix}"
    base.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    base.with_suffix(".md").write_text(text)
    print(f"peers: stored {base}.json and .md")


def measure_all(arguments, programs, before):
    """--all: the table of every collective; stored beside the others."""
    results = {}
    for name in everything.WIRES:
        with wires.open_wire(name, arguments.congestion) as wire:
            for collective in everything.COLLECTIVES:
                results[collective, name] = measure_wire(arguments, programs, wire, collective)
    document = describe(arguments, {}, before, machine_limits(arguments))
    text = everything.markdown(document, results)
    print("\n" + text)
    if not arguments.no_store:
        arguments.output.mkdir(parents=True, exist_ok=True)
        path = arguments.output / f"{document['date'][:10]}-peers-all.md"
        path.write_text(text)
        print(f"peers: stored {path}")


def wires_wanted(arguments):
    if arguments.transport == "shm":
        return ("shm",)
    tcp = ("tcp-veth",) if arguments.netns else ("tcp-loopback", "tcp-veth")
    return tcp if arguments.transport == "tcp" else ("shm", *tcp)


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that namespaces are removed then, too
    install_peers()
    programs = compile_programs()
    before = machine_limits(arguments)
    if arguments.all:
        measure_all(arguments, programs, before)
        return
    results = {}
    for name in wires_wanted(arguments):
        with wires.open_wire(name, arguments.congestion) as wire:
            results[name] = measure_wire(arguments, programs, wire)
    document = describe(arguments, results, before, machine_limits(arguments))
    text = as_markdown(document, results)
    print("\n" + text)
    if not arguments.no_store:
        store(arguments, document, text)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (RunFailed, PermissionError, subprocess.SubprocessError) as error:
        sys.exit(f"peers: {error}")
