// Where the engine gets plans from: it knows no algorithm. The API implements this with the selector; tests
// by hand.
#pragma once

#include <cstdint>

#include "comity/plugin/result.h"
#include "comity/plugin/types.h"
#include "src/plan/plan.h"

namespace comity::engine {

struct PlannedPart {
  plan::Shape shape;
  plan::Part part;
  uint64_t hash = 0;  // of the whole plan, equal on all ranks: plan::hash_of
  // The plan is carried out on fp32 images of a call of a narrow type: its lengths count those.
  bool in_fp32 = false;
  // Those of premulsum, whose elements may be as long as the call's (images.h).
  bool scaled = false;
  // Of a v-variant, if not every rank is given all lengths: then its group's provider must be able to compare
  // them, and one tile holds whole blocks, since no rank knows how many there would be.
  bool compares_lengths = false;
  // Partial results are rounded to the call's type: avg divides where a contribution is first folded, not at
  // the `last` reduction.
  bool divides_first = false;
};

class PlanSource {
 public:
  virtual ~PlanSource() = default;
  // A small stable number for the plan of this collective, kind of partial results and block length: equal
  // numbers mean equal plans (for one collective and root). The same on every rank; O(1), no allocation: it
  // is asked at every call. `collective` is the one called: a v-variant's plans are those of planned_as(),
  // good for any lengths (src/plan/extents.h). Its block_bytes is the longest block's where every rank is
  // given all lengths, of all_gather_v and reduce_scatter_v; of the others it is not looked at.
  virtual uint32_t pick(Collective collective, Partials partials, uint64_t block_bytes) = 0;
  // This rank's part of that plan, for the same `collective`. Not on the hot path.
  virtual Result<PlannedPart> generate(Collective collective, uint32_t picked, uint32_t root) = 0;
};

}  // namespace comity::engine
