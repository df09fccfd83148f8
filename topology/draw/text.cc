#include "topology/draw/text.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "topology/draw/outline.h"
#include "topology/draw/text_parts.h"
#include "topology/paths.h"

namespace comity::topology {
namespace {

// Of a large fabric those kinds of hosts are shown whole that at least one host in 20 is of.
constexpr size_t kMostFoldedHosts = 4, kOneIn = 20;
constexpr size_t kMostMembers = 8;  // of a set, one by one

std::string summary(const Graph& graph) {
  std::string text = graph.origin.empty() ? "" : graph.origin + ": ";
  text += counted(graph.host_count(), "host");
  for (const auto& [kind, name] : {std::pair{NodeKind::kDevice, "device"}, std::pair{NodeKind::kNic, "NIC"},
                                   std::pair{NodeKind::kNetSwitch, "network switch"}}) {
    const size_t count = graph.nodes_of(kind).size();
    if (count > 0) text += ", " + counted(count, name);
  }
  return text + fmt::format("; hash {:016x}\n", hash(graph));
}

// "h0.gpu0-h0.gpu7"; of many hosts "nic3 of h0-h299", "gpu0-gpu7 of h0-h3".
std::string members_text(const Graph& graph, const std::vector<uint32_t>& set) {
  std::vector<std::string> ids;
  std::map<uint32_t, std::vector<std::string>> by_host;
  for (uint32_t node : set) {
    ids.push_back(graph.nodes[node].id);
    by_host[graph.nodes[node].host].push_back(short_id(graph.nodes[node]));
  }
  if (set.size() <= kMostMembers || by_host.size() < 2) return ids_text(ids);
  std::map<uint32_t, uint32_t> host_nodes;
  for (uint32_t node : graph.nodes_of(NodeKind::kHost)) host_nodes[graph.nodes[node].host] = node;
  std::map<std::string, std::vector<uint32_t>> alike;
  for (const auto& [host, members] : by_host) alike[ids_text(members)].push_back(host_nodes.at(host));
  std::vector<std::pair<std::string, std::vector<uint32_t>>> rows(alike.begin(), alike.end());
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto& a, const auto& b) { return a.second.size() > b.second.size(); });
  std::string text;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i == 4) return text + "; ...";
    text += fmt::format("{}{} of {}", i == 0 ? "" : "; ", rows[i].first, range_text(graph, rows[i].second));
  }
  return text;
}

void add_sets(const Graph& graph, const std::vector<std::vector<uint32_t>>& sets, std::string_view title,
              std::string& text) {
  constexpr size_t kMostLines = 16;
  for (size_t i = 0; i < sets.size() && i < kMostLines; ++i) {
    text += fmt::format("{} {}: {} ({})\n", title, i, members_text(graph, sets[i]), sets[i].size());
  }
  if (sets.size() > kMostLines) text += fmt::format("... {} {}s in all\n", sets.size(), title);
}

// Names come from files: control characters would reach a terminal.
std::string printable(std::string text) {
  for (char& c : text) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f) c = '?';
  }
  return text;
}

std::string host_text(const Graph& graph, const Outline& outline, size_t i) {
  const Alike& group = outline.host_groups[i];
  const Node& node = graph.nodes[group.node];
  std::string text = fmt::format("\n{}", range_text(graph, group.nodes));
  if (group.nodes.size() > 1) text += fmt::format(" ({} alike)", group.nodes.size());
  if (!node.name.empty()) text += "  " + node.name;
  if (const auto cpu = node.attributes.find("cpu_model"); cpu != node.attributes.end())
    text += ", " + cpu->second;
  text += "\n" + tree_text(graph, outline.hosts[i]);
  text += links_text(graph, outline, outline.links[i], &outline.hosts[i]);
  return text + paths_text(graph, outline.hosts[i]);
}

bool is_shown_whole(const Graph& graph, const Outline& outline, size_t i) {
  if (!outline.by_place || i == 0) return true;
  return i < kMostFoldedHosts && outline.host_groups[i].nodes.size() * kOneIn >= graph.host_count();
}

std::string switches_text(const Graph& graph, const Outline& outline) {
  std::string text;
  for (const Alike& each : outline.switches) {
    if (each.nodes.size() > 1)
      text += fmt::format("{}{}: {} alike\n", text.empty() ? "\n" : "", graph.nodes[each.node].id,
                          each.nodes.size());
  }
  if (!outline.switch_links.empty())
    text += "\nbetween switches\n" + links_text(graph, outline, outline.switch_links, nullptr);
  return text;
}

}  // namespace

std::string to_text(const Graph& graph) {
  const Outline outline = outline_of(graph);
  std::string text = summary(graph);
  size_t whole = 0;
  while (whole < outline.hosts.size() && is_shown_whole(graph, outline, whole))
    text += host_text(graph, outline, whole++);
  if (outline.by_place) {
    text += other_hosts_text(graph, outline, whole) + fabric_text(graph, outline);
  } else {
    text += switches_text(graph, outline);
  }
  std::string sets;
  add_sets(graph, islands(graph), "island", sets);
  // Of one host that no network is known of, each NIC is a rail of its own: no news.
  const auto planes = rails(graph);
  if (std::any_of(planes.begin(), planes.end(), [](const auto& rail) { return rail.size() > 1; }))
    add_sets(graph, planes, "rail", sets);
  return printable(sets.empty() ? text : text + "\n" + sets);
}

}  // namespace comity::topology
