// Reduce, binomial tree: in each round half of the ranks that still hold contributions hand them on.
//
//   P ranks, N bytes. Steps: ceil(log2 P). Bytes sent by each rank but the root: N; received by the root: N
//   ceil(log2 P).
//
//   P = 8, distances from the root     1 -> 0, 3 -> 2, 5 -> 4, 7 -> 6     2 -> 0, 6 -> 4     4 -> 0
//
// For short blocks. R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication
// Operations in MPICH", IJHPCA 2005.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/steps.h"
#include "algorithms/tiling.h"
#include "algorithms/tree.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("binomial", Collective::kReduce, request, 1);
  shape.scratch_slots = shape.nranks > 2 ? 1 : 0;
  set_tiles(shape, request.block_bytes,
            {.messages = 1, .footprint = ceil_log2(shape.nranks) + 1u, .window = 2});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const TreeNode node = binomial_node(shape.nranks, shape.root, rank);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  // Only the root has an output.
  const ChunkRun sum = node.has_parent ? scratch(0, 0, 1) : output(0, 0, 1);
  const Gathered gathered = add_gather_from_children(steps, node, sum);
  if (node.has_parent) steps.send(node.parent, gathered.sum, gathered.ready);
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  Wide time = 0;
  for (uint64_t distance = 1; distance < figures.ranks; distance *= 2) {
    time += figures.pair_ns(figures.bytes, distance) + figures.reduce_ns(figures.bytes);
  }
  return narrow_ns(time);
}

}  // namespace

constinit const Algorithm kReduceBinomial = {
    .name = "binomial",
    .collective = Collective::kReduce,
    .summary = "ceil(log2 P) steps, N bytes sent by each rank but the root",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = rounds_at_every_doubling,
};

}  // namespace comity::algorithms
