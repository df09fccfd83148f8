// A graph as text for people: the tree of each host, links of vendors and networks, islands, rails, and a
// matrix of paths like `nvidia-smi topo -m` has one. Hosts that are alike are shown once. Does not block.
#pragma once

#include <string>

#include "topology/graph.h"

namespace comity::topology {

// UTF-8, lines ended by \n. The graph is valid and canonical.
std::string to_text(const Graph& graph);

}  // namespace comity::topology
