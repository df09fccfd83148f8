// What `direct` and `two_shot` share with their balanced forms, which differ in how one rank folds what it
// was sent. Pure.
#pragma once

#include <cstdint>

#include "algorithms/algorithm.h"
#include "algorithms/members.h"

namespace comity::algorithms {

// All-reduce of a chunk per rank: each owner folds its chunk from all, and gives it to all.
Part all_reduce_two_shot(const Shape& shape, uint32_t rank, Folding folding);
uint64_t all_reduce_two_shot_ns(const Request& request);

// Reduce of a chunk per rank: each owner folds its chunk from all, in the last scratch slot, and sends it to
// the root.
Part reduce_two_shot(const Shape& shape, uint32_t rank, Folding folding);
uint64_t reduce_two_shot_ns(const Request& request);

// Reduce: everyone sends to the root, which folds all.
Part reduce_direct(const Shape& shape, uint32_t rank, Folding folding);
uint64_t reduce_direct_ns(const Request& request);

// Everyone sends each other rank a block and folds as many: all-reduce and reduce-scatter in one shot.
uint64_t one_shot_ns(const Request& request);

}  // namespace comity::algorithms
