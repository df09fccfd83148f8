#include "tests/topology/graph_summary.h"

#include <fmt/format.h>

#include <map>

#include "topology/paths.h"

namespace comity::topology {

namespace {

std::string counts_of(const Graph& graph) {
  std::map<NodeKind, uint32_t> counts;
  for (const Node& node : graph.nodes) ++counts[node.kind];
  std::string text = "nodes:";
  for (const auto& [kind, count] : counts) text += fmt::format(" {} {}", count, name_of(kind));
  return text + fmt::format("\nlinks: {}\n", graph.links.size());
}

std::string groups_of(const Graph& graph, const char* title,
                      const std::vector<std::vector<uint32_t>>& groups) {
  std::string text = title;
  for (const auto& group : groups) {
    text += " [";
    for (size_t i = 0; i < group.size(); ++i) text += (i == 0 ? "" : " ") + graph.nodes[group[i]].id;
    text += "]";
  }
  return text + (groups.empty() ? " none\n" : "\n");
}

std::string matrix_of(const Graph& graph, const std::vector<uint32_t>& ends) {
  std::string text = fmt::format("{:10}", "");
  for (const uint32_t end : ends) text += fmt::format("{:>10}", graph.nodes[end].id);
  text += "\n";
  for (const uint32_t from : ends) {
    const std::vector<PathInfo> paths = paths_from(graph, from);
    text += fmt::format("{:10}", graph.nodes[from].id);
    for (const uint32_t to : ends) {
      const PathInfo& path = paths[to];
      const bool figure =
          from != to && path.bandwidth_bytes_per_s != 0 && path.bandwidth_bytes_per_s != UINT64_MAX;
      const std::string width =
          figure ? fmt::format(" {:.1f}", static_cast<double>(path.bandwidth_bytes_per_s) / 1e9) : "";
      text += fmt::format("{:>10}", fmt::format("{}{}", name_of(path.path_class), width));
    }
    text += "\n";
  }
  return text;
}

}  // namespace

std::string summary_of(const Graph& graph) {
  std::string text = counts_of(graph);
  std::vector<uint32_t> ends = graph.nodes_of(NodeKind::kDevice);
  const std::vector<uint32_t> nics = graph.nodes_of(NodeKind::kNic);
  ends.insert(ends.end(), nics.begin(), nics.end());
  for (const uint32_t end : ends) {
    const Node& node = graph.nodes[end];
    text += fmt::format("{}: {} numa {} {} \"{}\"\n", node.id, node.bus_id.empty() ? "-" : node.bus_id,
                        node.numa, node.vendor.empty() ? "-" : node.vendor, node.name);
  }
  for (const Link& link : graph.links) {
    if (!joins_islands(link.kind) && link.kind != LinkKind::kC2c && !is_network(link.kind)) continue;
    text += fmt::format("{} -> {}: {} x {} {:.1f} GB/s ({})\n", graph.nodes[link.from].id,
                        graph.nodes[link.to].id, link.count, name_of(link.kind),
                        static_cast<double>(link.bandwidth_bytes_per_s) / 1e9, name_of(link.source));
  }
  text += groups_of(graph, "islands:", islands(graph));
  text += groups_of(graph, "rails:", rails(graph));
  return text + matrix_of(graph, ends);
}

}  // namespace comity::topology
