#include "src/engine/call.h"

namespace comity::engine {

// Spans keep pointing to a vector's elements where the vector is moved, which is why copies are not made.
KeptCall::KeptCall(const Call& call) : call_(call), exchange_(call.exchange.begin(), call.exchange.end()) {
  call_.exchange = exchange_;
  call_.input_blocks = keep(call.input_blocks, input_numbers_);
  call_.output_blocks = keep(call.output_blocks, output_numbers_);
}

BlockTable KeptCall::keep(const BlockTable& table, std::vector<uint64_t>& numbers) {
  numbers.assign(table.lengths.begin(), table.lengths.end());
  numbers.insert(numbers.end(), table.offsets.begin(), table.offsets.end());
  const std::span<const uint64_t> kept = numbers;
  return {kept.first(table.lengths.size()), kept.subspan(table.lengths.size())};
}

}  // namespace comity::engine
