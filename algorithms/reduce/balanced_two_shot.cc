// Reduce, balanced two-shot: everyone owns a chunk, gets it from all, folds it by the balanced tree over
// ranks, and sends it to the root.
//
//   P ranks, N bytes. Steps: 2. Bytes sent by each rank but the root: N; received by the root: 2 (P - 1) / P
//   N.
//
//   0 (root): a0 a1 a2 a3      a1 -> 1, a2 -> 2, a3 -> 3      s0 = (a0 + b0) + (c0 + d0)
//   1:        b0 b1 b2 b3      b0 -> 0, b2 -> 2, b3 -> 3      s1 = (a1 + b1) + (c1 + d1)      s1 -> 0
//   2:        ...
//
// For long blocks where the same bits are asked for: the work of the tree's nodes is spread over all ranks,
// chunk by chunk. Sums lie in scratch, since only the root has an output. R. Rabenseifner, "Optimization of
// collective reduction operations", ICCS 2004, both halves direct.
// The tree is that of plan/balanced.h; pairwise summation, N. Higham, "The accuracy of floating point
// summation", SIAM J. Sci. Comput. 1993.
#include "algorithms/catalogue.h"
#include "algorithms/shots.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("balanced_two_shot", Collective::kReduce, request, request.topology->nranks());
  const uint32_t ranks = shape.nranks;
  shape.scratch_slots = ranks < 2 ? 0 : balanced_slots(ranks) + 1;  // the last is for the sum
  set_tiles(shape, request.block_bytes,
            {.messages = ranks, .footprint = uint64_t{shape.scratch_slots} + 1, .window = 2});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  return reduce_two_shot(shape, rank, Folding::kBalanced);
}

}  // namespace

constinit const Algorithm kReduceBalancedTwoShot = {
    .name = "balanced_two_shot",
    .collective = Collective::kReduce,
    .summary = "2 steps, N bytes sent by each rank but the root, by the balanced tree over ranks",
    .applies = applies_with_chunk_per_rank,
    .shape = shape,
    .part = part,
    .cost_ns = reduce_two_shot_ns,
    .roundings = rounds_at_every_doubling,
    .balanced = applies_everywhere,
    .for_balanced = true,
};

}  // namespace comity::algorithms
