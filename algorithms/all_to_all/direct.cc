// All-to-all, direct: everyone sends everyone its block at once.
//
//   P ranks, blocks of N bytes. Steps: 1. Bytes sent by each rank: (P - 1) N, the least possible.
//
//   0: a0 a1 a2 ---> 1, 2      0: a0 b0 c0
//   1: b0 b1 b2 ---> 0, 2      1: a1 b1 c1
//   2: c0 c1 c2 ---> 0, 1      2: a2 b2 c2
//
// Successors first, so that no rank is everyone's first peer: the "spread" of the linear algorithm in R.
// Thakur, R. Rabenseifner, W. Gropp, "Optimization of collective communication operations in MPICH", IJHPCA
// 2005.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/members.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("direct", Collective::kAllToAll, request, 1);
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = 0, .window = 2});
  shape.placement = plan::Placement::kOutOfPlaceOnly;
  shape.any_lengths = true;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  add_all_to_all(steps, everyone(shape.nranks, rank), whole_blocks(Space::kInput, shape.nranks),
                 whole_blocks(Space::kOutput, shape.nranks));
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  return narrow_ns(figures.all_pairs_ns(figures.bytes));
}

}  // namespace

constinit const Algorithm kAllToAllDirect = {
    .name = "direct",
    .collective = Collective::kAllToAll,
    .summary = "1 step, (P-1) N bytes",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
};

}  // namespace comity::algorithms
