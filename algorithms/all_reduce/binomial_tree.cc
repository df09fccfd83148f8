// All-reduce, binomial tree: reduce to rank 0, then broadcast the way back.
//
//   P ranks, N bytes. Steps: 2 ceil(log2 P). Bytes sent: N by each rank on the way up, N ceil(log2 P) by rank
//   0 on the way down; 2 (P - 1) N in all.
//
//   P = 8   up      1 -> 0, 3 -> 2, 5 -> 4, 7 -> 6     2 -> 0, 6 -> 4     4 -> 0
//           down    0 -> 4     0 -> 2, 4 -> 6     0 -> 1, 2 -> 3, 4 -> 5, 6 -> 7
//
// The fewest messages in all; every chunk is folded once, in contiguous ranges of ranks. Up and down are
// lanes of their own, so tiles overlap. R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective
// Communication Operations in MPICH", IJHPCA 2005.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/tiling.h"
#include "algorithms/tree.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("binomial_tree", Collective::kAllReduce, request, 1);
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = ceil_log2(shape.nranks), .window = 4});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 2);
  add_tree_all_reduce(part, 0, 1, binomial_node(shape.nranks, 0, rank), 0);
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  Wide time = 0;
  for (uint64_t distance = 1; distance < figures.ranks; distance *= 2) {
    time += 2 * figures.pair_ns(figures.bytes, distance) + figures.reduce_ns(figures.bytes);
  }
  return narrow_ns(time);
}

}  // namespace

constinit const Algorithm kAllReduceBinomialTree = {
    .name = "binomial_tree",
    .collective = Collective::kAllReduce,
    .summary = "2 ceil(log2 P) steps, up to N (1 + ceil(log2 P)) bytes",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = rounds_at_every_doubling,
    .balanced = applies_everywhere,
    .least_lanes = 2,
};

}  // namespace comity::algorithms
