// Reduce-scatter, balanced: everyone sends everyone its block; each folds its own by the balanced tree over
// ranks.
//
//   P ranks, blocks of N bytes. Steps: 1. Bytes sent by each rank: (P - 1) N, the least possible.
//
//   0: a0 a1 a2 a3      a1 -> 1, a2 -> 2, a3 -> 3      0: (a0 + b0) + (c0 + d0)
//   1: b0 b1 b2 b3      b0 -> 0, b2 -> 2, b3 -> 3      1: (a1 + b1) + (c1 + d1)
//   2: ...
//
// Where the same bits are asked for. The pairwise exchange, all rounds at once, of R. Thakur, R.
// Rabenseifner, W. Gropp, "Optimization of Collective Communication Operations in MPICH", IJHPCA 2005.
// The tree is that of plan/balanced.h; pairwise summation, N. Higham, "The accuracy of floating point
// summation", SIAM J. Sci. Comput. 1993.
#include "algorithms/catalogue.h"
#include "algorithms/members.h"
#include "algorithms/shots.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("balanced", Collective::kReduceScatter, request, 1);
  shape.scratch_slots = balanced_slots(shape.nranks);
  set_tiles(shape, request.block_bytes,
            {.messages = 1, .footprint = uint64_t{shape.scratch_slots} + shape.nranks - 1, .window = 2});
  shape.any_lengths = true;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  steps.set_extent(rank);
  add_reduce_scatter(steps, everyone(shape.nranks, rank), whole_blocks(Space::kInput, shape.nranks),
                     output(0, 0, 1), true, Folding::kBalanced);
  return part;
}

}  // namespace

constinit const Algorithm kReduceScatterBalanced = {
    .name = "balanced",
    .collective = Collective::kReduceScatter,
    .summary = "1 step, (P-1) N bytes, by the balanced tree over ranks",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = one_shot_ns,
    .roundings = rounds_at_every_doubling,
    .balanced = applies_everywhere,
    .for_balanced = true,
};

}  // namespace comity::algorithms
