// A fabric of hundreds of hosts as text: switches by rail and tier, hosts by their leaves.

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>

#include "topology/draw/text_parts.h"

namespace comity::topology {
namespace {

constexpr size_t kMostLines = 16;

// "24", "24 to 32".
std::string span_text(const std::vector<size_t>& counts) {
  const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
  return *least == *most ? fmt::format("{}", *least) : fmt::format("{} to {}", *least, *most);
}

bool is_switch(const Node& node) {
  return node.kind == NodeKind::kNetSwitch;
}

std::string place_text(const Alike& group, const SwitchPlace& place) {
  std::string text = place.tier == 0 ? counted(group.nodes.size(), "leaf switch")
                     : place.tier == SwitchPlace::kNowhere
                         ? counted(group.nodes.size(), "switch") + " that no NIC leads to"
                         : fmt::format("{} of tier {}", counted(group.nodes.size(), "switch"), place.tier);
  return place.rail == SwitchPlace::kNowhere ? text : fmt::format("rail {}, {}", place.rail, text);
}

// How many cables of each figure: "infiniband 50 GB/s: 398, 25 GB/s: 2".
using Cables = std::map<std::string, size_t>;

std::string cables_text(const Cables& cables) {
  std::string text;
  size_t lines = 0;
  for (const auto& [figure, count] : cables) {
    if (++lines > 6) return text + ", ...";
    text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", figure, count);
  }
  return text;
}

// One switch's cables downwards and upwards.
struct Use {
  std::set<uint32_t> nics;
  size_t up = 0;
};

class Fabric {
 public:
  Fabric(const Graph& graph, const Outline& outline)
      : graph_(graph), outline_(outline), places_(switch_places(graph)), use_(graph.nodes.size()) {
    for (const Link& link : graph.links) {
      const Node &from = graph.nodes[link.from], &to = graph.nodes[link.to];
      if (!is_network(link.kind) || !is_switch(to) || to.host != kNoHost) continue;
      const uint32_t group = outline.drawn[link.to];
      const std::string figure =
          fmt::format("{} {}", name_of(link.kind), bandwidth_text(link.bandwidth_bytes_per_s));
      if (from.kind == NodeKind::kNic) {
        use_[link.to].nics.insert(link.from);
        down_[group][figure] += link.count;
        leaves_of_host_[from.host].insert(link.to);
      } else if (is_switch(from) && places_[link.from].tier > places_[link.to].tier) {
        use_[link.to].up += link.count;
        up_[group][figure] += link.count;
      }
    }
  }

  std::string switches_text() const {
    std::vector<Alike> groups = outline_.switches;
    std::stable_sort(groups.begin(), groups.end(),
                     [this](const Alike& a, const Alike& b) { return places_[a.node] < places_[b.node]; });
    std::string text;
    for (const Alike& group : groups) {
      std::vector<std::string> ids;
      std::vector<size_t> nics, ups;
      for (uint32_t node : group.nodes) {
        ids.push_back(graph_.nodes[node].id);
        nics.push_back(use_[node].nics.size());
        ups.push_back(use_[node].up);
      }
      text += fmt::format("  {} ({})\n", place_text(group, places_[group.node]), cut(ids_text(ids)));
      if (const auto found = down_.find(group.node); found != down_.end())
        text += fmt::format("    {} NICs each; {}\n", span_text(nics), cables_text(found->second));
      if (const auto found = up_.find(group.node); found != up_.end())
        text += fmt::format("    {} cables up each; {}\n", span_text(ups), cables_text(found->second));
    }
    return text.empty() ? text : "\nswitches by rail and tier\n" + text;
  }

  std::string leaves_text() const {
    std::map<std::set<uint32_t>, std::vector<uint32_t>> hosts_of_leaves;
    for (uint32_t host : graph_.nodes_of(NodeKind::kHost)) {
      const auto found = leaves_of_host_.find(graph_.nodes[host].host);
      if (found != leaves_of_host_.end()) hosts_of_leaves[found->second].push_back(host);
    }
    std::vector<std::pair<std::vector<uint32_t>, std::set<uint32_t>>> rows;
    for (const auto& [leaves, hosts] : hosts_of_leaves) rows.emplace_back(hosts, leaves);
    std::stable_sort(rows.begin(), rows.end(),
                     [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
    std::string text;
    size_t left = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (i >= kMostLines) {
        left += rows[i].first.size();
        continue;
      }
      std::vector<std::string> ids;
      for (uint32_t leaf : rows[i].second) ids.push_back(graph_.nodes[leaf].id);
      text += fmt::format("  {} ({}): {}\n", range_text(graph_, rows[i].first), rows[i].first.size(),
                          cut(ids_text(ids)));
    }
    if (left > 0)
      text += fmt::format("  ... {} in {} more groups\n", counted(left, "host"), rows.size() - kMostLines);
    return text.empty() ? text : "\nhosts by their leaves\n" + text;
  }

 private:
  static std::string cut(std::string text) {
    if (text.size() > 120) text = text.substr(0, text.find(',', 100)) + ", ...";
    return text;
  }

  const Graph& graph_;
  const Outline& outline_;
  const std::vector<SwitchPlace> places_;
  std::vector<Use> use_;                  // by node
  std::map<uint32_t, Cables> down_, up_;  // by the switch that is drawn
  std::map<uint32_t, std::set<uint32_t>> leaves_of_host_;
};

}  // namespace

std::string fabric_text(const Graph& graph, const Outline& outline) {
  const Fabric fabric(graph, outline);
  return fabric.switches_text() + fabric.leaves_text();
}

std::string other_hosts_text(const Graph& graph, const Outline& outline, size_t first) {
  std::string text;
  size_t kinds = 0, hosts = 0;
  for (size_t i = first; i < outline.host_groups.size(); ++i) {
    const Alike& group = outline.host_groups[i];
    if (i >= first + kMostLines) {
      ++kinds;
      hosts += group.nodes.size();
      continue;
    }
    Cables cables;
    for (uint32_t index : outline.links[i]) {
      const Link& link = graph.links[index];
      if (is_network(link.kind))
        cables[fmt::format("{} {}", name_of(link.kind), bandwidth_text(link.bandwidth_bytes_per_s))] +=
            link.count;
    }
    const auto count = [&](NodeKind kind) {
      const auto& nodes = outline.hosts[i].nodes;
      return static_cast<size_t>(std::count_if(
          nodes.begin(), nodes.end(), [&](uint32_t node) { return graph.nodes[node].kind == kind; }));
    };
    const size_t devices = count(NodeKind::kDevice);
    text += fmt::format("  {} ({}): {}{}; cables {}\n", range_text(graph, group.nodes), group.nodes.size(),
                        devices == 0 ? "" : counted(devices, "device") + ", ",
                        counted(count(NodeKind::kNic), "NIC"), cables.empty() ? "none" : cables_text(cables));
  }
  if (kinds > 0) text += fmt::format("  ... {} of {} more kinds\n", counted(hosts, "host"), kinds);
  return text.empty() ? text : "\nother hosts\n" + text;
}

}  // namespace comity::topology
