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

// Numbers in a list such as "0-15,32-47"; 0 if it is none.
uint32_t length_of_list(std::string_view text) {
  uint64_t count = 0;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at < end) {
    uint32_t first = 0, last = 0;
    auto [rest, error] = std::from_chars(at, end, first);
    if (error != std::errc()) return 0;
    last = first;
    if (rest < end && *rest == '-') {
      const auto upper = std::from_chars(rest + 1, end, last);
      if (upper.ec != std::errc() || last < first) return 0;
      rest = upper.ptr;
    }
    count += uint64_t{last} - first + 1;
    if (rest < end && *rest != ',') return 0;
    at = rest + 1;
  }
  return static_cast<uint32_t>(std::min<uint64_t>(count, kMostCores));
}

// What discovery and the importer of hwloc's XML call the domain's CPUs.
uint32_t cores_of(const Node& numa) {
  for (const char* name : {"cpus", "cpuset"}) {
    const auto found = numa.attributes.find(name);
    if (found != numa.attributes.end()) return std::max(length_of_list(found->second), 1u);
  }
  return 1;
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
