// VaryingBlocks: how long the blocks of a v-variant are on this rank and where they lie, by extent
// (src/plan/extents.h).
//
// Where the two ends of a message may have been given different lengths, its signature is the call's with the
// length added in a way that can be undone: so the receiver compares the lengths with the first segment, and
// names both.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "src/base/hash.h"
#include "src/engine/call.h"

namespace comity::engine {

struct VaryingBlocks {
  std::span<const uint64_t> first;   // bytes of the extents from 0; empty: the only one has `own`
  std::span<const uint64_t> second;  // all_to_all: from nranks
  uint64_t own = 0;
  std::span<const uint64_t> input_offsets, output_offsets;  // empty: that buffer is one block
  bool compares = false;                                    // lengths are those of pairs
  // Bytes of an element of the caller's, and of what the plan works on (images.h).
  uint32_t element_bytes = 1, worked_bytes = 1;

  // In bytes of what the plan works on.
  uint64_t length(uint32_t extent) const {
    const uint64_t bytes = first.empty()           ? own
                           : extent < first.size() ? first[extent]
                                                   : second[extent - first.size()];
    return bytes / element_bytes * worked_bytes;
  }
  // Of any extent, in bytes of the caller's.
  uint64_t longest() const;
};

// Of a call with is_varying(), which must outlive it. `compares`: as above.
VaryingBlocks varying_blocks(const Call& call, bool compares);
// Of all lengths; not for tables.
uint64_t hash_of_lengths(std::span<const uint64_t> lengths);

namespace detail {
constexpr uint64_t inverse_of(uint64_t odd) {
  uint64_t inverse = odd;  // right in the lowest three bits; each step doubles them (Newton)
  for (int step = 0; step < 5; ++step) inverse *= 2 - odd * inverse;
  return inverse;
}
}  // namespace detail

constexpr uint64_t signature_with_length(uint64_t call, uint64_t bytes) {
  return call + bytes * kGoldenRatio;
}
// Nothing if it belongs to another call, or to lengths that no memory has.
constexpr std::optional<uint64_t> length_of_signature(uint64_t call, uint64_t signature) {
  const uint64_t bytes = (signature - call) * detail::inverse_of(kGoldenRatio);
  return bytes >> 48 == 0 ? std::optional(bytes) : std::nullopt;
}

}  // namespace comity::engine
