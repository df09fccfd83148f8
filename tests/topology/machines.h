// Machines built by hand, for tests of the graph and of what reads it.
#pragma once

#include <vector>

#include "topology/graph.h"

namespace comity::topology::test {

// Two sockets, four PCIe switches of two GPUs and a NIC each, GPUs all joined by two vendor switches. NICs
// lead nowhere.
Graph switched_box(uint32_t host = 0);
// Eight GPUs without bus ids in a hybrid cube mesh: some pairs are two links apart (DGX-1's shape).
Graph cube_mesh();
// Four GPUs on one CPU, each on a root port of its own.
Graph pcie_box();
// Two pairs of devices, each pair joined directly, on two sockets.
Graph pairs_box();
// Hosts of switched_box, NIC i of each on switch i of the network.
Graph railed_cluster(uint32_t hosts);
// Hosts of two NICs, all on one switch.
Graph flat_cluster(uint32_t hosts);
// One CPU host with nothing but a host node and a NUMA domain.
Graph bare_host();

struct Machine {
  const char* name;
  Graph (*make)();
};
std::vector<Machine> all_machines();

}  // namespace comity::topology::test
