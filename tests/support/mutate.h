// Small damage to a Plan, by seed: a step dropped, swapped, duplicated or shifted, a dependency removed,
// weakened or moved, operands exchanged, `last` flipped, a group's turn changed. References to steps that
// move keep naming the same step, so that what is wrong afterwards is the damage and nothing else.
#pragma once

#include <cstdint>
#include <string>

#include "src/plan/plan.h"

namespace comity::test {

struct Mutant {
  plan::Plan plan;
  std::string what;  // "rank 1 lane 0 step 2: dropped"
};

// Equal seeds give equal mutants. The plan must have a step.
Mutant mutate(const plan::Plan& plan, uint64_t seed);

}  // namespace comity::test
