// Proof that a Plan does what its collective promises.
//
// The verifier executes all parts symbolically, tiles 0..2*window (and on by the longest lag of a group), in
// a machine where a send issues once the previous message to that peer and lane was received, and looks at
// every pair of accesses without an order between them. It proves: every output chunk holds each rank's
// contribution exactly once (and, for avg, passed exactly one `last` reduction), folded alike on all ranks,
// so that bits are equal; sends match receives in order and length; no deadlock; no read or overwrite that a
// missing dependency leaves racing; every index is inside its bounds, and what the engine can hold suffices
// (plan.h's limits). In and out of place are proved separately; groups are proved whole, by their
// definitions, and each definition by itself. What is proved the engine finishes, whichever groups have a
// provider. The machine and its memory model are described in machine.h.
#pragma once

#include <cstdint>
#include <string>

#include "src/plan/plan.h"

namespace comity::plan {

// Rules, as printed:
//   bounds    an index outside what it indexes, or a plan too large to prove
//   shape     a step or group that is not of its kind's form, or writes where none may
//   match     a send without its receive, a group without a member's, or chunks or orders that differ
//             between them
//   extent    where blocks have lengths of their own: a step without a length, with one that its rank is not
//             given, or that takes a value for another block's
//   deadlock  a step that is never issued
//   race      two accesses to one place, one a write, that nothing orders
//   result    an output that does not hold what the collective promises, or bits that differ between ranks
//   tree      where the balanced tree is asked for (balanced.h): a result that is folded otherwise
//   last      a reduction's result that avg would not divide exactly once
struct Violation {
  std::string rule;
  uint32_t rank = 0;
  uint32_t lane = 0;
  uint32_t step = 0;    // as numbered in the Part given, a group's steps by the group's index
  std::string message;  // one sentence: who, what, why
};

struct VerifyResult {
  bool ok = true;
  Violation violation;  // the first found, if !ok
};

// Pure; time about (steps of all ranks) * (lanes of all ranks) * window. Never crashes on any Plan value,
// however odd: what would take too long or too much memory is refused ("bounds").
VerifyResult verify(const Plan& plan);
// Bounds and shape of one part alone, in time proportional to it: what a process checks at run time of
// built-in plans.
VerifyResult check_part(const Shape& shape, const Part& part);

}  // namespace comity::plan
