// What differs between two nodes, or two links, that are the same one in two graphs: field by field, so that
// one that is added to Node or Link does not compile before it is compared. Nothing here blocks; no function
// is bound to a thread.
#pragma once

#include <string>
#include <vector>

#include "topology/diff.h"
#include "topology/graph.h"

namespace comity::topology {

// Ids and the numbers of hosts are not compared: they follow from the place in the graph.
std::vector<Difference> differences_of(const Node& was, const Node& is);

// Ends, kinds and `shared` are not compared: whoever matched the links knows them. `name` begins each text:
// "h0.nic3 - net.switch3: infiniband".
std::vector<Difference> differences_of(const std::string& name, const Link& was, const Link& is);

// "25 GB/s", "18 x 25 GB/s", "unknown".
std::string exact_figure(const Link& link);

}  // namespace comity::topology
