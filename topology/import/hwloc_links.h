// Vendors' links from hwloc's bandwidth matrices. Internal to the importers.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "topology/graph.h"
#include "topology/import/hwloc_view.h"

namespace comity::topology {

// Indices of nodes of the graph: NUMA domains by number; whatever a matrix may name by hwloc's serial; the
// serials of NVSwitches, which become one node.
struct HwlocNodes {
  std::map<int32_t, uint32_t> numas;
  std::map<uint64_t, uint32_t> by_serial;
  std::vector<uint64_t> switch_serials;
};

void add_hwloc_links(const HwlocView& view, HwlocNodes& nodes, Graph& graph);

}  // namespace comity::topology
