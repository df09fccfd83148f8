// Reduce, balanced direct: everyone sends its tile to the root, which folds all by the balanced tree over
// ranks.
//
//   P ranks, N bytes. Steps: 1. Bytes sent by each rank but the root: N; received by the root: (P - 1) N.
//
//   0 (root): a              0: (a + b) + (c + d)
//   1:        b ---> 0
//   2:        c ---> 0
//   3:        d ---> 0
//
// For short blocks of few ranks where the same bits are asked for.
// The tree is that of plan/balanced.h; pairwise summation, N. Higham, "The accuracy of floating point
// summation", SIAM J. Sci. Comput. 1993.
#include "algorithms/catalogue.h"
#include "algorithms/shots.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("balanced_direct", Collective::kReduce, request, 1);
  shape.scratch_slots = balanced_slots(shape.nranks);
  set_tiles(shape, request.block_bytes,
            {.messages = 1, .footprint = uint64_t{shape.scratch_slots} + shape.nranks - 1, .window = 2});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  return reduce_direct(shape, rank, Folding::kBalanced);
}

}  // namespace

constinit const Algorithm kReduceBalancedDirect = {
    .name = "balanced_direct",
    .collective = Collective::kReduce,
    .summary = "1 step, N bytes sent by each rank but the root, by the balanced tree over ranks",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = reduce_direct_ns,
    .roundings = rounds_at_every_doubling,
    .balanced = applies_everywhere,
    .for_balanced = true,
};

}  // namespace comity::algorithms
