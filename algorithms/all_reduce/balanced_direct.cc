// All-reduce, balanced direct: everyone sends its tile to everyone and folds all by the balanced tree over
// ranks.
//
//   P ranks, N bytes. Steps: 1. Bytes sent by each rank: (P - 1) N.
//
//   0: a --> 1, 2, 3      (a + b) + (c + d)
//   1: b --> 0, 2, 3      (a + b) + (c + d)
//   2: c --> 0, 1, 3      (a + b) + (c + d)
//   3: d --> 0, 1, 2      (a + b) + (c + d)
//
// For short blocks where the same bits are asked for. All hold the same since all compute the same.
// The tree is that of plan/balanced.h; pairwise summation, N. Higham, "The accuracy of floating point
// summation", SIAM J. Sci. Comput. 1993.
#include "algorithms/catalogue.h"
#include "algorithms/members.h"
#include "algorithms/shots.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("balanced_direct", Collective::kAllReduce, request, 1);
  shape.scratch_slots = balanced_slots(shape.nranks);
  set_tiles(shape, request.block_bytes,
            {.messages = 1, .footprint = uint64_t{shape.scratch_slots} + shape.nranks - 1, .window = 2});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  add_exchange_all(steps, everyone(shape.nranks, rank), input(0, 0, 1), output(0, 0, 1), true,
                   Folding::kBalanced);
  return part;
}

}  // namespace

constinit const Algorithm kAllReduceBalancedDirect = {
    .name = "balanced_direct",
    .collective = Collective::kAllReduce,
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
