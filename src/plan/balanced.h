// The balanced tree over ranks: one association for a reduction's operands, whatever carries it out.
//
//   T(b, e) = rank b's contribution                      if e = b + 1
//           = T(b, m) op T(m, e), m = b + the largest power of two below e - b
//
//   6 ranks      ((0 1) (2 3)) (4 5)
//
// A reduction folded so has the same bits by any algorithm, topology and timing: this is what
// COMITY_DETERMINISTIC asks for. It is as deep as ceil(log2 p), it is what recursive doubling and a binomial
// tree compute of themselves, and of pairwise summations the one whose error grows with the logarithm: N.
// Higham, "The accuracy of floating point summation", SIAM J. Sci. Comput. 1993.
#pragma once

#include <bit>
#include <cstdint>

#include "src/plan/plan.h"
#include "src/plan/verify.h"

namespace comity::plan {

// Operands of the lower half of `count`, at least 2.
constexpr uint32_t balanced_split(uint32_t count) {
  return std::bit_floor(count - 1);
}

// All that verify() proves, and that every result of a reduction is the balanced tree over all ranks, two
// operands at each node: else rule "tree". Groups are looked at whole and by their definitions, so none of
// more than two members passes. Pure.
VerifyResult verify_balanced(const Plan& plan);

}  // namespace comity::plan
