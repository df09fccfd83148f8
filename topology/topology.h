// What planning knows of the machines: groups of ranks that are near each other, and what the ways inside and
// between the groups can do. plan_topology() (planning.h) takes it from the graph. Every rank holds an equal
// one, so that all choose alike. Integers only: choices are made by integer arithmetic.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comity/plugin/result.h"

namespace comity::topology {

// A way from rank to rank. Figures are of one direction of one path in use.
struct Path {
  uint64_t latency_ns = 1000;
  uint64_t bandwidth_bytes_per_s = 1'000'000'000;
  uint32_t rails = 1;     // parallel interfaces that one pair of ranks may stripe over
  bool direct = false;    // a provider reaches peers' memory over it (a `group` is carried out whole)
  std::string transport;  // "shm"
  bool operator==(const Path&) const = default;
};

// Ranks 0..n-1 in groups 0..m-1, numbered by their lowest rank. A group is a host's ranks, or those of an
// island of devices.
struct Topology {
  std::vector<uint32_t> group_of_rank;
  Path inside;  // between ranks of one group
  Path across;  // between groups
  // Cost of combining: bytes/s that one rank reduces (reads of one source).
  uint64_t reduce_bytes_per_s = 10'000'000'000;

  uint32_t nranks() const { return static_cast<uint32_t>(group_of_rank.size()); }
  uint32_t ngroups() const;
  const Path& path(uint32_t from, uint32_t to) const {
    return group_of_rank[from] == group_of_rank[to] ? inside : across;
  }
  bool operator==(const Topology&) const = default;
};

// A topology from one text per rank (equal text: same group); groups are numbered canonically.
// kInvalidArgument if empty.
Result<Topology> from_hosts(const std::vector<std::string>& host_text_of_rank);
// n ranks on one host, for tests and tools.
Topology one_host(uint32_t nranks);
// Canonical text and its 64-bit hash, for agreement and logs.
std::string describe(const Topology& topology);
uint64_t hash(const Topology& topology);

}  // namespace comity::topology
