// Paths between devices, NICs and NUMA domains of a graph: their class by NCCL's names, bottleneck and
// latency. Islands and rails, found by structure. Method: NCCL's path search (src/graph/paths.cc), as
// documented in its public headers: breadth-first over links, the widest among the paths of the least class,
// then the shortest.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "topology/graph.h"

namespace comity::topology {

// Ascending: a lower class is nearer.
enum class PathClass : uint8_t {
  kLoc,  // itself
  kNvl,  // a vendor's link, also over a vendor's switch
  kNvb,  // vendor's links by way of another device
  kC2c,  // a coherent CPU link
  kPix,  // at most one PCIe switch
  kPxb,  // several PCIe switches, no host bridge
  kP2c,  // C2C, then PCIe below that CPU
  kPxn,  // vendor's link to a device beside the NIC, then PCIe
  kPhb,  // the CPU's host bridge
  kSys,  // between NUMA domains
  kNet,  // another host
  kDis,  // none
};
std::string_view name_of(PathClass path_class);  // "PIX"

struct PathInfo {
  PathClass path_class = PathClass::kDis;
  uint64_t bandwidth_bytes_per_s = 0;  // of its narrowest link; UINT64_MAX of kLoc
  uint64_t latency_ns = 0;
  uint32_t hops = 0;
  std::vector<uint32_t> links;  // indices, in order
};

// From one node to all others; by node index. O(links).
std::vector<PathInfo> paths_from(const Graph& graph, uint32_t from);

// Devices joined by a vendor's links, directly or through its switches or other devices; only those of two
// and more. Each ascending, and they by their first.
std::vector<std::vector<uint32_t>> islands(const Graph& graph);
// NICs that reach each other without crossing to the others' switches: one plane of the network each. NICs
// that no link leads out of form rails by their place within their hosts. Each ascending, and they by their
// first.
std::vector<std::vector<uint32_t>> rails(const Graph& graph);

}  // namespace comity::topology
