// The shape of the control tree: rank r's parent is (r - 1) / kFanOut. Pure arithmetic.
#pragma once

#include <cstdint>

#include "src/control/control.h"

namespace comity::control {

// Of rank > 0.
constexpr uint32_t parent_of(uint32_t rank) {
  return (rank - 1) / kFanOut;
}

// The children of `rank` are [first_child_of(rank), first_child_of(rank) + child_count_of(rank, nranks)).
constexpr uint64_t first_child_of(uint32_t rank) {
  return uint64_t{rank} * kFanOut + 1;
}
constexpr uint32_t child_count_of(uint32_t rank, uint32_t nranks) {
  const uint64_t first = first_child_of(rank);
  if (first >= nranks) return 0;
  const uint64_t left = nranks - first;
  return left < kFanOut ? static_cast<uint32_t>(left) : kFanOut;
}
constexpr bool is_child_of(uint32_t child, uint32_t rank, uint32_t nranks) {
  return child > 0 && child < nranks && parent_of(child) == rank;
}

// Whether `rank` is `top` or below it.
constexpr bool in_subtree_of(uint32_t rank, uint32_t top) {
  while (rank > top) rank = parent_of(rank);
  return rank == top;
}

// Ranks in the subtree of `top`, itself included.
constexpr uint32_t subtree_size_of(uint32_t top, uint32_t nranks) {
  uint64_t size = 0;
  uint64_t first = top;
  uint64_t last = top;
  while (first < nranks) {
    size += (last < nranks ? last : nranks - 1) - first + 1;
    first = first * kFanOut + 1;
    last = last * kFanOut + kFanOut;
  }
  return static_cast<uint32_t>(size);
}

}  // namespace comity::control
