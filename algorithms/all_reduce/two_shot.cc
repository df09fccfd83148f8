// All-reduce, two-shot: direct reduce-scatter of P chunks to their owners, then direct all-gather.
//
//   P ranks, N bytes. Steps: 2. Bytes sent by each rank: 2 (P - 1) / P N, the least possible. One rounding.
//
//   0: a0 a1 a2      a1 -> 1, a2 -> 2      s0 = a0 + b0 + c0      s0 -> 1, 2
//   1: b0 b1 b2      b2 -> 2, b0 -> 0      s1 = a1 + b1 + c1      s1 -> 2, 0
//   2: c0 c1 c2      c0 -> 0, c1 -> 1      s2 = a2 + b2 + c2      s2 -> 0, 1
//
// Few steps and the least bytes, for a moderate number of ranks that all reach each other. Van de Geijn's
// reduce-scatter and all-gather, both direct: E. Chan, M. Heimlich, A. Purkayastha, R. van de Geijn,
// "Collective communication: theory, practice, and experience", CCPE 2007.
#include "algorithms/catalogue.h"
#include "algorithms/shots.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("two_shot", Collective::kAllReduce, request, request.topology->nranks());
  set_tiles(shape, request.block_bytes, {.messages = shape.nranks, .footprint = 1, .window = 2});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  return all_reduce_two_shot(shape, rank, Folding::kAtOnce);
}

}  // namespace

constinit const Algorithm kAllReduceTwoShot = {
    .name = "two_shot",
    .collective = Collective::kAllReduce,
    .summary = "2 steps, 2 (P-1)/P N bytes, one rounding",
    .applies = applies_with_chunk_per_rank,
    .shape = shape,
    .part = part,
    .cost_ns = all_reduce_two_shot_ns,
    .roundings = rounds_once,
};

}  // namespace comity::algorithms
