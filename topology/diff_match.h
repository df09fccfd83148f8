// Which hosts and nodes of two graphs are the same: what diff() compares. Nothing here blocks; no function is
// bound to a thread.
#pragma once

#include <cstdint>
#include <vector>

#include "topology/graph.h"

namespace comity::topology {

struct Matching {
  static constexpr int64_t kNone = -1;
  // By node, the index of the same one in the other graph, or kNone.
  std::vector<int64_t> to_after, to_before;
};

// Both canonical. Hosts are matched by host name, else by the GUIDs of their NICs, else by number; nodes
// within a host by kind and bus id, else by name, else by id. O(n log n).
Matching match_nodes(const Graph& before, const Graph& after);

}  // namespace comity::topology
