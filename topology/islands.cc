// Islands and rails: parts of the graph that hang together.
#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "topology/paths.h"

namespace comity::topology {
namespace {

// Sets that are joined (R. E. Tarjan, "Efficiency of a good but not linear set union algorithm", 1975).
class Sets {
 public:
  explicit Sets(size_t n) : parent_(n) { std::iota(parent_.begin(), parent_.end(), 0u); }
  uint32_t of(uint32_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(uint32_t a, uint32_t b) {
    a = of(a), b = of(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<uint32_t> parent_;
};

std::vector<std::vector<uint32_t>> sorted(std::map<uint64_t, std::vector<uint32_t>> by_key, size_t least) {
  std::vector<std::vector<uint32_t>> all;
  for (auto& [key, nodes] : by_key) {
    if (nodes.size() >= least) all.push_back(std::move(nodes));
  }
  for (auto& nodes : all) std::sort(nodes.begin(), nodes.end());
  std::sort(all.begin(), all.end());
  return all;
}

bool is_nic(const Graph& graph, uint32_t node) {
  return graph.nodes[node].kind == NodeKind::kNic;
}

// The place of each NIC among its host's NICs of the same network.
std::vector<uint32_t> places(const Graph& graph, Sets& networks, const std::vector<bool>& connected) {
  std::map<std::pair<uint32_t, uint64_t>, uint32_t> next;
  std::vector<uint32_t> place(graph.nodes.size());
  for (uint32_t i = 0; i < graph.nodes.size(); ++i) {
    if (!is_nic(graph, i)) continue;
    const uint64_t network = connected[i] ? networks.of(i) : UINT64_MAX;
    place[i] = next[{graph.nodes[i].host, network}]++;
  }
  return place;
}

// Networks where a switch holds two NICs of one host: they have no planes, all of one is a rail.
std::set<uint32_t> unplaned(const Graph& graph, Sets& networks) {
  std::set<std::pair<uint32_t, uint32_t>> seen;  // switch, host
  std::set<std::pair<uint32_t, uint32_t>> cables;
  std::set<uint32_t> found;
  for (const Link& link : graph.links) {
    if (!is_network(link.kind) || !is_nic(graph, link.from) || is_nic(graph, link.to)) continue;
    if (!cables.emplace(link.from, link.to).second) continue;
    if (!seen.emplace(link.to, graph.nodes[link.from].host).second) found.insert(networks.of(link.from));
  }
  return found;
}

}  // namespace

std::vector<std::vector<uint32_t>> islands(const Graph& graph) {
  Sets sets(graph.nodes.size());
  for (const Link& link : graph.links) {
    if (joins_islands(link.kind)) sets.join(link.from, link.to);
  }
  std::map<uint64_t, std::vector<uint32_t>> by_set;
  for (uint32_t i = 0; i < graph.nodes.size(); ++i) {
    if (graph.nodes[i].kind == NodeKind::kDevice) by_set[sets.of(i)].push_back(i);
  }
  return sorted(std::move(by_set), 2);
}

std::vector<std::vector<uint32_t>> rails(const Graph& graph) {
  const auto n = static_cast<uint32_t>(graph.nodes.size());
  Sets networks(n), leaves(n);
  std::vector<bool> connected(n);
  for (const Link& link : graph.links) {
    if (!is_network(link.kind)) continue;
    networks.join(link.from, link.to);
    connected[link.from] = connected[link.to] = true;
    if (is_nic(graph, link.from) || is_nic(graph, link.to)) leaves.join(link.from, link.to);
  }
  const std::vector<uint32_t> place = places(graph, networks, connected);
  const std::set<uint32_t> flat = unplaned(graph, networks);
  std::map<uint32_t, uint32_t> place_of_leaf;  // that of its first NIC
  std::map<uint64_t, std::vector<uint32_t>> by_rail;
  for (uint32_t i = 0; i < n; ++i) {
    if (!is_nic(graph, i)) continue;
    const uint64_t network = connected[i] ? networks.of(i) : n;
    uint32_t plane = place[i];
    if (connected[i] && flat.contains(networks.of(i))) plane = 0;
    if (connected[i] && !flat.contains(networks.of(i)))
      plane = place_of_leaf.emplace(leaves.of(i), place[i]).first->second;
    by_rail[network << 32 | plane].push_back(i);
  }
  return sorted(std::move(by_rail), 1);
}

}  // namespace comity::topology
