#include "src/api/plans.h"

#include <bit>

#include "src/base/log.h"

namespace comity::api {

uint32_t SelectedPlans::pick(Collective, uint64_t block_bytes) {
  return static_cast<uint32_t>(std::bit_width(block_bytes));
}

Result<engine::PlannedPart> SelectedPlans::generate(Collective collective, uint32_t picked, uint32_t root) {
  const uint64_t block_bytes = picked == 0 ? 0 : uint64_t{1} << (picked - 1);
  const algorithms::Range& range = selection_.pick(collective, block_bytes);
  const algorithms::Algorithm& algorithm = *range.algorithm;
  algorithms::Request request{&topology_, root, block_bytes};
  engine::PlannedPart planned;
  planned.shape = algorithm.shape(request);
  planned.part = algorithm.part(request, planned.shape, rank_);
  planned.hash = algorithms::hash_of(algorithm, request, planned.shape);
  COMITY_LOG_INFO("rank {}: {} of blocks from {} bytes: {}, {}", rank_, name_of(collective), block_bytes,
                  algorithm.name, range.why);
  return planned;
}

}  // namespace comity::api
