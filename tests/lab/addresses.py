"""Which addresses ranks meet by: hosts with only link-local addresses or none, with an address on lo and unnumbered cables, with five
bridges before the real interface, with two families and several addresses.

Needs root and iproute2; without them it says so and exits 77 (a counted skip).
Usage: addresses.py FOLDER_WITH_PROGRAMS
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "support"))
import ranks  # noqa: E402


def work_together(library, namespaces):
    """All ranks join, reduce and leave, through shared memory where they can, and through sockets."""
    for transports in ("", "tcp"):
        with ranks.World(library, namespaces, COMITY_TRANSPORTS=transports) as world:
            world.init()
            world.all("allreduce", 100_000, len(namespaces))
            world.all("destroy")


def bridges(hosts, host, count):
    """As a container runtime makes them: one on top of nothing, with an address that repeats on every host."""
    for i in range(count):
        hosts.ip(host, "link", "add", f"net{i}", "type", "bridge")
        hosts.ip(host, "addr", "add", f"172.{18 + i}.0.1/16", "dev", f"net{i}")
        hosts.ip(host, "link", "set", f"net{i}", "up")


def only_loopback(hosts, _):
    hosts.ip(0, "link", "set", "lo", "up")


def offline_with_bridges(hosts, _):
    hosts.ip(0, "link", "set", "lo", "up")
    bridges(hosts, 0, 3)


def only_link_local(hosts, _):
    hosts.ip(0, "link", "set", "lo", "up")
    hosts.wire(0, 1, "eth0")
    hosts.wire(0, 1, "eth1")


def address_on_lo(hosts, count):
    """A fabric of unnumbered cables: 10.255.0.N/32 on lo, routed over link-local next hops."""
    for host in range(count):
        hosts.ip(host, "link", "set", "lo", "up")
        hosts.ip(host, "addr", "add", f"10.255.0.{host + 1}/32", "dev", "lo")
    hosts.wire(0, 1, "eth0")
    for host, other in ((0, 1), (1, 0)):
        hosts.ip(host, "route", "add", f"10.255.0.{other + 1}/32", "dev", "eth0", "scope", "link", "src", f"10.255.0.{host + 1}")


def link_local_between(hosts, count):
    for host in range(count):
        hosts.ip(host, "link", "set", "lo", "up")
    hosts.wire(0, 1, "eth0")
    hosts.stub(0, "dead0")


def five_bridges(hosts, count):
    for host in range(count):
        hosts.ip(host, "link", "set", "lo", "up")
        bridges(hosts, host, 5)
    hosts.wire(0, 1, "eth0")
    for host in range(count):
        hosts.ip(host, "addr", "add", f"10.9.0.{host + 1}/24", "dev", "eth0")


def twelve_networks(hosts, count):
    """More addresses than an id holds, on interfaces that are not bridges; the one that joins the hosts is the last but has the
    default route."""
    for host in range(count):
        hosts.ip(host, "link", "set", "lo", "up")
        for i in range(12):
            hosts.stub(host, f"a{i}")
            hosts.ip(host, "addr", "add", f"10.{100 + i + 20 * host}.0.1/24", "dev", f"a{i}")
    hosts.wire(0, 1, "z0")
    for host in range(count):
        hosts.ip(host, "addr", "add", f"10.9.0.{host + 1}/24", "dev", "z0")
        hosts.ip(host, "route", "add", "default", "via", f"10.9.0.{2 - host}")


def second_address(hosts, count):
    """The hosts share the subnet of an interface's second address, and of its IPv6 address."""
    for host in range(count):
        hosts.ip(host, "link", "set", "lo", "up")
    hosts.wire(0, 1, "eth0")
    for host in range(count):
        hosts.ip(host, "addr", "add", f"10.{20 + host}.0.1/24", "dev", "eth0")
        hosts.ip(host, "addr", "add", f"10.9.0.{host + 1}/24", "dev", "eth0")


def ipv6_alone_meets(hosts, count):
    for host in range(count):
        hosts.ip(host, "link", "set", "lo", "up")
    hosts.wire(0, 1, "eth0")
    for host in range(count):
        hosts.ip(host, "addr", "add", f"fd00:9::{host + 1}/64", "dev", "eth0", "nodad")
    hosts.ip(0, "addr", "add", "10.20.0.1/24", "dev", "eth0")  # the other host has no IPv4 at all


def left_out_is_named(library, hosts):
    """Two hosts that only a bridge of one joins: the error says what was left out, and how to select it."""
    for host in range(2):
        hosts.ip(host, "link", "set", "lo", "up")
        hosts.stub(host, "real")
        hosts.ip(host, "addr", "add", f"10.{40 + host}.0.1/24", "dev", "real")
        bridges(hosts, host, 1)
    with ranks.World(library, hosts.names, COMITY_INIT_TIMEOUT_MS="3000") as world:
        unique = world[0].ask("id")
        world[1].tell("init", 2, 1, unique)
        answer = world[1].hear()
    for words in ("10.40.0.1", "net0 172.18.0.1", "COMITY_SOCKET_IFNAME"):
        assert words in answer, f"the error does not say {words!r}: {answer}"


def main():
    library = ranks.library_of(sys.argv[1])
    ranks.need_namespaces()
    wanted = sys.argv[2:]
    for scene, members in ((only_loopback, (0, 0, 0)), (offline_with_bridges, (0, 0)), (only_link_local, (0, 0)),
                           (address_on_lo, (0, 0)), (address_on_lo, (0, 1)), (link_local_between, (0, 1, 1)),
                           (five_bridges, (0, 1)), (twelve_networks, (0, 1)), (second_address, (0, 1)), (ipv6_alone_meets, (0, 1))):
        name = f"{scene.__name__}, ranks on hosts {members}"
        if wanted and scene.__name__ not in wanted:
            continue
        with ranks.Hosts(2) as hosts:
            scene(hosts, 2)
            work_together(library, [hosts.names[member] for member in members])
        print(f"{name}: ok", flush=True)
    if not wanted or "left_out" in wanted:
        with ranks.Hosts(2) as hosts:
            left_out_is_named(library, hosts)
        print("left out addresses are named: ok")


main()
