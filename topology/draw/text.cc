#include "topology/draw/text.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "topology/draw/outline.h"
#include "topology/paths.h"

namespace comity::topology {
namespace {

// "3 hosts", "1 host".
std::string counted(size_t count, std::string_view one) {
  return fmt::format("{} {}{}", count, one, count == 1 ? "" : one.back() == 'h' ? "es" : "s");
}

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

std::string source_text(Source source) {
  std::string text(name_of(source));
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

std::string link_text(const Link& link) {
  std::string text = fmt::format("{} {}", name_of(link.kind), figure_text(link));
  if (link.latency_ns > 0) text += fmt::format(", {} ns", link.latency_ns);
  if (!link.shared.empty()) text += ", shared";
  return text + fmt::format(" ({})", source_text(link.source));
}

void add_tree(const Graph& graph, const HostOutline& host, std::string& text) {
  // Whether another child of the same parent follows: which bar is drawn.
  std::vector<bool> has_next(host.nodes.size(), false);
  std::map<int64_t, size_t> last_child;
  for (size_t i = 0; i < host.nodes.size(); ++i) {
    const auto [found, is_new] = last_child.emplace(host.parent[i], i);
    if (!is_new) has_next[found->second] = true;
    found->second = i;
  }
  for (size_t i = 1; i < host.nodes.size(); ++i) {
    if (host.depth[i] == 0) continue;
    std::string bars = has_next[i] ? "├─ " : "└─ ";
    for (int64_t up = host.parent[i]; up > 0; up = host.parent[static_cast<size_t>(up)])
      bars = (has_next[static_cast<size_t>(up)] ? "│  " : "   ") + bars;
    const Node& node = graph.nodes[host.nodes[i]];
    text += fmt::format("  {}{}", bars, short_id(node));
    if (!node.name.empty()) text += fmt::format("  {}", node.name);
    if (!node.bus_id.empty()) text += fmt::format("  [{}]", node.bus_id);
    if (host.link[i] >= 0)
      text += fmt::format("  {}", link_text(graph.links[static_cast<size_t>(host.link[i])]));
    text += '\n';
  }
}

// "gpu0-gpu7", "nic0, nic2": ids in order that end in consecutive numbers.
std::string ids_text(const std::vector<std::string>& ids) {
  const auto split = [](const std::string& id) {
    const size_t end = id.find_last_not_of("0123456789") + 1;
    const bool numbered = end < id.size() && id.size() - end < 9;
    return std::pair{id.substr(0, end), numbered ? std::stol(id.substr(end)) : -1L};
  };
  std::string text;
  for (size_t i = 0; i < ids.size();) {
    size_t last = i;
    const auto [stem, first] = split(ids[i]);
    while (first >= 0 && last + 1 < ids.size() &&
           split(ids[last + 1]) == std::pair{stem, first + static_cast<long>(last + 1 - i)})
      ++last;
    text += text.empty() ? "" : ", ";
    text += last == i ? ids[i] : fmt::format("{}{}{}", ids[i], last == i + 1 ? ", " : "-", ids[last]);
    i = last + 1;
  }
  return text;
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

// "each pair of gpu0-gpu7", or else the pairs one by one: "gpu0:gpu3, gpu0:gpu4".
std::string pairs_text(const Pairs& pairs) {
  std::vector<std::string> ends;
  std::string text;
  for (const auto& [a, b] : pairs) {
    for (const std::string& each : {a, b}) {
      if (std::find(ends.begin(), ends.end(), each) == ends.end()) ends.push_back(each);
    }
    text += fmt::format("{}{}:{}", text.empty() ? "" : ", ", a, b);
  }
  const bool all = ends.size() > 2 && pairs.size() == ends.size() * (ends.size() - 1) / 2;
  return all ? "each pair of " + ids_text(ends) : text;
}

// A link of another kind between nodes that the tree joins is said beside the tree.
using TreeLink = std::tuple<uint32_t, uint32_t, LinkKind>;

TreeLink undirected(const Link& link) {
  return {std::min(link.from, link.to), std::max(link.from, link.to), link.kind};
}

std::set<TreeLink> tree_links(const Graph& graph, const HostOutline& host) {
  std::set<TreeLink> links;
  for (int64_t index : host.link) {
    if (index < 0) continue;
    links.insert(undirected(graph.links[static_cast<size_t>(index)]));
  }
  return links;
}

// The links that are in no tree: by far end (a switch) or as pairs, those of equal figures in one line.
void add_links(const Graph& graph, const Outline& outline, const std::vector<uint32_t>& links,
               const std::set<TreeLink>& in_tree, std::string& text) {
  std::vector<std::pair<std::string, std::vector<std::string>>> lines;
  std::map<std::string, Pairs> pairs;  // by their figures
  const auto add = [&lines](const std::string& key, const std::string& id) {
    const auto found =
        std::find_if(lines.begin(), lines.end(), [&](const auto& each) { return each.first == key; });
    if (found == lines.end()) {
      lines.push_back({key, {id}});
    } else {
      found->second.push_back(id);
    }
  };
  for (uint32_t index : links) {
    const Link& link = graph.links[index];
    if (link.kind == LinkKind::kMemory || in_tree.count(undirected(link)) > 0) continue;
    const Node& from = graph.nodes[link.from];
    const Node& to = graph.nodes[outline.drawn[link.to]];
    const bool switched = to.kind == NodeKind::kVendorSwitch || to.kind == NodeKind::kNetSwitch;
    if (switched && to.host == kNoHost && from.host != kNoHost) {
      add(fmt::format("-> {}  {}", to.id, link_text(link)), short_id(from));
    } else if (switched) {
      add(fmt::format("-> {}  {}", short_id(to), link_text(link)),
          from.host == kNoHost ? from.id : short_id(from));
    } else {
      pairs[link_text(link)].emplace_back(short_id(from), short_id(to));
    }
  }
  for (const auto& [key, ids] : lines) text += fmt::format("  {} {}\n", ids_text(ids), key);
  for (const auto& [key, ends] : pairs) text += fmt::format("  {}  {}\n", pairs_text(ends), key);
}

void add_cell(std::string& text, std::string_view cell, size_t width) {
  text += fmt::format(" {:>{}}", cell, width);
}

std::string path_cell(const PathInfo& path) {
  if (path.path_class == PathClass::kLoc) return "X";
  if (path.path_class == PathClass::kDis) return "-";
  if (path.bandwidth_bytes_per_s == 0 || path.bandwidth_bytes_per_s == UINT64_MAX)
    return std::string(name_of(path.path_class));
  return fmt::format("{} {:.4g}", name_of(path.path_class),
                     static_cast<double>(path.bandwidth_bytes_per_s) / 1e9);
}

void add_matrix(const Graph& graph, const HostOutline& host, std::string& text) {
  std::vector<uint32_t> shown;
  for (const NodeKind kind : {NodeKind::kDevice, NodeKind::kNic}) {
    const auto first = static_cast<ptrdiff_t>(shown.size());
    for (uint32_t node : host.nodes) {
      if (graph.nodes[node].kind == kind) shown.push_back(node);
    }
    std::sort(shown.begin() + first, shown.end());
  }
  if (shown.size() < 2) return;
  std::vector<std::vector<std::string>> cells;
  size_t width = 4, head = 4;
  for (uint32_t from : shown) {
    const std::vector<PathInfo> paths = paths_from(graph, from);
    cells.emplace_back();
    for (uint32_t to : shown) {
      cells.back().push_back(path_cell(paths[to]));
      width = std::max({width, cells.back().back().size(), short_id(graph.nodes[to]).size()});
    }
    head = std::max(head, short_id(graph.nodes[from]).size());
  }
  text += fmt::format("  paths (class, GB/s one way)\n  {:<{}}", "", head);
  for (uint32_t to : shown) add_cell(text, short_id(graph.nodes[to]), width);
  for (size_t i = 0; i < shown.size(); ++i) {
    text += fmt::format("\n  {:<{}}", short_id(graph.nodes[shown[i]]), head);
    for (const std::string& cell : cells[i]) add_cell(text, cell, width);
  }
  text += '\n';
}

void add_sets(const Graph& graph, const std::vector<std::vector<uint32_t>>& sets, std::string_view title,
              std::string& text) {
  constexpr size_t kMostLines = 16;
  for (size_t i = 0; i < sets.size() && i < kMostLines; ++i) {
    std::vector<std::string> ids;
    for (uint32_t node : sets[i]) ids.push_back(graph.nodes[node].id);
    std::string members = ids_text(ids);
    if (members.size() > 160)
      members = fmt::format("{} ... {}", members.substr(0, members.find(',', 100)), ids.back());
    text += fmt::format("{} {}: {} ({})\n", title, i, members, sets[i].size());
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

}  // namespace

std::string to_text(const Graph& graph) {
  const Outline outline = outline_of(graph);
  std::string text = summary(graph);
  for (size_t i = 0; i < outline.hosts.size(); ++i) {
    const Alike& group = outline.host_groups[i];
    text += fmt::format("\n{}", range_text(graph, group.nodes));
    if (group.nodes.size() > 1) text += fmt::format(" ({} alike)", group.nodes.size());
    const std::string& name = graph.nodes[group.node].name;
    text += name.empty() ? "\n" : "  " + name + "\n";
    add_tree(graph, outline.hosts[i], text);
    add_links(graph, outline, outline.links[i], tree_links(graph, outline.hosts[i]), text);
    add_matrix(graph, outline.hosts[i], text);
  }
  bool titled = false;
  for (const Alike& each : outline.switches) {
    if (each.nodes.size() < 2) continue;
    text += fmt::format("{}{}: {} alike\n", titled ? "" : "\n", graph.nodes[each.node].id, each.nodes.size());
    titled = true;
  }
  if (!outline.switch_links.empty()) {
    text += "\nbetween switches\n";
    add_links(graph, outline, outline.switch_links, {}, text);
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
