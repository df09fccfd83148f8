// The selector: which algorithm for which collective and size, the same on every rank.
//
// For each collective it prices every algorithm that applies, at every power of two of the block length, by
// the closed forms, and keeps ranges. Input is only what ranks agreed on; arithmetic is on integers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "algorithms/algorithm.h"
#include "comity/plugin/result.h"

namespace comity::algorithms {

struct Range {
  uint64_t min_bytes = 0;  // block length, inclusive
  uint64_t max_bytes = 0;  // inclusive
  const Algorithm* algorithm = nullptr;
  uint64_t cost_ns = 0;  // predicted at min_bytes
  std::string why;       // "predicted 4.2 us; next best ring 8.1 us", "forced by COMITY_ALGO"
};

class Selection {
 public:
  // `forced` is COMITY_ALGO's text: "all_reduce:ring,broadcast:chain". kInvalidArgument names an unknown
  // collective or algorithm and lists those there are, or says why a forced one does not apply to this
  // topology.
  static Result<Selection> make(const topology::Topology& topology, std::string_view forced);

  // The range for a block of this length: O(1), no allocation. Each collective has ranges 0..2^64-1 without
  // gaps.
  const Range& pick(Collective collective, uint64_t block_bytes) const;
  uint32_t pick_index(Collective collective, uint64_t block_bytes) const;
  const std::vector<Range>& ranges(Collective collective) const;
  // A table for people and for the agreement hash.
  std::string describe() const;

 private:
  std::vector<Range> ranges_[kCollectiveCount];
  uint8_t index_[kCollectiveCount][65] = {};  // by bit width of the block length
};

}  // namespace comity::algorithms
