#include "src/plan/extents.h"

namespace comity::plan {

uint32_t extents(const Shape& shape) {
  if (shape.collective == Collective::kAllToAll) return 2 * shape.nranks;
  const bool blocks = has_input_blocks(shape.collective) || has_output_blocks(shape.collective);
  return blocks ? shape.nranks : 0;
}

bool all_lengths_are_given(Collective collective) {
  const Collective base = planned_as(collective);
  return base == Collective::kAllGather || base == Collective::kReduceScatter;
}

bool is_given(const Shape& shape, uint32_t rank, uint32_t extent) {
  if (extent >= extents(shape)) return false;
  return !is_rooted(shape.collective) || rank == shape.root || extent == rank;
}

std::optional<uint32_t> extent_of(const Shape& shape, uint32_t rank, const ChunkRun& run) {
  if (run.space == Space::kInput) return has_input_blocks(shape.collective) ? run.block : rank;
  if (run.space != Space::kOutput) return std::nullopt;
  if (!has_output_blocks(shape.collective)) return rank;
  return shape.collective == Collective::kAllToAll ? shape.nranks + run.block : run.block;
}

std::optional<uint32_t> extent_of(const Shape& shape, uint32_t rank, const Step& step) {
  for (const auto* runs : {&step.src, &step.dst}) {
    for (const ChunkRun& run : *runs) {
      if (const auto implied = extent_of(shape, rank, run)) return implied;
    }
  }
  return step.extent == kImplied ? std::nullopt : std::optional(step.extent);
}

uint64_t block_of_extent(const Shape& shape, uint32_t rank, uint32_t extent) {
  if (shape.collective != Collective::kAllToAll) return extent;
  const bool sent = extent < shape.nranks;
  return sent ? block_of_input(shape, rank, extent) : block_of_input(shape, extent - shape.nranks, rank);
}

uint64_t block_of_input(const Shape& shape, uint32_t owner, uint32_t block) {
  if (shape.collective == Collective::kAllToAll) return uint64_t{owner} * shape.nranks + block;
  return has_input_blocks(shape.collective) ? block : owner;
}

}  // namespace comity::plan
