"""The unchanged programs under real launchers: launch_test.py LAUNCHER FOLDER_WITH_PROGRAMS FOLDER_WITH_TEST_PROGRAMS.

Without the launcher it says so and exits 77 (a counted skip).
"""
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lab" / "support")]
import hosts as hosts_lab  # noqa: E402
import ranks  # noqa: E402
import slurm  # noqa: E402

LIMIT_S = 200
RANKS = 3
PERF = ("all_reduce_perf", "broadcast_perf", "all_gather_perf", "barrier_perf")
ROOT_MAY = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
OURS = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def skip(why):
    print(f": Skipped\nneeds {why}")
    sys.exit(77)


def clean_environment(**variables):
    """This process's environment without what a launcher around the tests may have put there."""
    kept = {name: value for name, value in os.environ.items()
            if name not in OURS and not name.startswith(("PMI_", "PMIX_", "OMPI_", "SLURM_", "COMITY_", "TORCHELASTIC_"))}
    return {**kept, "COMITY_INIT_TIMEOUT_MS": "100000", **variables}


def run(command, **variables):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S, env=clean_environment(**variables))


def run_each(commands):
    """Ranks that a script starts one by one: [(command, variables)]. All end; their outcomes as (status, output)."""
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 env=clean_environment(**variables)) for command, variables in commands]
    try:
        return [(child.communicate(timeout=LIMIT_S)[0], child.returncode) for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()


def expect_ranks(output, status, count, rounds=1):
    for rank in range(count):
        line = f"rank {rank} of {count}: sum {count * (count + 1) // 2}\n"
        assert output.count(line) == rounds, f"not {rounds} times {line!r} (status {status}):\n{output}"
    assert status == 0, f"status {status}:\n{output}"


def expect_table(outcome):
    text = outcome.stdout + outcome.stderr
    assert outcome.returncode == 0 and text.count("Out of bounds values : 0 OK") == 1, f"status {outcome.returncode}:\n{text}"
    assert f"nRanks {RANKS} " in text, text


class Programs:
    def __init__(self, programs, tests):
        self.programs, self.tests = pathlib.Path(programs), pathlib.Path(tests)
        self.env_rank = str(self.tests / "env_rank")

    def perf(self, name):
        return [str(self.programs / name), "-b", "8", "-e", "256K", "-f", "32", "-n", "3"]

    def under(self, launch):
        """env_rank twice in a process, and the perf programs; launch(command) gives an outcome."""
        outcome = launch([self.env_rank, "2"])
        expect_ranks(outcome.stdout + outcome.stderr, outcome.returncode, RANKS, rounds=2)
        for name in PERF:
            expect_table(launch(self.perf(name)))


def secret_file(folder, text="a secret of these ranks, long enough"):
    path = pathlib.Path(folder) / "secret"
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def torchrun(programs):
    """What torchrun sets, on one machine; a port of one's own, as tests run side by side."""
    def variables(rank, **more):
        return dict({"RANK": str(rank), "WORLD_SIZE": str(RANKS), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
                     "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0", "COMITY_PORT": port}, **more)

    port = str(slurm.free_port())
    with tempfile.TemporaryDirectory() as folder:
        secret = secret_file(folder)
        for command, check in [([programs.env_rank, "2"], None)] + [(programs.perf(name), name) for name in PERF]:
            # Rank 0 last: the others wait for it.
            outcomes = run_each([(command, variables(rank, COMITY_SECRET_FILE=secret)) for rank in reversed(range(RANKS))])
            text, status = "".join(text for text, _ in outcomes), max(status for _, status in outcomes)
            if check is None:
                expect_ranks(text, status, RANKS, rounds=2)
            else:
                assert status == 0 and text.count("Out of bounds values : 0 OK") == 1, text
        refused = (({}, "COMITY_SECRET_FILE"), ({"COMITY_SECRET_FILE": secret, "WORLD_SIZE": ""}, "WORLD_SIZE"),
                   ({"COMITY_SECRET_FILE": secret, "MASTER_ADDR": ""}, "MASTER_ADDR"),
                   ({"COMITY_SECRET_FILE": secret, "MASTER_ADDR": "no-such-host.invalid"}, "MASTER_ADDR"),
                   ({"COMITY_SECRET_FILE": secret, "RANK": "3"}, "RANK=3"))
        for more, word in refused:
            outcome = run([programs.env_rank], **variables(1, **more))
            assert outcome.returncode == 1 and word in outcome.stderr, f"{more}: {outcome.stderr}"
        port_taken(programs, variables, secret)
        # A rank with another secret joins nobody, and says so.
        other = secret_file(tempfile.mkdtemp(dir=folder), "quite another secret than theirs")
        outcomes = run_each([([programs.env_rank], variables(rank, COMITY_INIT_TIMEOUT_MS="3000", COMITY_SECRET_FILE=secret if rank < 2 else other))
                             for rank in range(RANKS)])
        assert all(status == 1 for _, status in outcomes), outcomes
        text = outcomes[2][0]
        assert "something else answers" in text and "the secret of COMITY_SECRET_FILE is not rank 0's" in text, text


class Garbage:
    """A program that holds a port of all addresses, and answers whoever comes with its own words."""

    def __enter__(self):
        self.socket = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def _serve(self):
        while True:
            try:
                guest = self.socket.accept()[0]
            except OSError:
                return
            with guest, contextlib.suppress(OSError):
                guest.settimeout(5)
                guest.sendall(b"220 this is no Comity but something else, and it has many more words to say than Comity's would\r\n" * 2)
                while guest.recv(4096):
                    pass

    def __exit__(self, *unused):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def port_taken(programs, variables, secret):
    """Where something else holds COMITY_PORT all ranks say so, long before COMITY_INIT_TIMEOUT_MS."""
    def job(port, count=RANKS, **more):
        return [([programs.env_rank], variables(rank, COMITY_SECRET_FILE=secret, COMITY_PORT=str(port), **more)) for rank in range(count)]

    def expect(outcomes, port, *words):
        for rank, (text, status) in enumerate(outcomes):
            assert status == 1 and "COMITY_PORT" in text and str(port) in text, f"rank {rank}: {status}: {text}"
            assert any(word in text for word in words), f"rank {rank}, none of {words}: {text}"

    began = time.monotonic()
    with Garbage() as other:
        expect(run_each(job(other.port)), other.port, "not Comity's handshake")
    # A job that waits for a rank, then one of another name, then one of the same.
    port = slurm.free_port()
    with subprocess.Popen([programs.env_rank], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=clean_environment(**job(port)[0][1])) as waiting:
        try:
            until_listening(port)
            expect(run_each(job(port, TORCHELASTIC_RUN_ID="other")), port, "does not know the secret")
            expect(run_each(job(port, count=1)), port, "an earlier run of this job has not ended")
            text = waiting.communicate(timeout=LIMIT_S)[0]
            assert waiting.returncode == 1 and "an earlier run of this job has not ended" in text, text
        finally:
            waiting.kill()
    assert time.monotonic() - began < 60, "ranks waited for their timeout"


def until_listening(port):
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, f"nobody listens at {port}"
            time.sleep(0.02)


def hosts(programs):
    """Ranks on three hosts with IPv6 alone, whose names do not resolve, and several interfaces."""
    ranks.need_namespaces("unshare")
    with ranks.Hosts(3) as lab, tempfile.TemporaryDirectory() as folder:
        for host in range(3):
            lab.ip(host, "link", "set", "lo", "up")
        for number, (a, b) in enumerate(((0, 1), (1, 2), (2, 0))):
            name = f"eth{number}"
            lab.wire(a, b, name)
            for host in (a, b):
                lab.ip(host, "addr", "add", f"fd00:{number}::{host + 1}/64", "dev", name, "nodad")
        secret = secret_file(folder)
        port = str(slurm.free_port())

        def command(host):
            inside = f"hostname host{host}.nowhere && exec {programs.env_rank} 2"
            return ["ip", "netns", "exec", lab.names[host], "unshare", "--uts", "sh", "-c", inside]

        # Each host knows rank 0's by another address; rank 0 by a name that nobody resolves.
        masters = ("host0.nowhere", "fd00:0::1", "fd00:2::1")
        outcomes = run_each([(command(host), {"RANK": str(host), "WORLD_SIZE": "3", "MASTER_ADDR": masters[host], "MASTER_PORT": "1",
                                              "COMITY_PORT": port, "COMITY_SECRET_FILE": secret}) for host in range(3)])
        expect_ranks("".join(text for text, _ in outcomes), max(status for _, status in outcomes), 3, rounds=2)
        # Through a file on a folder that they share, with and without the secret file.
        for more in ({}, {"COMITY_SECRET_FILE": secret}):
            rendezvous = pathlib.Path(folder) / "rendezvous"
            outcomes = run_each([(command(host), dict(more, COMITY_RANK=str(host), COMITY_NRANKS="3", COMITY_RENDEZVOUS=str(rendezvous)))
                                 for host in (2, 1, 0)])
            expect_ranks("".join(text for text, _ in outcomes), max(status for _, status in outcomes), 3, rounds=2)
            assert not rendezvous.exists(), "rank 0 left its file behind"


def hosts_under(programs, launch):
    """env_rank on two hosts of two ranks each, by all interfaces, by IPv6 alone, and by an interface that leads nowhere."""
    count = 4
    for variables in ({}, {"COMITY_SOCKET_IFNAME": "eth1"}):
        outcome = launch([programs.env_rank, "2"], **variables)
        expect_ranks(outcome.stdout + outcome.stderr, outcome.returncode, count, rounds=2)
    outcome = launch([programs.env_rank], COMITY_SOCKET_IFNAME="=eth2", COMITY_INIT_TIMEOUT_MS="5000")
    text = outcome.stdout + outcome.stderr
    assert outcome.returncode != 0 and "192.168.77.1" in text and "COMITY_SOCKET_IFNAME" in text, text


def hosts_openmpi(programs):
    need("mpirun.openmpi", "openmpi-bin")
    ranks.need_namespaces("unshare")
    with tempfile.TemporaryDirectory() as folder, hosts_lab.LaunchHosts(2, folder) as lab:
        mpirun = [*lab.prefix(0), "mpirun.openmpi", "--oversubscribe", "--mca", "plm_rsh_agent", str(lab.agent), "--mca", "oob_tcp_if_include",
                  hosts_lab.NETWORK, "-H", f"{lab.address(0)}:2,{lab.address(1)}:2", "-n", "4"]

        def launch(command, **variables):
            forwarded = [word for name in variables for word in ("-x", name)]
            return run([*mpirun, *forwarded, *command], **ROOT_MAY, **variables)

        hosts_under(programs, launch)


def hosts_mpich(programs):
    need("mpirun.mpich", "mpich")
    ranks.need_namespaces("unshare")
    with tempfile.TemporaryDirectory() as folder, hosts_lab.LaunchHosts(2, folder) as lab:
        mpirun = [*lab.prefix(0), "mpirun.mpich", "-launcher", "ssh", "-launcher-exec", str(lab.agent), "-iface", "eth0", "-hosts",
                  f"{lab.address(0)}:2,{lab.address(1)}:2", "-n", "4"]
        hosts_under(programs, lambda command, **variables: run([*mpirun, *command], **variables))


def need(program, package):
    if shutil.which(program) is None:
        skip(package)


def openmpi(programs):
    need("mpirun.openmpi", "openmpi-bin")
    programs.under(lambda command: run(["mpirun.openmpi", "--oversubscribe", "-n", str(RANKS), *command], **ROOT_MAY))
    with_secret(programs, ["mpirun.openmpi", "--oversubscribe", "-n", str(RANKS)])
    one_stays_away(programs, ["mpirun.openmpi", "--oversubscribe", "-n", str(RANKS)])


def mpich(programs):
    need("mpirun.mpich", "mpich")
    programs.under(lambda command: run(["mpirun.mpich", "-n", str(RANKS), *command]))
    with_secret(programs, ["mpirun.mpich", "-n", str(RANKS)])
    one_stays_away(programs, ["mpirun.mpich", "-n", str(RANKS)])


def with_secret(programs, launcher):
    """What the launcher carries is no secret with COMITY_SECRET_FILE; a file that others may read is refused by all."""
    with tempfile.TemporaryDirectory() as folder:
        secret = secret_file(folder)
        outcome = run([*launcher, programs.env_rank, "2"], COMITY_SECRET_FILE=secret, **ROOT_MAY)
        expect_ranks(outcome.stdout + outcome.stderr, outcome.returncode, RANKS, rounds=2)
        os.chmod(secret, 0o644)
        outcome = run([*launcher, programs.env_rank], COMITY_SECRET_FILE=secret, **ROOT_MAY)
        text = outcome.stdout + outcome.stderr
        assert outcome.returncode != 0 and f"chmod 600 {secret}" in text, text
        # Rank 0 cannot listen anywhere: nobody waits.
        outcome = run([*launcher, programs.env_rank], COMITY_SOCKET_IFNAME="=nothing", **ROOT_MAY)
        text = outcome.stdout + outcome.stderr
        assert outcome.returncode != 0 and 'COMITY_SOCKET_IFNAME="=nothing" matches none' in text, text


def one_stays_away(programs, launcher):
    """A rank that never comes, then rank 0 late: an error in time, naming what is awaited, and patience."""
    def command(rank, instead):
        which = "${PMI_RANK:-$OMPI_COMM_WORLD_RANK}"
        return [*launcher, "sh", "-c", f'if [ "{which}" = {rank} ]; then {instead}; else exec {programs.env_rank}; fi']

    for rank in (0, 1):
        outcome = run(command(rank, "exec tail -f /dev/null"), COMITY_INIT_TIMEOUT_MS="3000", **ROOT_MAY)
        text = outcome.stdout + outcome.stderr
        assert outcome.returncode != 0 and "a deadline passed" in text and "COMITY_INIT_TIMEOUT_MS" in text, text
    # Longer than any server keeps a question.
    outcome = run(command(0, f"timeout 5 tail -f /dev/null; exec {programs.env_rank}"), **ROOT_MAY)
    expect_ranks(outcome.stdout + outcome.stderr, outcome.returncode, RANKS)


def mpi_programs(programs):
    """A program of MPI with comityCommInitMPI, built for each MPI that was there when the tests were."""
    launchers = {"ompi-c": ["mpirun.openmpi", "--oversubscribe"], "mpich": ["mpirun.mpich"]}
    built = {name: programs.tests / f"mpi_rank_{name}" for name in launchers if (programs.tests / f"mpi_rank_{name}").exists()}
    for name, program in built.items():
        outcome = run([*launchers[name], "-n", str(RANKS), str(program)], **ROOT_MAY)
        text = outcome.stdout + outcome.stderr
        for rank in range(RANKS):
            assert f"rank {rank} of {RANKS}: ok\n" in text, f"{name}, status {outcome.returncode}:\n{text}"
        assert outcome.returncode == 0, text
        outcome = run([*launchers[name], "-n", str(RANKS), str(program), "refused"], COMITY_SOCKET_IFNAME="=nothing", **ROOT_MAY)
        text = outcome.stdout + outcome.stderr
        assert outcome.returncode == 0 and text.count(": ok\n") == RANKS, f"{name}, refused:\n{text}"
    absent = sorted(set(launchers) - set(built))
    if absent:
        skip({"ompi-c": "libopenmpi-dev", "mpich": "libmpich-dev"}[absent[0]] + " when the tests are built")


def slurm_job(programs):
    missing = slurm.missing()
    if missing:
        skip(missing)
    with slurm.Slurm() as job, tempfile.TemporaryDirectory() as folder:
        for mpi in ("pmi2", "pmix"):
            programs.under(lambda command, mpi=mpi: job.run(RANKS, mpi, {}, *command))
        variables = {"COMITY_SECRET_FILE": secret_file(folder), "COMITY_PORT": str(slurm.free_port())}
        programs.under(lambda command: job.run(RANKS, "none", variables, *command))
        outcome = job.run(RANKS, "none", {}, programs.env_rank)
        assert outcome.returncode != 0 and "COMITY_SECRET_FILE" in outcome.stderr, outcome.stderr


def main():
    launcher, programs = sys.argv[1], Programs(*sys.argv[2:4])
    tests = {"torchrun": torchrun, "hosts": hosts, "openmpi": openmpi, "mpich": mpich, "mpi_programs": mpi_programs, "slurm": slurm_job,
             "hosts_openmpi": hosts_openmpi, "hosts_mpich": hosts_mpich}
    tests[launcher](programs)
    print(f"{launcher}: ok")


main()
