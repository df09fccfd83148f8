"""Who takes part, each library at the settings at which it was found best.

A contender is a name, the family whose best is looked for, and how it is run over a wire. Peers allocate their
temporaries per call; the tuned C library below keeps the memory, which is worth up to 20x at 64 MiB. Each MPI is
also run once without it ("untuned"), because that is what a user gets who does not know.
"""

import dataclasses
import json
import os
import tempfile

import wires
from process import RunFailed, run, run_all

HEAP = {
    "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4294967295:glibc.malloc.trim_threshold=8589934592"
    ":glibc.malloc.top_pad=268435456"
}
# What is kept of a measurement; line_ns: the line latency before and after it.
RECORD = {name: name for name in ("median_us", "min_us", "max_us", "iterations", "line_ns")}
OPEN_MPI_ENV = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


@dataclasses.dataclass
class Load:
    """One run: sizes from first to last by factors, and how long to measure."""

    first: int
    last: int
    factor: int = 4
    calls: int = 1000
    warmup: int = 5
    volume: int = 1 << 30
    seconds: float = 1.5
    timeout_s: int = 90


@dataclasses.dataclass
class Contender:
    name: str
    family: str
    measure: object  # (Load) -> {size: {"out_of_place": {...}, "in_place": {...}}}
    tuned: bool = True


def board():
    """A file of zeros in memory, through which ranks start together; the caller removes it."""
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else None
    descriptor, path = tempfile.mkstemp(prefix="comity-board-", dir=folder)
    os.close(descriptor)
    return path


def _load_options(load):
    return ["-b", load.first, "-e", load.last, "-f", load.factor, "-n", load.calls, "-w", load.warmup,
            "--volume", load.volume]


def _words(*items):
    return [str(item) for item in items]


def _placements(row, rename):
    """By placement; a collective that is never in place has one."""
    places = [place for place in ("out_of_place", "in_place") if row[place]]
    return {place: {new: row[place].get(old) for new, old in rename.items()} for place in places}


# ---- Comity ----------------------------------------------------------------------------------------------------


def _read_comity(path):
    with open(path) as file:
        document = json.load(file)
    if document["out_of_bounds"]["count"]:
        raise RunFailed(f"{document['program']} found wrong elements")
    rename = {**RECORD, "median_us": "time"}
    return {row["size"]: _placements(row, rename) for row in document["results"]}


def _comity_commands(program, wire, ranks, options, board_path):
    if not wire.two_hosts:
        return [wire.place([program, "--ranks", str(ranks), *options])]
    commands = []
    for rank in range(ranks):
        place = ["--rank", str(rank), "--nranks", str(ranks), "--board", board_path, "--cpu", str(rank)]
        commands.append(wire.place([program, *place, *options], host=rank % 2))
    return commands


def comity(program, wire, ranks, buffers):
    """A collective's program with owner-writes on one kind of buffers."""

    def measure(load):
        board_path, json_path = board(), board()
        options = _words(*_load_options(load), "--owner-writes", "--buffers", buffers, "-c", 1, "-J", json_path,
                         "--transport", "tcp" if wire.tcp else "shm")
        env = {"COMITY_SOCKET_IFNAME": f"={wire.interface}"} if wire.tcp else {}
        try:
            run_all(_comity_commands(program, wire, ranks, options, board_path), load.timeout_s, env)
            return _read_comity(json_path)
        finally:
            os.unlink(board_path)
            os.unlink(json_path)

    return Contender(f"comity {buffers}", f"comity-{buffers}", measure)


# ---- The MPIs --------------------------------------------------------------------------------------------------


def _read_mpi(text):
    document = json.loads(text[text.index("{"):])
    if document["wrong"]:
        raise RunFailed("MPI gave wrong elements")
    return {row["size_bytes"]: _placements(row, RECORD) for row in document["results"]}


def _mpi(name, family, wire, launch, program, env, tuned=True):
    """`launch` is the launcher's command line up to the program's, `program` that and the collective."""

    def measure(load):
        board_path = board()
        options = _words(*program, "--board", board_path, *_load_options(load), "--seconds", load.seconds)
        if wire.two_hosts:
            options.append("--pin")
        try:
            return _read_mpi(run(wire.place([*launch, *options]), load.timeout_s, {**env, **(HEAP if tuned else {})}))
        finally:
            os.unlink(board_path)

    return Contender(name, family, measure, tuned)


