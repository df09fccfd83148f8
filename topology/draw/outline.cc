#include "topology/draw/outline.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace comity::topology {
namespace {

constexpr uint32_t kNone = UINT32_MAX;

// A NIC hangs from whatever leads to it: from its device by a vendor's own link, too.
bool is_tree_link(LinkKind kind, NodeKind to, bool coherent_too) {
  return to == NodeKind::kNic || kind == LinkKind::kMemory || kind == LinkKind::kPcie ||
         (coherent_too && kind == LinkKind::kC2c);
}

struct TreeNode {
  uint32_t node = 0, depth = 0;
  int64_t parent_node = -1, link = -1;
};

// Breadth-first, so that the shortest way from the host counts; by C2C what PCIe does not lead to.
std::vector<TreeNode> tree_below(const Graph& graph, const std::vector<std::vector<uint32_t>>& out,
                                 uint32_t host_node) {
  std::set<uint32_t> seen{host_node};
  std::vector<TreeNode> order{{host_node, 0, -1, -1}};
  for (const bool coherent_too : {false, true}) {
    for (size_t at = 0; at < order.size(); ++at) {
      const TreeNode from = order[at];
      for (uint32_t each : out[from.node]) {
        const Link& link = graph.links[each];
        const Node& to = graph.nodes[link.to];
        if (!is_tree_link(link.kind, to.kind, coherent_too) || to.host != graph.nodes[host_node].host)
          continue;
        if (seen.insert(link.to).second)
          order.push_back({link.to, from.depth + 1, int64_t{from.node}, int64_t{each}});
      }
    }
  }
  return order;
}

// Depth-first over that tree, by an explicit stack: its depth comes from files.
HostOutline host_outline(const Graph& graph, const std::vector<std::vector<uint32_t>>& out,
                         uint32_t host_node, const std::vector<uint32_t>& nodes) {
  HostOutline outline;
  outline.host_node = host_node;
  const auto visit = [&outline](const TreeNode& at, int64_t parent) {
    outline.nodes.push_back(at.node);
    outline.depth.push_back(at.depth);
    outline.parent.push_back(parent);
    outline.link.push_back(at.link);
  };
  const std::vector<TreeNode> tree = tree_below(graph, out, host_node);
  std::map<int64_t, std::vector<const TreeNode*>> children;
  std::set<uint32_t> in_tree;
  for (const TreeNode& each : tree) {
    children[each.parent_node].push_back(&each);
    in_tree.insert(each.node);
  }
  std::vector<std::pair<const TreeNode*, int64_t>> stack{{tree.data(), -1}};
  while (!stack.empty()) {
    const auto [at, parent] = stack.back();
    stack.pop_back();
    visit(*at, parent);
    const auto below = children.find(at->node);
    if (below == children.end()) continue;
    const auto mine = static_cast<int64_t>(outline.nodes.size()) - 1;
    for (auto child = below->second.rbegin(); child != below->second.rend(); ++child)
      stack.emplace_back(*child, mine);
  }
  for (uint32_t node : nodes) {
    if (in_tree.count(node) == 0) visit({node, 0, -1, -1}, -1);
  }
  return outline;
}

// One direction of each link that joins two drawn nodes: the other has the same line. Parallel links of other
// figures have lines of their own; between switches that stand for several, links of equal figures are one.
void choose_links(const Graph& graph, Outline& outline) {
  std::vector<int64_t> group_of_node(graph.nodes.size(), -1);
  for (size_t group = 0; group < outline.hosts.size(); ++group) {
    for (uint32_t node : outline.hosts[group].nodes) group_of_node[node] = static_cast<int64_t>(group);
  }
  using Ends = std::tuple<uint32_t, uint32_t, LinkKind>;
  using Line = std::tuple<uint32_t, uint32_t, uint64_t>;
  const auto ends_of = [&](uint32_t link) {
    const Link& each = graph.links[link];
    return Ends{outline.drawn[each.from], outline.drawn[each.to], each.kind};
  };
  std::vector<uint32_t> candidates;
  std::set<Ends> known;
  for (uint32_t i = 0; i < graph.links.size(); ++i) {
    const auto [from, to, kind] = ends_of(i);
    if (from == kNone || to == kNone || from == to) continue;
    candidates.push_back(i);
    known.emplace(from, to, kind);
  }
  outline.links.resize(outline.hosts.size());
  std::set<Line> switch_lines;
  for (uint32_t i : candidates) {
    const auto [from, to, kind] = ends_of(i);
    if (from > to && known.count({to, from, kind}) > 0) continue;
    const int64_t group = group_of_node[from] >= 0 ? group_of_node[from] : group_of_node[to];
    if (group >= 0) {
      outline.links[static_cast<size_t>(group)].push_back(i);
    } else if (switch_lines.emplace(from, to, figures_of(graph.links[i])).second) {
      outline.switch_links.push_back(i);
    }
  }
}

}  // namespace

size_t Outline::count_at(uint32_t node) const {
  const auto found =
      std::find_if(switches.begin(), switches.end(), [node](const Alike& each) { return each.node == node; });
  return found == switches.end() ? 1 : found->nodes.size();
}

