"""UCX between two hosts from network namespaces, over its own TCP; shared memory inside a host.

Results are exact, a rank that leaves early loses nothing, one that is killed is named by the others. Needs root, iproute2 and UCX's
library; without them it says so and exits 77 (a counted skip).
Usage: ucx_hosts.py FOLDER_WITH_PROGRAMS
"""
import ctypes.util
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "support"))
import ranks  # noqa: E402

MIB = 1 << 20
WIRE = "rail0"
NAMED_WITHIN_S = 30


def settings(transports, stripe=""):
    return {"COMITY_TRANSPORTS": transports, "COMITY_STRIPE": stripe, "UCX_TLS": "tcp", "UCX_NET_DEVICES": WIRE}


def join(library, namespaces, transports, stripe="", **more):
    """A world that has joined. UCX does not list an interface that is younger than a second or two: it is asked again."""
    deadline = time.monotonic() + ranks.LIMIT_S
    while True:
        world = ranks.World(library, namespaces, **settings(transports, stripe), **more)
        try:
            world.init()
            return world
        except AssertionError as error:
            world.__exit__()
            if "UCX" not in str(error) or time.monotonic() > deadline:
                raise


def work_together(library, namespaces):
    for transports, stripe in (("shm,ucx", ""), ("ucx", ""), ("shm,ucx,tcp", "ucx,tcp")):
        with join(library, namespaces, transports, stripe) as world:
            for size in (1, 1000, 100_000, 3 * MIB):
                world.all("allreduce", size, len(namespaces))
            world.all("broadcast", 3 * MIB + 1, 1)
            world.all("barrier")
            world.all("destroy")
            for rank in world.ranks:
                rank.tell("exit")
                rank.wait_for_end()
        print(f"{len(namespaces)} ranks over {transports}{', striped' if stripe else ''}: ok")


def leave_early(library, namespaces):
    """The root of a short broadcast has left, and its process ended, before the other reads."""
    with join(library, namespaces, "ucx") as world:
        world.all("barrier")
        world[0].ask("broadcast", 4000, 0)
        world[0].ask("destroy")
        world[0].tell("exit")
        world[1].ask("broadcast", 4000, 0)
        world[1].ask("destroy")
        world[0].wait_for_end()
    print("leaving before it was read: ok")


def be_killed(library, namespaces, transports, stripe=""):
    with join(library, namespaces, transports, stripe) as world:
        world.all("allreduce", MIB, len(namespaces))
        world[0].tell("allreduce", 8 * MIB, len(namespaces))
        began = time.monotonic()
        world[1].kill()
        answer = world[0].hear()
        took = time.monotonic() - began
        assert answer.startswith("error") and "rank 1" in answer, answer
        assert took < NAMED_WITHIN_S, f"a killed rank was named after {took:.1f} s"
    print(f"killed: named after {took:.2f} s: {answer}")


def fall_silent(hosts, library, namespaces):
    """Packets of UCX's cable are lost without a word, while the control plane has a cable of its own."""
    with join(library, namespaces, "ucx", COMITY_SOCKET_IFNAME="=control0") as world:
        world.all("allreduce", MIB, len(namespaces))
        for host in range(2):  # to somebody who is not there
            hosts.ip(host, "neigh", "replace", f"10.78.0.{2 - host}", "lladdr", "02:00:00:00:00:99", "dev", WIRE, "nud", "permanent")
        began = time.monotonic()
        for rank in world.ranks:
            rank.tell("allreduce", 8 * MIB, len(namespaces))
        answers = [rank.hear() for rank in world.ranks]
        took = time.monotonic() - began
        assert all("UCX has brought nothing for 20 s or more" in answer for answer in answers), answers
        assert took < 3 * NAMED_WITHIN_S, f"a dead cable was named after {took:.1f} s"
    print(f"a silent cable: named after {took:.1f} s: {answers[0]}")


def main():
    ranks.need_namespaces()
    if ctypes.util.find_library("ucp") is None:
        ranks.skip("UCX (libucx0)")
    library = ranks.library_of(sys.argv[1])
    with ranks.Hosts(2) as hosts:
        for host in range(2):
            hosts.ip(host, "link", "set", "lo", "up")
        for number, name in enumerate((WIRE, "control0")):
            hosts.wire(0, 1, name)
            for host in range(2):
                hosts.ip(host, "addr", "add", f"10.78.{number}.{host + 1}/24", "dev", name)
        a, b = hosts.names
        work_together(library, [a, b])
        work_together(library, [a, a, b])
        leave_early(library, [a, b])
        be_killed(library, [a, b], "ucx")
        be_killed(library, [a, b], "ucx,tcp", "ucx,tcp")
        fall_silent(hosts, library, [a, b])


main()
