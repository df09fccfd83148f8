// From what hwloc knows of one machine to a graph; shared by the importer of hwloc's XML and by live
// discovery.
//
// The nodes: one host, its NUMA domains, PCIe root ports as bridges, PCIe switches (the upstream port and its
// downstream ports are one node), accelerators and NIC ports. A device that no path of interest ends in
// (disks, sound, the board's own graphics) is left out. PCIe figures are those that hwloc holds, which on a
// live machine is the current speed: live discovery replaces them by what sysfs says. hwloc.h itself is not
// included here.
#pragma once

#include <string>

#include "comity/plugin/result.h"
#include "topology/graph.h"

struct hwloc_topology;  // what hwloc_topology_t points to

namespace comity::topology {

// Whether this build has hwloc; without it the function below answers kUnsupported.
bool has_hwloc();

// `topology` is loaded, with I/O objects kept (hwloc_topology_set_io_types_filter), and stays the caller's.
// The graph is not yet canonical, so that discovery can add to it; bus ids are unique and name PCI devices
// (several ports of one NIC share theirs). Blocks not; reads memory only.
//
// Attributes set on nodes: of NUMA domains "cpuset" (hwloc's list form: "0-15,32-47"); of the host "arch",
// "cpu_vendor", "cpu_model", "cpu_family" where known; of devices and NICs "pci.class" ("0x030200"),
// "pci.vendor", "pci.device", "pci.subsystem_vendor", "pci.subsystem_device", "osdev" (names of the system's
// devices, blank-separated); of NICs "guid", "address" (of Ethernet).
Result<Graph> graph_of_hwloc(hwloc_topology* topology, const std::string& origin);

}  // namespace comity::topology
