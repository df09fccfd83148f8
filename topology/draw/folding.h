// Which hosts and which switches are drawn as one. Three rules, the next where the one before leaves too
// many: hosts that are joined to the same switches; to switches that are alike; and, of a large fabric whose
// leaves are not equally full, to switches of one place: the same rail, so many steps above the hosts.
// Nothing here blocks; no function is bound to a thread.
#pragma once

#include <cstdint>
#include <vector>

#include "topology/graph.h"

namespace comity::topology {

// Nodes drawn as one: hosts, or switches outside of hosts.
struct Alike {
  uint32_t node = 0;            // the first of them
  std::vector<uint32_t> nodes;  // all, ascending
};

// Where a network switch stands. kNowhere: no NIC is below it, or its NICs are of several rails.
struct SwitchPlace {
  static constexpr uint32_t kNowhere = UINT32_MAX;
  uint32_t tier = kNowhere;  // 0: NICs are joined to it
  uint32_t rail = kNowhere;  // an index of rails()
  auto operator<=>(const SwitchPlace&) const = default;
};
// By node; those that are no switches are nowhere. O(links log nodes).
std::vector<SwitchPlace> switch_places(const Graph& graph);

struct Folding {
  std::vector<Alike> hosts;     // the largest groups first where `by_place`
  std::vector<Alike> switches;  // outside of hosts
  bool by_place = false;        // the third rule
};

// Of a valid and canonical graph. O((nodes + links) log).
Folding folded(const Graph& graph, uint32_t most_groups);

// A hash over what is told of a link but its ends: parallel links that differ in it are two.
uint64_t figures_of(const Link& link);

}  // namespace comity::topology
