#include "topology/draw/hwloc_synthetic.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <map>

namespace comity::topology {
namespace {

constexpr uint32_t kMostCores = 65536;

struct Shape {
  uint32_t numas = 0;
  uint32_t cores = 1;  // of each NUMA domain
  bool operator==(const Shape&) const = default;
};

uint32_t cores_of(const Node& numa) {
  const auto found = numa.attributes.find("cores");
  uint32_t cores = 1;
  if (found != numa.attributes.end())
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), cores);
  return std::clamp(cores, 1u, kMostCores);
}

}  // namespace

Result<std::string> to_hwloc_synthetic(const Graph& graph) {
  std::map<uint32_t, Shape> shapes;
  for (const Node& node : graph.nodes) {
    if (node.kind == NodeKind::kHost) shapes[node.host];
    if (node.kind != NodeKind::kNuma) continue;
    Shape& shape = shapes[node.host];
    const uint32_t cores = cores_of(node);
    if (shape.numas > 0 && shape.cores != cores)
      return Status(Code::kInvalidArgument,
                    fmt::format("{} has {} cores and another NUMA domain of its host {}: a synthetic "
                                "description has the same number in each",
                                node.id, cores, shape.cores));
    shape.cores = cores;
    ++shape.numas;
  }
  if (shapes.empty()) return Status(Code::kInvalidArgument, "there is no host to describe");
  const Shape first = shapes.begin()->second;
  for (const auto& [host, shape] : shapes) {
    if (shape == first) continue;
    return Status(
        Code::kInvalidArgument,
        fmt::format("h{} has {} NUMA domains and h{} has {}: a synthetic description has the same in each "
                    "host; describe one host at a time",
                    shapes.begin()->first, first.numas, host, shape.numas));
  }
  const std::string hosts = shapes.size() > 1 ? fmt::format("group:{} ", shapes.size()) : "";
  return fmt::format("{}package:{} [numa] core:{} pu:1", hosts, std::max(first.numas, 1u), first.cores);
}

}  // namespace comity::topology
