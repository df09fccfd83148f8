// hwloc beside sysfs: it knows matrices of vendors' links by its own plugins, and a second opinion on what is
// there.
#pragma once

#include <string>

#include "comity/plugin/result.h"
#include "topology/graph.h"

namespace comity::topology {

// This machine as hwloc sees it, loaded without the components that leak (pci: the kernel's own view is as
// good) or start a display server's client (gl). kUnsupported: this build has no hwloc. Blocks as long as
// hwloc's plugins do.
Result<Graph> load_hwloc();

// Adds the links of a vendor of which the graph has none, between devices that both name by their bus id, and
// returns what to tell people: what was added, and devices that only one of them has.
std::string merge_hwloc(const Graph& hwloc, Graph& graph);

}  // namespace comity::topology
