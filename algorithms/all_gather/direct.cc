// All-gather, direct: everyone sends its block to everyone.
//
//   P ranks, blocks of N bytes. Steps: 1. Bytes sent by each rank: (P - 1) N, the least possible.
//
//   0: a ---> 1, 2      0: a b c
//   1: b ---> 0, 2      1: a b c
//   2: c ---> 0, 1      2: a b c
//
// Successors first, so that no rank is everyone's first peer: the "spread out" of E. Chan, M. Heimlich, A.
// Purkayastha, R. van de Geijn, "Collective communication: theory, practice, and experience", CCPE 2007.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/members.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("direct", Collective::kAllGather, request, 1);
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = 0, .window = 2});
  shape.any_lengths = true;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  std::vector<ChunkRun> blocks;
  for (uint32_t block = 0; block < shape.nranks; ++block) blocks.push_back(output(block, 0, 1));
  const std::vector<uint32_t> sends =
      add_all_gather(steps, everyone(shape.nranks, rank), input(0, 0, 1), blocks, {}, {});
  steps.copy_own(input(0, 0, 1), blocks[rank], sends);
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  return narrow_ns(figures.all_pairs_ns(figures.bytes));
}

}  // namespace

constinit const Algorithm kAllGatherDirect = {
    .name = "direct",
    .collective = Collective::kAllGather,
    .summary = "1 step, (P-1) N bytes",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
};

}  // namespace comity::algorithms
