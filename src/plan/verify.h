// Proof that a Plan does what its collective promises.
//
// The verifier executes all parts symbolically, tiles 0..2*window, in a machine where a send issues once the
// previous message to that peer and lane was received, and looks at every pair of accesses without an order
// between them. It proves: every output chunk holds each rank's contribution exactly once (and, for avg,
// passed exactly one `last` reduction); sends match receives in order and length; no deadlock; no read or
// overwrite that a missing dependency leaves racing; every index is inside its bounds. In and out of place
// are proved separately. Groups are expanded.
#pragma once

#include <cstdint>
#include <string>

#include "src/plan/plan.h"

namespace comity::plan {

// Rules, as printed: "bounds", "match", "deadlock", "race", "result", "last", "shape".
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

// Pure; time about (steps of all ranks) * window * log. Never crashes on any Plan value, however odd.
VerifyResult verify(const Plan& plan);
// Bounds and shape of one part alone, in time proportional to it: what a process checks at run time of
// built-in plans.
VerifyResult check_part(const Shape& shape, const Part& part);

}  // namespace comity::plan
