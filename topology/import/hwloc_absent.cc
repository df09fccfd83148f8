// In place of hwloc_graph.cc, in a build without hwloc.

#include "topology/import/hwloc_graph.h"

namespace comity::topology {

bool has_hwloc() {
  return false;
}

Result<Graph> graph_of_hwloc(hwloc_topology*, const std::string& origin) {
  return Status(Code::kUnsupported,
                origin + ": this build has no hwloc: install libhwloc-dev and build again");
}

}  // namespace comity::topology
