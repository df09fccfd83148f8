// Rounding of sizes. Results that do not fit into 64 bits wrap: callers bound what they pass.
#pragma once

#include <cstdint>

namespace comity {

constexpr uint64_t divide_up(uint64_t a, uint64_t b) {
  return (a + b - 1) / b;
}

// The least multiple of `to` that is not below `value`. `to` is positive; any, not only a power of two.
constexpr uint64_t round_up(uint64_t value, uint64_t to) {
  return divide_up(value, to) * to;
}

constexpr uint64_t round_down(uint64_t value, uint64_t to) {
  return value / to * to;
}

}  // namespace comity
