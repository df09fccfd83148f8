#include "src/api/plans.h"

#include <bit>

#include "src/base/log.h"
#include "src/plan/extents.h"

namespace comity::api {

// Numbers of one kind: more than the widths, and such that neighbouring kinds are far apart in small tables.
constexpr uint32_t kKindNumbers = 67;

uint32_t SelectedPlans::pick(Collective collective, Partials partials, uint64_t block_bytes) {
  if (is_varying(collective) && !plan::all_lengths_are_given(collective))
    block_bytes = algorithms::kVaryingBytes;
  return static_cast<uint32_t>(std::bit_width(block_bytes)) + static_cast<uint32_t>(partials) * kKindNumbers;
}

Result<engine::PlannedPart> SelectedPlans::generate(Collective collective, uint32_t picked, uint32_t root) {
  const auto partials = static_cast<Partials>(picked / kKindNumbers);
  const uint32_t width = picked % kKindNumbers;
  const uint64_t block_bytes = width == 0 ? 0 : uint64_t{1} << (width - 1);
  const algorithms::Range& range = selection_.pick(collective, block_bytes, partials);
  return planned(range, partials, root, block_bytes);
}

engine::PlannedPart SelectedPlans::planned(const algorithms::Range& range, Partials partials, uint32_t root,
                                           uint64_t block_bytes) const {
  const algorithms::Request request = algorithms::request_for(range, topology_, partials, root, block_bytes);
  engine::PlannedPart planned;
  planned.shape = range.algorithm->shape(request);
  planned.part = range.algorithm->part(request, planned.shape, rank_);
  planned.hash = algorithms::hash_of(*range.algorithm, request, planned.shape);
  planned.in_fp32 = range.in_fp32;
  planned.divides_first = request.narrow && !range.in_fp32;
  COMITY_LOG_INFO("{}: {} of blocks from {} bytes: {}, {}", name_, name_of(range.algorithm->collective),
                  block_bytes, range.algorithm->name, range.why);
  return planned;
}

}  // namespace comity::api
