// A graph for Graphviz: `comity topo --format dot | dot -Tsvg`. Hosts that are alike are drawn once. Does not
// block.
#pragma once

#include <string>

#include "topology/graph.h"

namespace comity::topology {

std::string to_dot(const Graph& graph);

}  // namespace comity::topology
