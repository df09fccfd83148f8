// How often a Plan rounds: where partial results are rounded, each reduction rounds what it folds.
#pragma once

#include <cstdint>

#include "src/plan/plan.h"
#include "src/plan/verify.h"

namespace comity::plan {

struct FoldDepths {
  // Reductions, at most, that a rank's contribution passes on its way to an output.
  uint32_t deepest = 0;
  // Of a plan whose marks (ChunkRun::partial, Group::partial) are not what they should be, the first that
  // is not: rule "partial". Of one that stalls: rule "deadlock".
  VerifyResult marks;
};

// Of a plan that is proved (verify()): follows its data once, groups whole or by their definitions. Pure;
// time and memory about those of all parts' chunks.
FoldDepths fold_depths(const Plan& plan, bool groups_whole);

}  // namespace comity::plan
