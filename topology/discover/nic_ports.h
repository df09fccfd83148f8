// Which ports of NICs this machine has: netdevs and RDMA ports are two views of one port.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "topology/discover/kernel_view.h"
#include "topology/graph.h"

namespace comity::topology {

struct NicPort {
  std::string bus_id;  // of its PCI function; empty: virtual
  int32_t numa = -1;
  Node node;  // name, vendor and attributes are set; place, host and id are not
};

// In the order of bus ids, then of ports, then virtual ones by name. Left out: bridges, virtual interfaces
// that are not up, and virtual functions of SR-IOV without an interface here (they belong to guests or to
// other namespaces).
std::vector<NicPort> nic_ports(const KernelView& view);

}  // namespace comity::topology
