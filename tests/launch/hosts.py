"""Several hosts for real launchers: network namespaces, each with a host name that nobody resolves, joined by three cables:

    eth0   10.7.0.N     where the launcher's own daemons talk
    eth1   fd00:7::N    IPv6 alone
    eth2   an address on each host that leads nowhere, as a bridge of containers has
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "lab" / "support"))
import ranks  # noqa: E402

NETWORK = "10.7.0.0/24"


class LaunchHosts(ranks.Hosts):
    """`with LaunchHosts(2, folder) as hosts:`; hosts.agent is a program that runs commands on a host, as ssh does."""

    def __init__(self, count, folder):
        super().__init__(count)
        self.agent = pathlib.Path(folder) / "agent"

    def __enter__(self):
        super().__enter__()
        try:
            self._wire()
            self._write_agent()
        except BaseException:
            self.__exit__()
            raise
        return self

    def address(self, host):
        return f"10.7.0.{host + 1}"

    def name(self, host):
        return f"host{host}.nowhere"

    def inside(self, host, *command):
        return ranks.run(*self.prefix(host), *command)

    def prefix(self, host):
        """The beginning of a command that runs on that host, under its name."""
        return ["ip", "netns", "exec", self.names[host], "unshare", "--uts", "sh", "-c", f'hostname {self.name(host)} && exec "$@"', "sh"]

    def _wire(self):
        for host in range(len(self.names)):
            self.ip(host, "link", "set", "lo", "up")
        self.wire(0, 1, "eth0")
        self.wire(0, 1, "eth1")
        for host in range(len(self.names)):
            self.ip(host, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            self.ip(host, "addr", "add", f"fd00:7::{host + 1}/64", "dev", "eth1", "nodad")
            self.stub(host, "eth2")
            self.ip(host, "addr", "add", "192.168.77.1/24", "dev", "eth2")

    def _write_agent(self):
        """[-x] ADDRESS COMMAND..., as launchers call ssh: the words are joined, and a shell of that host reads them."""
        cases = "\n".join(f"{self.address(host)}) namespace={name} name={self.name(host)} ;;" for host, name in enumerate(self.names))
        self.agent.write_text(f"""#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do shift; done
case "$1" in
{cases}
*) echo "no host has $1" >&2; exit 1 ;;
esac
shift
exec ip netns exec "$namespace" unshare --uts sh -c "hostname $name && $*"
""")
        self.agent.chmod(0o700)
