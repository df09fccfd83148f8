"""A rank that leaves in order loses nothing: over a slow link, with exit() right behind, with many ranks, with two rails, and with
a receiver that reads late. With --loopback: what needs no namespaces, over this host's loopback.

Needs root, iproute2 and the shaping discipline tbf for all but --loopback; without them it says so and exits 77 (a counted skip).
Usage: leaving.py FOLDER_WITH_PROGRAMS [--loopback]
"""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "support"))
import ranks  # noqa: E402

MIB = 1 << 20


def leave_behind(world, size, exits):
    """Rank 0 broadcasts, and is gone before the others have all; everybody's bytes must be right all the same."""
    world.init()
    for rank in world.ranks:
        rank.tell("broadcast", size, 0)
    world[0].expect_ok("the root's broadcast")
    world[0].tell("destroy")
    if exits:
        world[0].tell("exit")
    world[0].expect_ok("the root's destroy")
    for number, rank in enumerate(world.ranks[1:], 1):
        answer = rank.hear()
        assert answer.startswith("ok "), f"rank {number} of {len(world.ranks)} after the root left: {answer}"
        rank.ask("destroy")
    for rank in world.ranks:
        if not exits or rank is not world[0]:
            rank.tell("exit")
    return max(rank.wait_for_end() for rank in world.ranks)


def read_late(world, size):
    """Rank 1 calls when rank 0 has destroyed and is ending; then the end of rank 0 must not take long."""
    world.init()
    world.all("broadcast", 8, 0)  # the connection stands
    world[0].ask("broadcast", size, 0)
    world[0].tell("destroy")
    world[0].tell("exit")
    world[0].expect_ok("the root's destroy")
    try:
        world[0].process.wait(1)  # ended already (the system holds it all), or waits for the late reader
    except ranks.subprocess.TimeoutExpired:
        pass
    world[1].ask("broadcast", size, 0)
    world[1].ask("destroy")
    world[1].tell("exit")
    return max(rank.wait_for_end() for rank in world.ranks)


def never_read(world, size):
    """Destroy does not wait for a peer that never reads, and neither does the process once that peer is gone."""
    world.init()
    world.all("broadcast", 8, 0)
    world[0].ask("broadcast", size, 0)
    began = time.monotonic()
    world[0].ask("destroy")
    took = time.monotonic() - began
    assert took < 5, f"destroy took {took:.1f} s for a peer that does not read"
    world[0].tell("exit")
    world[1].kill()
    world[0].wait_for_end()


def on_loopback(library):
    for name, scene in (("exit behind destroy", lambda world: leave_behind(world, 3 * MIB, True)),
                        ("late reader", lambda world: read_late(world, MIB)),
                        ("reader that never reads", lambda world: never_read(world, MIB))):
        with ranks.World(library, [None] * 2, COMITY_TRANSPORTS="tcp") as world:
            scene(world)
        print(f"loopback, {name}: ok")
    with ranks.World(library, [None] * 5, COMITY_TRANSPORTS="tcp", COMITY_TCP_CONNECTIONS="3") as world:
        leave_behind(world, 2 * MIB, True)
    print("loopback, five ranks with three connections: ok")


def wire_up(hosts, count, rails, rate):
    """Host 0 is joined to each other host by `rails` shaped cables."""
    for rail in range(rails):
        for other in range(1, count):
            name = f"r{rail}h{other}"
            hosts.wire(0, other, name)
            for side, host in ((1, 0), (2, other)):
                hosts.ip(host, "addr", "add", f"10.{70 + rail}.{other}.{side}/24", "dev", name)
                hosts.shape(host, name, rate)


def on_slow_link(library, ranks_of_hosts, rails, scene, what):
    with ranks.Hosts(len(ranks_of_hosts)) as hosts:
        wire_up(hosts, len(ranks_of_hosts), rails, "100mbit")
        for host in range(len(ranks_of_hosts)):
            hosts.ip(host, "link", "set", "lo", "up")
        namespaces = [hosts.names[host] for host, count in enumerate(ranks_of_hosts) for _ in range(count)]
        with ranks.World(library, namespaces) as world:
            ended = scene(world)
    print(f"100 Mbit/s, {what}: ok; all processes ended within {ended:.2f} s")


def main():
    library = ranks.library_of(sys.argv[1])
    on_loopback(library)
    if "--loopback" in sys.argv:
        return
    ranks.need_namespaces("tc")
    on_slow_link(library, [1, 1], 1, lambda world: leave_behind(world, 8 * MIB, False), "8 MiB and destroy")
    on_slow_link(library, [1, 1], 1, lambda world: leave_behind(world, 8 * MIB, True), "8 MiB, destroy and exit")
    on_slow_link(library, [1, 1], 2, lambda world: leave_behind(world, 8 * MIB, True), "8 MiB over two rails, destroy and exit")
    on_slow_link(library, [4, 4], 1, lambda world: leave_behind(world, 8 * MIB, True), "8 MiB to 8 ranks, destroy and exit")
    on_slow_link(library, [1, 1], 1, lambda world: read_late(world, MIB), "a late reader")


main()
