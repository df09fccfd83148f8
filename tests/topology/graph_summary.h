// A graph as compact text that a person can check against the file that it came from.
#pragma once

#include <string>

#include "topology/graph.h"

namespace comity::topology {

// Counts of nodes, each device and NIC port, each vendors' link, islands, rails, and the matrix of path
// classes among devices and NICs with the narrowest link of each path in GB/s.
std::string summary_of(const Graph& graph);

}  // namespace comity::topology
