// What a collective promises, as data: what each rank's cells hold when a tile begins, and what they must
// hold at its end. Private to this folder.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/plan/plan.h"

namespace comity::plan {

// These chunks hold rank's own contribution, block of its input.
struct Holding {
  ChunkRun run;
  uint32_t rank = 0;
  uint32_t block = 0;
};

// These chunks must hold that block: of one rank, or folded over all ranks, each exactly once.
struct Promise {
  ChunkRun run;
  bool folded = false;
  uint32_t rank = 0;  // if not folded
  uint32_t block = 0;
};

// What avg's division must have done to a folded result.
enum class Division : uint8_t { kOnce, kNever, kAny };

struct Goal {
  std::vector<std::vector<Holding>> initially;  // by rank
  std::vector<std::vector<Promise>> finally;    // by rank
  Division division = Division::kAny;
  bool balanced = false;      // results are folded by the balanced tree over ranks
  bool synchronizes = false;  // every rank's end comes after every rank's start
};

// What the plan's own collective promises.
Goal goal_of(const Shape& shape);
// What one call of a group promises; steps[i] is member i's group step. Ranks are member indexes.
Goal goal_of(const Group& group, std::span<const Step* const> steps);

}  // namespace comity::plan
