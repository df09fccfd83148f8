#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "src/plan/print.h"

namespace comity::plan {
namespace {

std::string quoted(std::string_view text) {
  std::string result;
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') result += '\\';
    result += letter;
  }
  return result;
}

std::string node(uint32_t rank, size_t lane, size_t step) {
  return fmt::format("r{}l{}s{}", rank, lane, step);
}

// Names of nodes: what messages and meetings join.
using Ends = std::map<std::tuple<uint32_t, uint32_t, uint32_t>,
                      std::pair<std::vector<std::string>, std::vector<std::string>>>;

void draw_part(const Part& part, uint32_t rank, Ends& messages, std::string& text) {
  text += fmt::format("  subgraph cluster_{} {{\n    label=\"rank {}\";\n", rank, rank);
  for (uint32_t lane = 0; lane < part.lanes.size(); ++lane) {
    const auto& steps = part.lanes[lane].steps;
    for (uint32_t index = 0; index < steps.size(); ++index) {
      const Step& step = steps[index];
      const std::string name = node(rank, lane, index);
      text += fmt::format("    {} [label=\"{}.{} {}\"{}];\n", name, lane, index, quoted(describe(step)),
                          step.kind == StepKind::kGroup ? ", style=filled, fillcolor=lightgrey" : "");
      if (index > 0)
        text += fmt::format("    {} -> {} [style=dotted, weight=10];\n", node(rank, lane, index - 1), name);
      for (const After& after : step.after) {
        text += fmt::format("    {} -> {}{};\n", node(rank, after.lane, after.step), name,
                            after.in_place_only ? " [style=dashed]" : "");
      }
      if (step.kind == StepKind::kSend) messages[{rank, step.peer, lane}].first.push_back(name);
      if (step.kind == StepKind::kRecv) messages[{step.peer, rank, lane}].second.push_back(name);
    }
  }
  text += "  }\n";
}

}  // namespace

std::string to_dot(const Plan& plan, const PrintOptions& options) {
  const auto printed = static_cast<uint32_t>(std::min<size_t>(plan.parts.size(), options.most_ranks));
  std::string text = fmt::format(
      "// {} of {} ranks. solid: after; dashed: after, in place only; dotted: order of issue; bold: message\n"
      "digraph plan {{\n  label=\"{}\";\n  rankdir=TB;\n  node [shape=box, fontname=monospace, "
      "fontsize=10];\n",
      printed, plan.parts.size(), quoted(plan.shape.algorithm));
  Ends messages;
  for (uint32_t rank = 0; rank < printed; ++rank) draw_part(plan.parts[rank], rank, messages, text);
  for (const auto& [channel, ends] : messages) {
    for (size_t i = 0; i < std::min(ends.first.size(), ends.second.size()); ++i) {
      text += fmt::format("  {} -> {} [style=bold, color=blue, constraint=false];\n", ends.first[i],
                          ends.second[i]);
    }
  }
  return text + "}\n";
}

}  // namespace comity::plan
