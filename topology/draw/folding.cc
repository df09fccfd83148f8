#include "topology/draw/folding.h"

#include <algorithm>
#include <map>
#include <queue>
#include <set>
#include <string_view>

#include "src/base/hash.h"
#include "topology/paths.h"

namespace comity::topology {
namespace {

constexpr size_t kMostSwitches = 16;  // outside of hosts, drawn one by one
// Groups by what is exactly alike; more are folded by place.
constexpr size_t kMostExactHosts = 8, kMostExactSwitches = 24;
constexpr int kRounds = 6;  // colours settle in as many rounds as the graph is deep: device to switch to host

uint64_t mixed(uint64_t hash, std::string_view text) {
  return mix(hash, hash_text(text));
}

class Folder {
 public:
  explicit Folder(const Graph& graph)
      : graph_(graph), out_(links_out_of(graph)), hosts_(graph.nodes_of(NodeKind::kHost)) {
    for (uint32_t i = 0; i < hosts_.size(); ++i) number_.emplace(graph.nodes[hosts_[i]].host, i);
    nodes_of_host_.resize(hosts_.size());
    for (uint32_t i = 0; i < graph.nodes.size(); ++i) {
      const auto found = number_.find(graph.nodes[i].host);
      (found == number_.end() ? outside_ : nodes_of_host_[found->second]).push_back(i);
    }
  }

  Folding fold(uint32_t most_groups) const {
    std::vector<uint64_t> keys(graph_.nodes.size());
    for (size_t i = 0; i < keys.size(); ++i) keys[i] = i;
    Folding exact = grouped(keys);
    if (exact.hosts.size() <= most_groups && outside_.size() <= kMostSwitches) return exact;
    Folding alike = grouped(colours());
    if (alike.hosts.size() == exact.hosts.size() && outside_.size() <= kMostSwitches)
      alike = std::move(exact);
    if (alike.hosts.size() <= kMostExactHosts && alike.switches.size() <= kMostExactSwitches) return alike;
    Folding placed = grouped(places());
    if (placed.hosts.size() == alike.hosts.size() && placed.switches.size() == alike.switches.size())
      return alike;
    placed.by_place = true;
    std::stable_sort(placed.hosts.begin(), placed.hosts.end(),
                     [](const Alike& a, const Alike& b) { return a.nodes.size() > b.nodes.size(); });
    return placed;
  }

 private:
  // What is written on a node, without the name of its host.
  std::string_view own_name(const Node& node) const {
    // Hosts and network switches have names of their own: they do not tell kinds apart.
    if (node.kind == NodeKind::kHost || node.kind == NodeKind::kNetSwitch) return "";
    const auto found = number_.find(node.host);
    std::string_view name = node.name;
    if (found == number_.end()) return name;
    const std::string& host = graph_.nodes[hosts_[found->second]].name;
    if (!host.empty() && name.starts_with(host) && name.substr(host.size()).starts_with(' '))
      name.remove_prefix(host.size() + 1);
    return name;
  }

  uint64_t shown_of(const Node& node) const {
    uint64_t hash = mixed(mixed(mix(static_cast<uint64_t>(node.kind)), own_name(node)), node.vendor);
    for (const char* key : {"net.state", "net.bandwidth_bytes_per_s"}) {
      const auto found = node.attributes.find(key);
      if (found != node.attributes.end()) hash = mixed(hash, found->second);
    }
    return hash;
  }

  // Colours by refinement (Weisfeiler and Leman's method): nodes whose surroundings differ get different
  // colours.
  std::vector<uint64_t> colours() const {
    std::vector<uint64_t> colours(graph_.nodes.size());
    for (size_t i = 0; i < colours.size(); ++i) {
      const Node& node = graph_.nodes[i];
      colours[i] = mix(shown_of(node), static_cast<uint64_t>(int64_t{node.numa} + 1));
    }
    for (int round = 0; round < kRounds; ++round) {
      std::vector<uint64_t> next(colours.size(), 0);
      // Sums of mixed hashes: the order of links does not count.
      for (const Link& link : graph_.links)
        next[link.from] += mix(mix(figures_of(link), colours[link.to]), uint64_t{77});
      for (size_t i = 0; i < colours.size(); ++i) next[i] = mix(colours[i], next[i]);
      colours.swap(next);
    }
    return colours;
  }

