"""What the ranks talk over: shared memory, TCP on a loopback, TCP between two network namespaces.

TCP runs in namespaces of its own, so that the congestion control can be set for everyone alike without touching
the machine's. Namespaces are named by this process's number and removed whatever happens.
"""

import os
import stat
import subprocess
import tempfile

ADDRESSES = ("10.203.0.1", "10.203.0.2")
NETWORK = "10.203.0.0/24"


def _ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Wire:
    """A wire: `name`, whether it is `tcp`, its `interface`, and how a command is put onto it."""

    def __init__(self, name, interface=""):
        self.name = name
        self.tcp = interface != ""
        self.interface = interface
        self.namespaces = []

    @property
    def two_hosts(self):
        return len(self.namespaces) == 2

    def place(self, command, host=0):
        """The command as it runs on host number `host` of the wire."""
        if not self.namespaces:
            return command
        return ["ip", "netns", "exec", self.namespaces[host], *command]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for namespace in self.namespaces:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)
        self.namespaces = []

    def add_namespace(self, name, congestion):
        _ip("netns", "add", name)
        self.namespaces.append(name)
        _ip("-n", name, "link", "set", "lo", "up")
        setting = f"net.ipv4.tcp_congestion_control={congestion}"
        subprocess.run(self.place(["sysctl", "-qw", setting], len(self.namespaces) - 1), check=True)


class Loopback(Wire):
    """One namespace with nothing but its loopback."""

    def __init__(self, congestion):
        super().__init__("tcp-loopback", "lo")
        self.congestion = congestion

    def __enter__(self):
        try:
            self.add_namespace(f"comity-{os.getpid()}-lo", self.congestion)
        except BaseException:
            self.__exit__()
            raise
        return self


LAUNCHER = """#!/bin/sh
# Called as ssh is: a host, then what to run there. Hosts are addresses, each in a namespace of its own.
while [ $# -gt 0 ]; do
  case $1 in
    -*) shift ;;
    *) break ;;
  esac
done
case $1 in
  {first}) namespace={namespaces[0]} ;;
  {second}) namespace={namespaces[1]} ;;
  *) echo "no such host: $1" >&2; exit 1 ;;
esac
name=host-$1
shift
exec ip netns exec "$namespace" unshare --uts sh -c "hostname $name; $*"
"""


class VethPair(Wire):
    """Two namespaces joined by a veth pair whose ends are named alike: two hosts on one machine."""

    def __init__(self, congestion):
        super().__init__("tcp-veth", "wire0")
        self.congestion = congestion
        self.launcher = ""

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _build(self):
        names = [f"comity-{os.getpid()}-{side}" for side in "ab"]
        for name in names:
            self.add_namespace(name, self.congestion)
        _ip("-n", names[0], "link", "add", self.interface, "type", "veth", "peer", "name", self.interface,
            "netns", names[1])
        for name, address in zip(names, ADDRESSES):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", self.interface)
            _ip("-n", name, "link", "set", self.interface, "up")
        text = LAUNCHER.format(first=ADDRESSES[0], second=ADDRESSES[1], namespaces=names)
        descriptor, self.launcher = tempfile.mkstemp(prefix="comity-launch-", suffix=".sh")
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        os.chmod(self.launcher, stat.S_IRWXU)

    def __exit__(self, *ignored):
        if self.launcher:
            os.unlink(self.launcher)
            self.launcher = ""
        super().__exit__(*ignored)


def open_wire(name, congestion):
    """A wire by name, to be entered. Root is needed for the TCP ones."""
    if name == "shm":
        return Wire("shm")
    if os.geteuid() != 0:
        raise PermissionError("TCP is measured in network namespaces: run as root")
    return VethPair(congestion) if name == "tcp-veth" else Loopback(congestion)
