#include "src/engine/varying.h"

#include <algorithm>

namespace comity::engine {

uint64_t VaryingBlocks::longest() const {
  if (first.empty()) return own;
  const uint64_t most = *std::max_element(first.begin(), first.end());
  return second.empty() ? most : std::max(most, *std::max_element(second.begin(), second.end()));
}

VaryingBlocks varying_blocks(const Call& call, bool compares) {
  VaryingBlocks blocks;
  const bool by_input = !call.input_blocks.empty();
  blocks.first = by_input ? call.input_blocks.lengths : call.output_blocks.lengths;
  if (by_input) blocks.second = call.output_blocks.lengths;
  blocks.own = call.count * size_of(call.type);
  blocks.input_offsets = call.input_blocks.offsets;
  blocks.output_offsets = call.output_blocks.offsets;
  blocks.compares = compares;
  return blocks;
}

uint64_t hash_of_lengths(std::span<const uint64_t> lengths) {
  uint64_t hash = lengths.size();
  for (const uint64_t length : lengths) hash = mix(hash, length);
  return hash;
}

}  // namespace comity::engine
