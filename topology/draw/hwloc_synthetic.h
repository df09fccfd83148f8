// A graph's hosts and NUMA domains as a synthetic description of hwloc: `lstopo -i "..."` shows it, and
// programs that use hwloc run on it (HWLOC_SYNTHETIC). Devices and NICs have no place in such a description.
// Does not block.
#pragma once

#include <string>

#include "comity/plugin/result.h"
#include "topology/graph.h"

namespace comity::topology {

// One line without its end: "group:2 package:2 [numa] core:8 pu:1"; the group is the host, left out if there
// is one. Cores are the NUMA domains' attribute "cores", 1 where it is missing. kInvalidArgument: hosts
// differ, which such a description cannot say.
Result<std::string> to_hwloc_synthetic(const Graph& graph);

}  // namespace comity::topology
