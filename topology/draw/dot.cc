#include "topology/draw/dot.h"

#include <fmt/core.h>

#include "topology/draw/outline.h"
#include "topology/draw/style.h"

namespace comity::topology {
namespace {

// Within a dot string in quotation marks.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "\"";
}

void add_node(const Graph& graph, uint32_t index, const std::string& suffix, std::string& text) {
  const Node& node = graph.nodes[index];
  std::string label = node.host == kNoHost ? node.id : short_id(node);
  if (!node.name.empty()) label += " | " + node.name;
  text += fmt::format("    n{} [label={}, shape=box, style=filled, fillcolor=\"{}\"];\n", index,
                      quoted(label + suffix), fill_of(node.kind));
}

void add_edge(const Graph& graph, const Outline& outline, uint32_t index, std::string& text) {
  const Link& link = graph.links[index];
  const std::string shared = link.shared.empty() ? "" : ", style=dashed";
  text += fmt::format("  n{} -- n{} [color=\"{}\", penwidth={:.1f}, label={}{}];\n", outline.drawn[link.from],
                      outline.drawn[link.to], colour_of(link.kind), thickness_of(link.total_bytes_per_s()),
                      quoted(fmt::format("{} {}", name_of(link.kind), figure_text(link))), shared);
}

}  // namespace

std::string to_dot(const Graph& graph) {
  const Outline outline = outline_of(graph);
  std::string text = "graph topology {\n  graph [rankdir=TB, fontname=\"monospace\"];\n";
  text += "  node [fontname=\"monospace\", fontsize=10];\n  edge [fontname=\"monospace\", fontsize=8];\n";
  for (size_t i = 0; i < outline.hosts.size(); ++i) {
    const Alike& group = outline.host_groups[i];
    const std::string count = group.nodes.size() > 1 ? fmt::format(" ({} alike)", group.nodes.size()) : "";
    text += fmt::format("  subgraph cluster_{} {{\n    label={};\n", i,
                        quoted(range_text(graph, group.nodes) + count));
    for (uint32_t node : outline.hosts[i].nodes) add_node(graph, node, "", text);
    text += "  }\n";
  }
  for (const Alike& each : outline.switches)
    add_node(graph, each.node, each.nodes.size() > 1 ? fmt::format(" ({} alike)", each.nodes.size()) : "",
             text);
  for (const auto& links : outline.links) {
    for (uint32_t link : links) add_edge(graph, outline, link, text);
  }
  for (uint32_t link : outline.switch_links) add_edge(graph, outline, link, text);
  return text + "}\n";
}

}  // namespace comity::topology
