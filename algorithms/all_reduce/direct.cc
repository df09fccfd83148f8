// All-reduce, direct (one-shot): everyone sends its whole tile to everyone, and each folds all p in rank
// order.
//
//   P ranks, N bytes. Steps: 1. Bytes sent by each rank: (P - 1) N. Reductions: P - 1, one rounding.
//
//   0: a ---> 1, 2      0: a + b + c
//   1: b ---> 0, 2      1: a + b + c     every rank folds in rank order, so all hold the same bits
//   2: c ---> 0, 1      2: a + b + c
//
// The least latency there is: one message. For short blocks. Known as "all-to-all all-reduce" or one-shot; R.
// Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication Operations in MPICH", IJHPCA
// 2005, discusses when latency decides.
#include "algorithms/catalogue.h"
#include "algorithms/members.h"
#include "algorithms/shots.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("direct", Collective::kAllReduce, request, 1);
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = shape.nranks - 1, .window = 2});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  add_exchange_all(steps, everyone(shape.nranks, rank), input(0, 0, 1), output(0, 0, 1), true);
  return part;
}

}  // namespace

constinit const Algorithm kAllReduceDirect = {
    .name = "direct",
    .collective = Collective::kAllReduce,
    .summary = "one-shot: 1 step, (P-1) N bytes",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = one_shot_ns,
    .roundings = rounds_once,
};

}  // namespace comity::algorithms
