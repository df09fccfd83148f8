// Any text given to the notation or as a machine's file is refused or becomes a valid graph, which every
// drawing takes.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "topology/catalogue/notation.h"
#include "topology/draw/dot.h"
#include "topology/draw/hwloc_synthetic.h"
#include "topology/draw/svg.h"
#include "topology/draw/text.h"

namespace {

using comity::Result;
using comity::topology::Graph;

constexpr size_t kMostDrawn = 80;  // nodes

// Large clusters are right as well, and take the fuzzer's time.
bool is_small(const comity::topology::Notation& notation) {
  uint32_t weight = 0;
  for (const auto& group : notation.groups) {
    if (group.count > 3 || group.variant.slices > 2) return false;
    if (group.machine == "cloudmatrix384" || group.machine == "nvl72") return false;
    weight += group.count;
  }
  return weight <= 3 && notation.fabric.switches <= 64;
}

void draw(const Graph& graph) {
  if (!comity::topology::validate(graph).ok()) std::abort();
  if (graph.nodes.size() > kMostDrawn) return;
  if (to_text(graph).empty() || to_dot(graph).empty() || to_svg(graph).empty()) std::abort();
  (void)to_hwloc_synthetic(graph).ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (!text.empty() && text[0] == '{') {
    const auto machine = comity::topology::parse_machine(text);
    if (!machine.ok() || machine->hosts > 3) return 0;
    Result<Graph> graph = comity::topology::build_machine(*machine);
    if (!graph.ok()) return 0;
    comity::topology::canonicalize(*graph);
    draw(*graph);
    return 0;
  }
  const auto notation = comity::topology::parse_notation(text);
  if (!notation.ok() || !is_small(*notation)) return 0;
  const Result<Graph> graph = comity::topology::graph_from_notation(text);
  if (graph.ok()) draw(*graph);
  return 0;
}
