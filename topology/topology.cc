#include "topology/topology.h"

#include <fmt/core.h>

#include <algorithm>
#include <unordered_map>

#include "src/base/hash.h"

namespace comity::topology {
namespace {

std::string describe_path(std::string_view name, const Path& path) {
  return fmt::format("{} latency_ns={} bandwidth_bytes_per_s={} rails={} direct={} transport={}\n", name,
                     path.latency_ns, path.bandwidth_bytes_per_s, path.rails, path.direct ? 1 : 0,
                     path.transport.empty() ? "-" : path.transport);
}

// Runs of neighbouring ranks in one group, "0x4 1x4": as short as a placement is regular.
std::string describe_placement(const std::vector<uint32_t>& group_of_rank) {
  std::string text;
  for (size_t begin = 0, end = 0; begin < group_of_rank.size(); begin = end) {
    while (end < group_of_rank.size() && group_of_rank[end] == group_of_rank[begin]) ++end;
    text += fmt::format(" {}x{}", group_of_rank[begin], end - begin);
  }
  return text;
}

}  // namespace

uint32_t Topology::ngroups() const {
  uint32_t groups = 0;
  for (uint32_t group : group_of_rank) groups = std::max(groups, group + 1);
  return groups;
}

Result<Topology> from_hosts(const std::vector<std::string>& host_text_of_rank) {
  if (host_text_of_rank.empty()) {
    return Status(Code::kInvalidArgument, "a topology needs at least one rank; pass one host text per rank");
  }
  Topology topology;
  topology.group_of_rank.reserve(host_text_of_rank.size());
  std::unordered_map<std::string_view, uint32_t> number_of;
  for (const std::string& text : host_text_of_rank) {
    const auto next = static_cast<uint32_t>(number_of.size());
    topology.group_of_rank.push_back(number_of.emplace(text, next).first->second);
  }
  return topology;
}

Topology one_host(uint32_t nranks) {
  Topology topology;
  topology.group_of_rank.assign(nranks, 0);
  return topology;
}

std::string describe(const Topology& topology) {
  std::string text = fmt::format("topology ranks={} groups={} reduce_bytes_per_s={}\n", topology.nranks(),
                                 topology.ngroups(), topology.reduce_bytes_per_s);
  text += "placement" + describe_placement(topology.group_of_rank) + "\n";
  return text + describe_path("inside", topology.inside) + describe_path("across", topology.across);
}

uint64_t hash(const Topology& topology) {
  return fnv(describe(topology));  // the canonical text
}

}  // namespace comity::topology
