"""Discovery in a machine that was built for it: two NUMA nodes, PCIe switches (one below another), NICs, Soft-RoCE.

The structure that discovery finds in the guest is compared with the machine that QEMU was told to build. Figures are not:
every PCIe link of QEMU says 2.5 GT/s x1. Usage: topology_guest.py FOLDER_WITH_PROGRAMS
"""
import json
import pathlib
import shutil
import sys

sys.dont_write_bytecode = True  # it may run as root
from support import guest

# The machine: what hangs below the root ports of each host bridge. A switch is a list, a NIC the vendor by which PCI knows it; an Intel NIC
# gets a Soft-RoCE device. The third host bridge is the chipset's own, of which the firmware does not say the NUMA node.
MACHINE = {
    0: [["intel", "virtio"], "virtio"],
    1: [["intel", ["virtio", "virtio"], "virtio"]],
    None: ["virtio"],
}
DEVICES = {"intel": "e1000e", "virtio": "virtio-net-pci"}
MODULES = ["virtio_pci", "virtio_net", "e1000e", "crc32_generic", "ib_uverbs", "rdma_rxe"]
SCRIPT = """
number=0
for netdev in /sys/class/net/eth*; do
  name=$(basename $netdev)
  ip link set $name up
  case $(readlink $netdev/device/driver) in
    *e1000e) /usr/bin/rdma link add rxe$number type rxe netdev $name && number=$((number + 1)) ;;
  esac
done
for state in /sys/class/infiniband/rxe*/ports/1/state; do
  tries=0
  until grep -q ACTIVE $state || [ $((tries += 1)) -gt 3000 ]; do :; done
done
/usr/bin/topology_dump
"""


class Builder:
    """QEMU's arguments for MACHINE."""

    def __init__(self):
        self.arguments, self.count = [], 0

    def add(self, text):
        self.arguments += ["-device", text]

    def name(self):
        self.count += 1
        return f"d{self.count}"

    def below(self, item, bus):
        """A NIC or a switch below a port."""
        if isinstance(item, str):
            self.arguments += ["-netdev", f"hubport,hubid=0,id=n{self.count}"]
            self.add(f"{DEVICES[item]},bus={bus},netdev=n{self.count},romfile=")
            self.count += 1
            return
        upstream = self.name()
        self.add(f"x3130-upstream,id={upstream},bus={bus}")
        for slot, each in enumerate(item):
            port = self.name()
            self.add(f"xio3130-downstream,id={port},bus={upstream},chassis={self.count},slot={slot}")
            self.below(each, port)

    def host_bridge(self, numa, items):
        bus = "pcie.0"
        if numa is not None:
            bus = self.name()
            self.add(f"pxb-pcie,id={bus},bus=pcie.0,bus_nr={64 + 64 * numa},numa_node={numa}")
        for item in items:
            port = self.name()
            self.add(f"pcie-root-port,id={port},bus={bus},chassis={self.count},slot={self.count}")
            self.below(item, port)


def machine():
    builder = Builder()
    builder.arguments = ["-machine", "q35", "-m", "1024", "-smp", "4"]
    for node in range(2):
        builder.arguments += ["-object", f"memory-backend-ram,id=m{node},size=512M", "-numa", f"node,nodeid={node},cpus={2 * node}-{2 * node + 1},memdev=m{node}"]
    builder.arguments += ["-numa", "dist,src=0,dst=1,val=21"]
    for numa, items in MACHINE.items():
        builder.host_bridge(numa, items)
    return builder.arguments


def shape(item):
    """Comparable, whatever the order: switches as sorted tuples."""
    return item if isinstance(item, str) else tuple(sorted((shape(each) for each in item), key=str))


def found_shape(graph):
    """{NUMA number, or None of the host: shape} of what hangs below the root ports there."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    links = {node: [] for node in nodes}
    for link in graph["links"]:
        links[link["from"]].append(link["to"])

    def below(node, above):
        if nodes[node]["kind"] == "nic":
            return nodes[node]["vendor"]
        return [below(each, node) for each in links[node] if each != above]

    items = {}
    for port in (node for node in nodes if nodes[node]["kind"] == "pcie_bridge"):
        above = next(each for each in links[port] if nodes[each]["kind"] in ("numa", "host"))
        number = nodes[above]["numa"] if nodes[above]["kind"] == "numa" else None
        items.setdefault(number, []).extend(below(port, above))
    return {number: shape(each) for number, each in items.items()}


def check(graph):
    expected = {numa: shape(items) for numa, items in MACHINE.items()}
    found = found_shape(graph)
    assert found == expected, f"built {expected}\nfound {found}"
    of_kind = lambda kind: [node for node in graph["nodes"] if node["kind"] == kind]
    assert [node["attributes"]["cpuset"] for node in of_kind("numa")] == ["0-1", "2-3"]
    distances = {link["attributes"]["numa.distance"] for link in graph["links"] if link["kind"] == "cpu"}
    assert distances == {"21"}, distances
    for nic in of_kind("nic"):
        attributes = nic["attributes"]
        roce = nic["vendor"] == "intel"
        assert attributes["net.kind"] == ("roce" if roce else "ethernet"), nic
        assert ("rdma" in attributes) == roce and "netdev" in attributes, nic
        assert not roce or (attributes["net.state"] == "active" and attributes["rdma.verbs"] == "1"), nic
    assert {nic["name"] for nic in of_kind("nic") if nic["vendor"] == "intel"} == {"rxe0", "rxe1"}
    assert not of_kind("device") and len(of_kind("pcie_switch")) == 3


def main():
    programs = pathlib.Path(sys.argv[1]).resolve()
    dump = programs.parent / "tests" / "topology_dump"
    if shutil.which("rdma") is None:
        guest.skip("rdma of iproute2")
    # libibverbs and its provider are opened at run time: ldd does not name them.
    verbs = [path for pattern in ("usr/lib/*/libibverbs.so.1", "usr/lib/*/libibverbs/librxe-*.so", "etc/libibverbs.d/rxe.driver") for path in pathlib.Path("/").glob(pattern)]
    if len(verbs) != 3:
        guest.skip("ibverbs-providers")
    output = guest.run(machine(), [dump, shutil.which("rdma")], verbs, MODULES, SCRIPT, programs.parent.parent / "lab-kernel")
    start = output.find("{\n")
    print(output[:start])
    assert start >= 0, f"no graph in:\n{output}"
    graph = json.loads(output[start:output.rindex("}") + 1])
    check(graph)
    print(f"found the machine that was built: {found_shape(graph)}")


main()