  std::vector<uint64_t> places() const {
    const std::vector<SwitchPlace> place = switch_places(graph_);
    std::set<uint32_t> rails;
    for (const SwitchPlace& each : place) rails.insert(each.rail);
    const bool by_rail = rails.size() <= kMostExactSwitches;
    std::vector<uint64_t> keys(graph_.nodes.size());
    for (size_t i = 0; i < keys.size(); ++i) {
      const Node& node = graph_.nodes[i];
      keys[i] = mix(mix(static_cast<uint64_t>(node.kind)), mix(place[i].tier, by_rail ? place[i].rail : 0));
    }
    return keys;
  }

  // `outside` says what a node outside of hosts counts as: those of equal keys are one.
  Folding grouped(const std::vector<uint64_t>& outside) const {
    Folding folding;
    folding.hosts = grouped(hosts_, host_keys(outside));
    std::vector<uint64_t> keys;
    for (uint32_t node : outside_) keys.push_back(outside[node]);
    folding.switches = grouped(outside_, keys);
    return folding;
  }

  static std::vector<Alike> grouped(const std::vector<uint32_t>& nodes, const std::vector<uint64_t>& keys) {
    std::vector<Alike> groups;
    std::map<uint64_t, size_t> known;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const auto [found, is_new] = known.emplace(keys[i], groups.size());
      if (is_new) groups.push_back({nodes[i], {}});
      groups[found->second].nodes.push_back(nodes[i]);
    }
    return groups;
  }

  // Of each host a hash over its nodes and their links.
  std::vector<uint64_t> host_keys(const std::vector<uint64_t>& outside) const {
    std::vector<uint32_t> place(graph_.nodes.size(), 0);
    for (const auto& nodes : nodes_of_host_) {
      for (uint32_t i = 0; i < nodes.size(); ++i) place[nodes[i]] = i;
    }
    std::vector<uint64_t> keys;
    for (const auto& nodes : nodes_of_host_) {
      uint64_t key = nodes.size();
      for (uint32_t index : nodes) {
        const Node& node = graph_.nodes[index];
        key = mix(key, shown_of(node));
        for (uint32_t each : out_[index]) {
          const Link& link = graph_.links[each];
          const bool inside = graph_.nodes[link.to].host == node.host;
          key = mix(mix(key, figures_of(link)), inside ? place[link.to] : outside[link.to]);
        }
      }
      keys.push_back(key);
    }
    return keys;
  }

  const Graph& graph_;
  const std::vector<std::vector<uint32_t>> out_;
  const std::vector<uint32_t> hosts_;
  std::map<uint32_t, uint32_t> number_;  // of each host by its number in the graph, its place in hosts_
  std::vector<std::vector<uint32_t>> nodes_of_host_;
  std::vector<uint32_t> outside_;
};

}  // namespace

uint64_t figures_of(const Link& link) {
  uint64_t hash = mix(static_cast<uint64_t>(link.kind));
  hash = mix(mix(hash, link.bandwidth_bytes_per_s), link.latency_ns);
  return mix(mix(hash, link.count), link.shared.empty() ? 0 : 1);
}

std::vector<SwitchPlace> switch_places(const Graph& graph) {
  constexpr uint32_t kNowhere = SwitchPlace::kNowhere;
  std::vector<uint32_t> rail_of(graph.nodes.size(), kNowhere);
  const auto all = rails(graph);
  for (uint32_t i = 0; i < all.size(); ++i) {
    for (uint32_t nic : all[i]) rail_of[nic] = i;
  }
  const auto is_switch = [&](uint32_t node) { return graph.nodes[node].kind == NodeKind::kNetSwitch; };
  std::vector<SwitchPlace> places(graph.nodes.size());
  std::vector<std::set<uint32_t>> below(graph.nodes.size());  // rails of what leads to a switch from below
  std::queue<uint32_t> next;
  for (const Link& link : graph.links) {
    if (!is_network(link.kind) || !is_switch(link.to) || graph.nodes[link.from].kind != NodeKind::kNic)
      continue;
    below[link.to].insert(rail_of[link.from]);
    if (places[link.to].tier != kNowhere) continue;
    places[link.to].tier = 0;
    next.push(link.to);
  }
  const auto out = links_out_of(graph);
  while (!next.empty()) {
    const uint32_t node = next.front();
    next.pop();
    if (below[node].size() == 1) places[node].rail = *below[node].begin();
    for (uint32_t each : out[node]) {
      const uint32_t to = graph.links[each].to;
      if (!is_switch(to) || places[to].tier <= places[node].tier) continue;
      below[to].insert(places[node].rail);
      if (places[to].tier != kNowhere) continue;
      places[to].tier = places[node].tier + 1;
      next.push(to);
    }
  }
  return places;
}

Folding folded(const Graph& graph, uint32_t most_groups) {
  return Folder(graph).fold(most_groups);
}

}  // namespace comity::topology
