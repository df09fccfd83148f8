#include "topology/topology.h"

#include <fmt/core.h>

#include <algorithm>
#include <unordered_map>

namespace comity::topology {
namespace {

std::string describe_path(std::string_view name, const Path& path) {
  return fmt::format("{} latency_ns={} bandwidth_bytes_per_s={} rails={} direct={} transport={}\n", name,
                     path.latency_ns, path.bandwidth_bytes_per_s, path.rails, path.direct ? 1 : 0,
                     path.transport.empty() ? "-" : path.transport);
}

// Runs of neighbouring ranks on one host, "0x4 1x4": as short as a placement is regular.
std::string describe_placement(const std::vector<uint32_t>& host_of_rank) {
  std::string text;
  for (size_t begin = 0, end = 0; begin < host_of_rank.size(); begin = end) {
    while (end < host_of_rank.size() && host_of_rank[end] == host_of_rank[begin]) ++end;
    text += fmt::format(" {}x{}", host_of_rank[begin], end - begin);
  }
  return text;
}

}  // namespace

uint32_t Topology::nhosts() const {
  uint32_t hosts = 0;
  for (uint32_t host : host_of_rank) hosts = std::max(hosts, host + 1);
  return hosts;
}

std::vector<uint32_t> Topology::ranks_on(uint32_t host) const {
  std::vector<uint32_t> ranks;
  for (uint32_t rank = 0; rank < nranks(); ++rank) {
    if (host_of_rank[rank] == host) ranks.push_back(rank);
  }
  return ranks;
}

Result<Topology> from_hosts(const std::vector<std::string>& host_text_of_rank) {
  if (host_text_of_rank.empty()) {
    return Status(Code::kInvalidArgument, "a topology needs at least one rank; pass one host text per rank");
  }
  Topology topology;
  topology.host_of_rank.reserve(host_text_of_rank.size());
  std::unordered_map<std::string_view, uint32_t> number_of;
  for (const std::string& text : host_text_of_rank) {
    const auto next = static_cast<uint32_t>(number_of.size());
    topology.host_of_rank.push_back(number_of.emplace(text, next).first->second);
  }
  return topology;
}

Topology one_host(uint32_t nranks) {
  Topology topology;
  topology.host_of_rank.assign(nranks, 0);
  return topology;
}

std::string describe(const Topology& topology) {
  std::string text = fmt::format("topology ranks={} hosts={} reduce_bytes_per_s={}\n", topology.nranks(),
                                 topology.nhosts(), topology.reduce_bytes_per_s);
  text += "placement" + describe_placement(topology.host_of_rank) + "\n";
  return text + describe_path("inside", topology.inside) + describe_path("across", topology.across);
}

uint64_t hash(const Topology& topology) {
  uint64_t value = 0xcbf29ce484222325;  // FNV-1a of the canonical text
  for (char c : describe(topology)) {
    value ^= static_cast<unsigned char>(c);
    value *= 0x100000001b3;
  }
  return value;
}

}  // namespace comity::topology
