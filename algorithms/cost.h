// The cost model's vocabulary: what closed forms are written with.
//
// Time in ns, lengths in bytes, all in 128-bit integers, so that every rank computes the same number. A
// message costs its path's latency and its length over the path's bandwidth; each further message that a rank
// sends in one round costs a gap. Ranks of one group share the group's way across. Ranks are full duplex.
// Pure.
#pragma once

#include <cstdint>

#include "algorithms/algorithm.h"
#include "topology/topology.h"

namespace comity::algorithms {

__extension__ using Wide = unsigned __int128;

// How ranks lie in groups. O(ranks) to make.
struct Grouping {
  uint64_t groups = 1;
  uint64_t local = 1;      // ranks of the fullest group
  bool contiguous = true;  // each group's ranks follow one another, so that neighbours rarely cross
  bool uniform = true;     // contiguous, and as many ranks on every group

  explicit Grouping(const topology::Topology& topology);
};

struct Figures : Grouping {
  uint64_t ranks = 1;
  Wide bytes = 0;  // of a block, at most 2^48: beyond, costs only scale
  topology::Path inside, across;
  uint64_t reduce_bytes_per_s = 1;

  explicit Figures(const Request& request);

  Wide inside_ns(Wide length) const;  // length over an inside path, without latency
  // `flows` ranks of a group each send `length` across at once.
  Wide across_ns(Wide length, Wide flows) const;
  // Combining `length` received bytes into an accumulator.
  Wide reduce_ns(Wide length) const;
  // Processor time of one message more in the same round: a quarter of a latency, what sending took of a
  // round trip in the measured shared-memory and socket paths.
  Wide gap_ns() const;
  Wide latency_ns() const;  // of the slowest path in use

  // One round in which every rank exchanges `length` with a rank `distance` away.
  Wide exchange_ns(Wide length, uint64_t distance) const;
  // The same where ranks pair up by the bit `distance` of their number, so that aligned groups keep short
  // distances inside.
  Wide pair_ns(Wide length, uint64_t distance) const;
  // One round in which every rank sends `length` to each other rank.
  Wide all_pairs_ns(Wide length) const;
  // One round in which one rank receives `length` from each other rank.
  Wide gather_ns(Wide length) const;
  // Every rank's `length` goes to one rank, or comes from it, by a binomial tree in messages of one each.
  Wide relays_ns(Wide length) const;
  // One message on a way that all ranks take one after the other (a chain's link, a tree's edge).
  Wide hop_ns(Wide length) const;
};

// ceil(log2(n)); 0 for n <= 1.
uint32_t ceil_log2(uint64_t n);
// Largest power of two <= n; n >= 1.
uint64_t floor_power_of_two(uint64_t n);
// To 64 bits, saturating.
uint64_t narrow_ns(Wide time_ns);

}  // namespace comity::algorithms
