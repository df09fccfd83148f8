// Reduce, direct: everyone sends its tile to the root, which folds all in rank order, with one rounding.
//
//   P ranks, N bytes. Steps: 1. Bytes sent by each rank but the root: N; received by the root: (P - 1) N.
//
//   0 (root): a              0: a + b + c
//   1:        b ---> 0
//   2:        c ---> 0
//
// For short blocks of few ranks. The flat tree of J. Pjesivac-Grbovic, T. Angskun, G. Bosilca, G. Fagg, E.
// Gabriel, J. Dongarra, "Performance analysis of MPI collective operations", Cluster Computing 2007.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/members.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("direct", Collective::kReduce, request, 1);
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = shape.nranks - 1, .window = 2});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  if (rank == shape.root) {
    add_fold_at_once(steps, everyone(shape.nranks, rank), input(0, 0, 1), output(0, 0, 1), true, {});
  } else {
    steps.send(shape.root, input(0, 0, 1));
  }
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  return narrow_ns(figures.gather_ns(figures.bytes) + figures.reduce_ns(figures.bytes * (figures.ranks - 1)));
}

}  // namespace

constinit const Algorithm kReduceDirect = {
    .name = "direct",
    .collective = Collective::kReduce,
    .summary = "1 step, N bytes sent by each rank but the root, one rounding",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = rounds_once,
    .for_narrow = true,
};

}  // namespace comity::algorithms
