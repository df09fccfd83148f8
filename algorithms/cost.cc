#include "algorithms/cost.h"

#include <algorithm>
#include <bit>
#include <vector>

namespace comity::algorithms {
namespace {

constexpr Wide kNsPerSecond = 1'000'000'000;
constexpr uint64_t kLongestPriced = uint64_t{1} << 48;

Wide over(Wide length, uint64_t bytes_per_s) {
  return length * kNsPerSecond / std::max<uint64_t>(bytes_per_s, 1);
}

}  // namespace

Grouping::Grouping(const topology::Topology& topology) {
  const std::vector<uint32_t>& host_of = topology.group_of_rank;
  groups = std::max<uint32_t>(topology.ngroups(), 1);
  std::vector<uint64_t> count(groups, 0);
  uint64_t borders = 0;
  for (size_t rank = 0; rank < host_of.size(); ++rank) {
    local = std::max(local, ++count[host_of[rank]]);
    const size_t next = rank + 1 == host_of.size() ? 0 : rank + 1;
    borders += host_of[rank] != host_of[next] ? 1 : 0;
  }
  contiguous = groups == 1 || borders == groups;
  uniform = contiguous && local * groups == host_of.size();
}

Figures::Figures(const Request& request)
    : Grouping(request.grouping != nullptr ? *request.grouping : Grouping(*request.topology)),
      ranks(request.topology->nranks()),
      bytes(std::min(request.block_bytes, kLongestPriced)),
      inside(request.topology->inside),
      across(request.topology->across),
      reduce_bytes_per_s(request.topology->reduce_bytes_per_s) {}

Wide Figures::inside_ns(Wide length) const {
  return over(length, inside.bandwidth_bytes_per_s);
}

Wide Figures::across_ns(Wide length, Wide flows) const {
  return over(length * flows, across.bandwidth_bytes_per_s) / std::max<uint32_t>(across.rails, 1);
}

Wide Figures::reduce_ns(Wide length) const {
  return over(length, reduce_bytes_per_s);
}

Wide Figures::gap_ns() const {
  return latency_ns() / 4;
}

Wide Figures::latency_ns() const {
  if (groups == 1) return inside.latency_ns;
  return local == 1 ? across.latency_ns : std::max(inside.latency_ns, across.latency_ns);
}

Wide Figures::exchange_ns(Wide length, uint64_t distance) const {
  const Wide near = inside.latency_ns + inside_ns(length);
  if (groups == 1) return near;
  const uint64_t flows = contiguous ? std::min(distance, local) : local;
  const Wide far = across.latency_ns + across_ns(length, flows);
  return flows == local ? far : std::max(near, far);
}

Wide Figures::pair_ns(Wide length, uint64_t distance) const {
  const bool stays_inside = uniform && local % (2 * distance) == 0;
  return stays_inside ? inside.latency_ns + inside_ns(length) : exchange_ns(length, distance);
}

Wide Figures::all_pairs_ns(Wide length) const {
  if (ranks < 2) return 0;
  const Wide near = inside_ns(length * (local - 1));
  const Wide far = groups == 1 ? 0 : across_ns(length * (ranks - local), local);
  return latency_ns() + gap_ns() * (ranks - 2) + std::max(near, far);
}

Wide Figures::gather_ns(Wide length) const {
  if (ranks < 2) return 0;
  const Wide near = inside_ns(length * (local - 1));
  const Wide far = groups == 1 ? 0 : across_ns(length * (ranks - local), 1);
  return latency_ns() + gap_ns() * (ranks - 2) + std::max(near, far);
}

Wide Figures::relays_ns(Wide length) const {
  Wide time = 0;
  for (uint64_t distance = 1; distance < ranks; distance *= 2) {
    const uint64_t blocks = std::min(distance, ranks - distance);
    time += pair_ns(length * blocks, distance) + (blocks - 1) * gap_ns();
  }
  return time;
}

Wide Figures::hop_ns(Wide length) const {
  return exchange_ns(length, 1);
}

uint32_t ceil_log2(uint64_t n) {
  return n <= 1 ? 0 : static_cast<uint32_t>(std::bit_width(n - 1));
}

uint64_t floor_power_of_two(uint64_t n) {
  return std::bit_floor(n);
}

uint64_t narrow_ns(Wide time_ns) {
  return time_ns > UINT64_MAX ? UINT64_MAX : static_cast<uint64_t>(time_ns);
}

}  // namespace comity::algorithms
