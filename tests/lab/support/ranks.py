"""Ranks as processes in network namespaces, told what to do a line at a time (see rank.py)."""
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import threading
import time

SKIP = 77
LIMIT_S = 120  # for anything that a rank is asked; far more than promised, as the machine may be loaded


def skip(why):
    print(f"skipped: needs {why}")
    sys.exit(SKIP)


def need_namespaces(*tools):
    if os.geteuid() != 0:
        skip("root for network namespaces")
    for tool in ("ip", *tools):
        if shutil.which(tool) is None:
            skip(tool)


def run(*command):
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Hosts:
    """Namespaces named by process id, removed at the end; `hosts[0].ip("link", "set", "lo", "up")`."""

    def __init__(self, count):
        self.names = [f"comity-{os.getpid()}-{i}" for i in range(count)]

    def __enter__(self):
        for name in self.names:
            run("ip", "netns", "add", name)
        return self

    def __exit__(self, *unused):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def ip(self, host, *command):
        return run("ip", "-n", self.names[host], *command)

    def inside(self, host, *command):
        return run("ip", "netns", "exec", self.names[host], *command)

    def wire(self, a, b, name):
        """A cable between two hosts: interfaces of that name on both ends, up, without addresses."""
        self.ip(a, "link", "add", name, "type", "veth", "peer", "name", name, "netns", self.names[b])
        for host in (a, b):
            self.inside(host, "sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{name}/accept_dad")
            self.ip(host, "link", "set", name, "up")

    def stub(self, host, name):
        """An interface whose cable leads back to the same host: up, with a link-local address, and nobody else on it."""
        self.ip(host, "link", "add", name, "type", "veth", "peer", "name", name + "x")
        for each in (name, name + "x"):
            self.inside(host, "sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{each}/accept_dad")
            self.ip(host, "link", "set", each, "up")

    def shape(self, host, name, rate):
        self.inside(host, "tc", "qdisc", "add", "dev", name, "root", "tbf", "rate", rate, "burst", "256kb", "latency", "100ms")


class Rank:
    """A process; `tell` writes a command, `hear` waits for its answer, `ask` is both and expects "ok"."""

    def __init__(self, library, namespace=None, **environment):
        command = [sys.executable, "-B", str(pathlib.Path(__file__).with_name("rank.py")), str(library)]
        if namespace is not None:
            command = ["ip", "netns", "exec", namespace] + command
        environment = {**os.environ, "COMITY_INIT_TIMEOUT_MS": "60000", **environment}
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.answers = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.answers.put(line.rstrip("\n"))
        self.answers.put(None)

    def tell(self, *words):
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()

    def hear(self, limit_s=LIMIT_S):
        try:
            answer = self.answers.get(timeout=limit_s)
        except queue.Empty:
            raise AssertionError(f"a rank did not answer within {limit_s} s") from None
        assert answer is not None, "a rank ended without an answer"
        return answer

    def ask(self, *words):
        self.tell(*words)
        return self.expect_ok(words[0])

    def expect_ok(self, what):
        answer = self.hear()
        assert answer.startswith("ok "), f"{what}: {answer}"
        return answer[3:]

    def wait_for_end(self, limit_s=LIMIT_S):
        """Seconds until the process ended."""
        began = time.monotonic()
        code = self.process.wait(limit_s)
        assert code == 0, f"a rank ended with {code}"
        return time.monotonic() - began

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class World:
    """One rank for each entry of `namespaces` (None: this host's), one communicator."""

    def __init__(self, library, namespaces, **environment):
        self.ranks = []
        try:
            for namespace in namespaces:
                self.ranks.append(Rank(library, namespace, **environment))
        except Exception:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for rank in self.ranks:
            rank.kill()

    def __getitem__(self, index):
        return self.ranks[index]

    def init(self):
        unique = self.ranks[0].ask("id")
        for number, rank in enumerate(self.ranks):
            rank.tell("init", len(self.ranks), number, unique)
        self.expect_ok("init")

    def all(self, *words):
        for rank in self.ranks:
            rank.tell(*words)
        self.expect_ok(words[0])

    def expect_ok(self, what):
        answers = [rank.hear() for rank in self.ranks]
        for number, answer in enumerate(answers):
            assert answer.startswith("ok "), f"{what}: rank {number}: {answer}"


def library_of(programs):
    """The shared library beside a folder of programs."""
    return pathlib.Path(programs).parent / "lib" / "libcomity.so"