Outline outline_of(const Graph& graph, uint32_t most_groups) {
  Outline outline;
  const auto out = links_out_of(graph);
  const std::vector<uint32_t> host_nodes = graph.nodes_of(NodeKind::kHost);
  std::map<uint32_t, uint32_t> number;
  for (uint32_t i = 0; i < host_nodes.size(); ++i) number.emplace(graph.nodes[host_nodes[i]].host, i);
  std::vector<std::vector<uint32_t>> nodes_of_host(host_nodes.size());
  for (uint32_t i = 0; i < graph.nodes.size(); ++i) {
    const auto found = number.find(graph.nodes[i].host);
    if (found != number.end()) nodes_of_host[found->second].push_back(i);
  }
  Folding folding = folded(graph, most_groups);
  outline.host_groups = std::move(folding.hosts);
  outline.switches = std::move(folding.switches);
  outline.by_place = folding.by_place;
  outline.drawn.assign(graph.nodes.size(), kNone);
  for (const Alike& each : outline.switches) {
    for (uint32_t node : each.nodes) outline.drawn[node] = each.node;
  }
  for (const Alike& each : outline.host_groups) {
    const auto& nodes = nodes_of_host[number[graph.nodes[each.node].host]];
    outline.hosts.push_back(host_outline(graph, out, each.node, nodes));
    for (uint32_t node : nodes) outline.drawn[node] = node;
  }
  choose_links(graph, outline);
  return outline;
}

std::string range_text(const Graph& graph, const std::vector<uint32_t>& host_nodes) {
  std::string text;
  size_t ranges = 0;
  for (size_t i = 0; i < host_nodes.size();) {
    size_t last = i;
    const auto host = [&](size_t at) { return graph.nodes[host_nodes[at]].host; };
    while (last + 1 < host_nodes.size() && host(last + 1) == host(last) + 1) ++last;
    if (++ranges > 6) return text + ", ...";
    text += text.empty() ? "" : ", ";
    text += last == i ? fmt::format("h{}", host(i)) : fmt::format("h{}-h{}", host(i), host(last));
    i = last + 1;
  }
  return text;
}

std::string bandwidth_text(uint64_t bytes_per_s) {
  if (bytes_per_s == 0) return "unknown";
  if (bytes_per_s >= 1'000'000'000'000)
    return fmt::format("{:.4g} TB/s", static_cast<double>(bytes_per_s) / 1e12);
  if (bytes_per_s >= 1'000'000'000) return fmt::format("{:.4g} GB/s", static_cast<double>(bytes_per_s) / 1e9);
  if (bytes_per_s >= 1'000'000) return fmt::format("{:.4g} MB/s", static_cast<double>(bytes_per_s) / 1e6);
  return fmt::format("{} B/s", bytes_per_s);
}

std::string figure_text(const Link& link) {
  const std::string one = bandwidth_text(link.bandwidth_bytes_per_s);
  return link.count == 1 ? one : fmt::format("{} x {}", link.count, one);
}

std::string short_id(const Node& node) {
  if (node.kind == NodeKind::kHost) return node.id;
  const size_t dot = node.id.rfind('.');
  return dot == std::string::npos ? node.id : node.id.substr(dot + 1);
}

namespace {

// What kin are counted by: of slices the device, of NICs that are numbered ("mlx5_0", "mlx5_1") what they
// have in common.
std::string stem_of(const Node& node, std::string name) {
  if (const size_t slice = name.find(" slice "); slice != std::string::npos) name.resize(slice + 6);
  if (node.kind != NodeKind::kNic) return name;
  const size_t end = name.find_last_not_of("0123456789");
  if (end == std::string::npos) return name;
  name.resize(name[end] == '_' || name[end] == '-' ? end : end + 1);
  return name;
}

// "mlx5_0" of "node17 mlx5_0 port 1" on node17: what its host says, and which port of it, is no name.
std::string own_name(const Node& node, const Node& host) {
  std::string name = node.name.empty() ? std::string(name_of(node.kind)) : node.name;
  if (!host.name.empty() && name.starts_with(host.name + " ")) name.erase(0, host.name.size() + 1);
  if (const size_t port = name.rfind(" port "); port != std::string::npos && port > 0) name.resize(port);
  return name;
}

}  // namespace

std::string contents_text(const Graph& graph, const HostOutline& host) {
  struct Kin {
    std::string stem, name;
    int count = 0;
  };
  std::vector<Kin> all;
  for (const NodeKind kind : {NodeKind::kDevice, NodeKind::kNic}) {
    for (uint32_t index : host.nodes) {
      const Node& node = graph.nodes[index];
      if (node.kind != kind) continue;
      const std::string name = own_name(node, graph.nodes[host.host_node]);
      const std::string stem = stem_of(node, name);
      auto found = std::find_if(all.begin(), all.end(), [&stem](const Kin& kin) { return kin.stem == stem; });
      if (found == all.end()) {
        const bool whole = kind == NodeKind::kNic && !node.name.empty();
        found = all.insert(all.end(), {stem, whole ? name : stem, 0});
      }
      if (kind == NodeKind::kNic && name != found->name) found->name = stem;
      ++found->count;
    }
  }
  std::string text;
  for (const Kin& kin : all) text += fmt::format("{}{} x {}", text.empty() ? "" : ", ", kin.count, kin.name);
  return text;
}

}  // namespace comity::topology
