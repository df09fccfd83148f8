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
#include "algorithms/shots.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("direct", Collective::kReduce, request, 1);
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = shape.nranks - 1, .window = 2});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  return reduce_direct(shape, rank, Folding::kAtOnce);
}

}  // namespace

constinit const Algorithm kReduceDirect = {
    .name = "direct",
    .collective = Collective::kReduce,
    .summary = "1 step, N bytes sent by each rank but the root, one rounding",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = reduce_direct_ns,
    .roundings = rounds_once,
    .for_narrow = true,
};

}  // namespace comity::algorithms
