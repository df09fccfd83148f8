// All-reduce, balanced two-shot: everyone owns a chunk, gets it from all, folds it by the balanced tree over
// ranks, and gives it to all.
//
//   P ranks, N bytes. Steps: 2. Bytes sent by each rank: 2 (P - 1) / P N, the least possible.
//
//   0: a0 a1 a2 a3      a1 -> 1, a2 -> 2, a3 -> 3      s0 = (a0 + b0) + (c0 + d0)      s0 -> 1, 2, 3
//   1: b0 b1 b2 b3      b0 -> 0, b2 -> 2, b3 -> 3      s1 = (a1 + b1) + (c1 + d1)      s1 -> 0, 2, 3
//   2: ...
//
// For long blocks where the same bits are asked for: the work of the tree's nodes is spread over all ranks,
// chunk by chunk. R. Rabenseifner, "Optimization of collective reduction operations", ICCS 2004, both halves
// direct. The tree is that of plan/balanced.h; pairwise summation, N. Higham, "The accuracy of floating point
// summation", SIAM J. Sci. Comput. 1993.
#include "algorithms/catalogue.h"
#include "algorithms/shots.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("balanced_two_shot", Collective::kAllReduce, request, request.topology->nranks());
  shape.scratch_slots = balanced_slots(shape.nranks);
  set_tiles(shape, request.block_bytes,
            {.messages = shape.nranks, .footprint = uint64_t{shape.scratch_slots} + 1, .window = 2});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  return all_reduce_two_shot(shape, rank, Folding::kBalanced);
}

}  // namespace

constinit const Algorithm kAllReduceBalancedTwoShot = {
    .name = "balanced_two_shot",
    .collective = Collective::kAllReduce,
    .summary = "2 steps, 2 (P-1)/P N bytes, by the balanced tree over ranks",
    .applies = applies_with_chunk_per_rank,
    .shape = shape,
    .part = part,
    .cost_ns = all_reduce_two_shot_ns,
    .roundings = rounds_at_every_doubling,
    .balanced = applies_everywhere,
    .for_balanced = true,
};

}  // namespace comity::algorithms
