// Reduce-scatter, direct: everyone sends everyone its block; each folds its own in rank order, with one
// rounding.
//
//   P ranks, blocks of N bytes. Steps: 1. Bytes sent by each rank: (P - 1) N, the least possible.
//
//   0: a0 a1 a2      a1 -> 1, a2 -> 2      0: a0 + b0 + c0
//   1: b0 b1 b2      b2 -> 2, b0 -> 0      1: a1 + b1 + c1
//   2: c0 c1 c2      c0 -> 0, c1 -> 1      2: a2 + b2 + c2
//
// The pairwise exchange, all rounds at once, of R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of
// Collective Communication Operations in MPICH", IJHPCA 2005.
#include "algorithms/catalogue.h"
#include "algorithms/members.h"
#include "algorithms/shots.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("direct", Collective::kReduceScatter, request, 1);
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = shape.nranks - 1, .window = 2});
  shape.any_lengths = true;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  steps.set_extent(rank);
  std::vector<ChunkRun> blocks;
  for (uint32_t block = 0; block < shape.nranks; ++block) blocks.push_back(input(block, 0, 1));
  add_reduce_scatter(steps, everyone(shape.nranks, rank), blocks, output(0, 0, 1), true, Folding::kAtOnce);
  return part;
}

}  // namespace

constinit const Algorithm kReduceScatterDirect = {
    .name = "direct",
    .collective = Collective::kReduceScatter,
    .summary = "1 step, (P-1) N bytes, one rounding",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = one_shot_ns,
    .roundings = rounds_once,
};

}  // namespace comity::algorithms