def _open_mpi_launch(wire, ranks, cores, settings):
    launch = ["mpirun.openmpi", "-n", str(ranks)]
    if ranks > cores:
        launch += ["--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]
    else:
        launch += ["--bind-to", "none" if wire.two_hosts else "core"]
    if wire.tcp:
        network = wires.NETWORK if wire.two_hosts else "127.0.0.0/8"
        launch += ["--mca", "pml", "ob1", "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", network,
                   "--mca", "oob_tcp_if_include", network]
    if wire.two_hosts:
        launch += ["--mca", "plm_rsh_agent", wire.launcher, "-H", ",".join(wires.ADDRESSES),
                   "-x", "GLIBC_TUNABLES"]
    for key, value in settings.items():
        launch += ["--mca", key, str(value)]
    return launch


def open_mpi(program, wire, ranks, cores, collective="all_reduce"):
    """Debian's Open MPI 4.1 with its known good settings."""
    program = [program, "--collective", collective]
    big = 1 << 20
    settings = {"default": {}}
    if wire.tcp:
        settings["eager 1M"] = {"btl_tcp_eager_limit": big, "btl_tcp_max_send_size": big}
        settings["eager 128K"] = {"btl_tcp_eager_limit": big >> 3, "btl_tcp_max_send_size": big}
    else:
        settings["no single copy"] = {"btl_vader_single_copy_mechanism": "none"}
        settings["coll sm"] = {"coll_sm_priority": 100}
    found = []
    for label, values in settings.items():
        launch = _open_mpi_launch(wire, ranks, cores, values)
        found.append(_mpi(f"Open MPI {label}", "Open MPI", wire, launch, program, OPEN_MPI_ENV))
    launch = _open_mpi_launch(wire, ranks, cores, {})
    found.append(_mpi("Open MPI untuned heap", "Open MPI", wire, launch, program, OPEN_MPI_ENV, tuned=False))
    return found


def _mpich_launch(wire, ranks, cores, settings):
    launch = ["mpirun.mpich", "-n", str(ranks)]
    if wire.two_hosts:
        launch += ["-launcher", "ssh", "-launcher-exec", wire.launcher, "-hosts", ",".join(wires.ADDRESSES)]
    elif ranks <= cores:
        launch += ["-bind-to", "core"]
    if wire.tcp:
        settings = {"MPIR_CVAR_NOLOCAL": "1", "UCX_TLS": "tcp,self", "UCX_NET_DEVICES": wire.interface, **settings}
    for key, value in settings.items():
        launch += ["-genv", key, str(value)]
    return launch


# By our names: the variable that chooses MPICH's algorithm inside a host, where it has one; its buffers' size.
_MPICH_INTRA = {
    "all_reduce": ("ALLREDUCE", "REDUCE"),
    "reduce": ("REDUCE", "REDUCE"),
    "broadcast": ("BCAST", "BCAST"),
}


def _mpich_settings(wire, collective):
    if wire.tcp:
        return {"default": {}, "segments 64K": {"UCX_TCP_TX_SEG_SIZE": "64k"}}
    if collective == "barrier":
        choice = "MPIR_CVAR_BARRIER_POSIX_INTRA_ALGORITHM"
        return {"default": {}, "release_gather": {choice: "release_gather"}}
    if collective not in _MPICH_INTRA:
        return {"default": {}}
    chooses, holds = _MPICH_INTRA[collective]
    algorithm, total = f"MPIR_CVAR_{chooses}_POSIX_INTRA_ALGORITHM", f"MPIR_CVAR_{holds}_INTRANODE_BUFFER_TOTAL_SIZE"
    settings = {"mpir": {algorithm: "mpir"}}
    for name in ("auto", "release_gather"):
        for size in (32768, 262144, 1048576):
            settings[f"{name} {size >> 10}K"] = {algorithm: name, total: size}
    return settings


def mpich(program, wire, ranks, cores, collective="all_reduce"):
    """Debian's MPICH 4.0 over its sweep of intra-node algorithms and buffer sizes."""
    program = [program, "--collective", collective]
    found = []
    for label, values in _mpich_settings(wire, collective).items():
        found.append(_mpi(f"MPICH {label}", "MPICH", wire, _mpich_launch(wire, ranks, cores, values), program, {}))
    launch = _mpich_launch(wire, ranks, cores, {})
    found.append(_mpi("MPICH untuned heap", "MPICH", wire, launch, program, {}, tuned=False))
    return found
