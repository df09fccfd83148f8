// Reduce, two-shot: direct reduce-scatter of P chunks to their owners, which send them to the root.
//
//   P ranks, N bytes. Steps: 2. Bytes sent by each rank but the root: N; received by the root: 2 (P - 1) /
//   P N. One rounding.
//
//   0 (root): a0 a1 a2      a1 -> 1, a2 -> 2      s0 = a0 + b0 + c0
//   1:        b0 b1 b2      b2 -> 2, b0 -> 0      s1 = a1 + b1 + c1      s1 -> 0
//   2:        c0 c1 c2      c0 -> 0, c1 -> 1      s2 = a2 + b2 + c2      s2 -> 0
//
// For long blocks. Sums lie in scratch, since only the root has an output. The reduce-scatter and gather of
// R. Rabenseifner, "Optimization of collective reduction operations", ICCS 2004, both direct.
#include "algorithms/catalogue.h"
#include "algorithms/shots.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("two_shot", Collective::kReduce, request, request.topology->nranks());
  shape.scratch_slots = shape.nranks > 1 ? 1 : 0;
  set_tiles(shape, request.block_bytes, {.messages = shape.nranks, .footprint = 2, .window = 2});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  return reduce_two_shot(shape, rank, Folding::kAtOnce);
}

}  // namespace

constinit const Algorithm kReduceTwoShot = {
    .name = "two_shot",
    .collective = Collective::kReduce,
    .summary = "2 steps, N bytes sent by each rank but the root, one rounding",
    .applies = applies_with_chunk_per_rank,
    .shape = shape,
    .part = part,
    .cost_ns = reduce_two_shot_ns,
    .roundings = rounds_once,
    .for_narrow = true,
};

}  // namespace comity::algorithms
