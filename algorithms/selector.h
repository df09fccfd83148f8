// The selector: which algorithm for which collective and size, the same on every rank.
//
// For each collective, and for each v-variant among the algorithms that serve any lengths, it prices every
// algorithm that applies, at every power of two of the block length, by the closed forms, and keeps ranges.
// Input is only what ranks agreed on; arithmetic is on integers.
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
  // Its plan works on fp32 images of the blocks, in whose bytes its lengths are: partial results are exact.
  bool in_fp32 = false;
  // How often a contribution is rounded on its way to a result, at most; 0: partial results are exact and
  // so is the result, or nothing is reduced.
  uint32_t roundings = 0;
  uint32_t max_lanes = plan::kMaxLanes;
  std::string why;  // "predicted 4.2 us; next best ring 8.1 us", "forced by COMITY_ALGO"
};

// Whether partial results of types of 8 and 16 bits may be rounded (COMITY_ACCUMULATE).
enum class Accumulate : uint8_t {
  kByLevel,  // once on each level of the hierarchy, inside a host and across hosts, of at most 64 members, log2 of
  // the members beyond; not at all in blocks below kExactBytes, and where that costs a sixteenth at most
  kFp32,  // not at all
};
inline constexpr uint64_t kExactBytes =
    256;  // of a block: in fp32 1 KiB at most, which is latency on any path
// "" or "fp32". kInvalidArgument says so.
Result<Accumulate> accumulate_named(std::string_view text);

// What ranks agreed on besides the topology.
struct Rules {
  Accumulate accumulate = Accumulate::kByLevel;
  // Of reductions only algorithms that fold by the balanced tree over ranks, narrow floats in fp32: the same
  // bits whatever the topology, size, choice and timing (COMITY_DETERMINISTIC).
  bool deterministic = false;
  uint32_t max_lanes = plan::kMaxLanes;  // of a part, at least 1 (COMITY_MAX_LANES)
};
// A v-variant whose lengths not every rank is given is planned as for blocks of this length.
inline constexpr uint64_t kVaryingBytes = uint64_t{256} << 10;

// Roundings that kByLevel allows on a topology.
uint32_t roundings_allowed(const topology::Topology& topology);
// What is asked of the algorithm of a range, for blocks of `block_bytes` of a type with these partial
// results.
Request request_for(const Range& range, const topology::Topology& topology, Partials partials, uint32_t root,
                    uint64_t block_bytes, const Grouping* grouping = nullptr);

class Selection {
 public:
  // `forced` is COMITY_ALGO's text: "all_reduce:ring,broadcast:chain,all_gather_v:ring". kInvalidArgument
  // names an unknown collective or algorithm and lists those there are, or says why a forced one does not
  // apply to this topology, to blocks of different lengths, or to the rules.
  // A forced algorithm rounds as often as it says, unless the rules forbid it: then its plan is in fp32.
  static Result<Selection> make(const topology::Topology& topology, std::string_view forced,
                                const Rules& rules = {});

  // The range for a block of this length: O(1), no allocation. Each collective has ranges 0..2^64-1 without
  // gaps; those that reduce have them for each kind of partial results. A v-variant has its own; where not
  // every rank is given all lengths they do not depend on the block length.
  const Range& pick(Collective collective, uint64_t block_bytes, Partials partials = Partials::kExact) const;
  const std::vector<Range>& ranges(Collective collective, Partials partials = Partials::kExact) const;
  // A table for people and for the agreement hash.
  std::string describe() const;

 private:
  static constexpr size_t kWidths = 65;  // of a block length, in bits
  static constexpr int kPlannedCount = static_cast<int>(Collective::kScatterV) + 1;
  struct Table {
    std::vector<Range> ranges;
    uint8_t index[kWidths] = {};
  };
  Status fill(const topology::Topology& topology, const Grouping& grouping, Collective collective,
              Partials partials, const Algorithm* forced, const Rules& rules);
  const Table& table(Collective collective, Partials partials) const {
    return tables_[static_cast<int>(collective)][is_reduction(collective) ? static_cast<int>(partials) : 0];
  }
  bool deterministic_ = false;
  Table tables_[kPlannedCount][kPartialsCount];
};

}  // namespace comity::algorithms
