// What the kernel tells of this machine, and the graph that follows from it.
#pragma once

#include <string>
#include <vector>

#include "topology/discover/rdma.h"
#include "topology/discover/sysfs_netdev.h"
#include "topology/discover/sysfs_numa.h"
#include "topology/discover/sysfs_pci.h"
#include "topology/graph.h"

namespace comity::topology {

struct KernelView {
  HostNames names;
  std::vector<NumaDomain> numa;
  std::vector<PciFunction> pci;
  std::vector<Netdev> netdevs;
  std::vector<RdmaPort> rdma;
};

// Reads files of sysfs and procfs only; blocks as long as the kernel takes to answer.
KernelView read_kernel_view(const std::string& sysfs, const std::string& procfs);

// One host. A link of PCIe is priced by the lower maximum of its two ends, since idle ones are trained down;
// what it runs at now stays as attribute "pcie.current" beside "pcie.max". Ids are unique, not canonical.
Graph graph_of(const KernelView& view);

}  // namespace comity::topology
