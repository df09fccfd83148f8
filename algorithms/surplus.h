// What algorithms for powers of two do with other numbers of ranks.
//
// Of P ranks, the largest power of two Q take part. The surplus P - Q even ranks below 2 (P - Q) each give
// their contribution to the odd rank above, which speaks for both, and get the result from it:
//
//   P = 6, Q = 4     rank     0 -> 1   2 -> 3   4   5
//                    index         0        1   2   3     ascending by rank, so folds stay in rank order
#pragma once

#include <cstdint>

#include "algorithms/cost.h"

namespace comity::algorithms {

struct Surplus {
  uint32_t core = 1;   // Q
  uint32_t extra = 0;  // P - Q

  explicit Surplus(uint32_t ranks)
      : core(static_cast<uint32_t>(floor_power_of_two(ranks))), extra(ranks - core) {}
  // Gives its contribution to rank + 1 and takes no part.
  bool is_surplus(uint32_t rank) const { return rank < 2 * extra && rank % 2 == 0; }
  // Speaks for rank - 1 too.
  bool has_surplus(uint32_t rank) const { return rank < 2 * extra && rank % 2 == 1; }
  // Index among those that take part, and back.
  uint32_t index_of(uint32_t rank) const { return rank < 2 * extra ? rank / 2 : rank - extra; }
  uint32_t rank_of(uint32_t index) const { return index < extra ? 2 * index + 1 : index + extra; }
  uint32_t rounds() const { return ceil_log2(core); }
};

}  // namespace comity::algorithms
