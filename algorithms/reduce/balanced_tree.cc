// Reduce, balanced tree: a binomial tree whose top is rank 0, whoever the root is, and rank 0 hands the sum
// on.
//
//   P ranks, N bytes. Steps: ceil(log2 P), and 1 more unless rank 0 is the root. Bytes sent by each rank: N
//   at most; received by rank 0: N ceil(log2 P).
//
//   P = 6      1 -> 0, 3 -> 2, 5 -> 4      2 -> 0      4 -> 0      0 -> root      ((0 1) (2 3)) (4 5)
//
// For short blocks of many ranks where the same bits are asked for: a binomial tree from rank 0 on is the
// balanced tree of plan/balanced.h. R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective
// Communication Operations in MPICH", IJHPCA 2005.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/steps.h"
#include "algorithms/tiling.h"
#include "algorithms/tree.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("balanced_tree", Collective::kReduce, request, 1);
  shape.scratch_slots = shape.nranks > 1 ? 1 : 0;
  set_tiles(shape, request.block_bytes,
            {.messages = 1, .footprint = ceil_log2(shape.nranks) + 1u, .window = 2});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const TreeNode node = binomial_node(shape.nranks, 0, rank);
  const bool root = rank == shape.root;
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  // Only the root has an output, and it comes from rank 0 unless that is the root.
  const ChunkRun sum = root && rank == 0 ? output(0, 0, 1) : scratch(0, 0, 1);
  const Gathered gathered = add_gather_from_children(steps, node, sum);
  if (rank == 0) {
    if (!root) steps.send(shape.root, gathered.sum, gathered.ready);
    return part;
  }
  const uint32_t sent = steps.send(node.parent, gathered.sum, gathered.ready);
  if (root) steps.recv(0, output(0, 0, 1), {steps.done_in_place(sent)});
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  if (figures.ranks == 1) return 0;
  Wide time = figures.exchange_ns(figures.bytes, figures.ranks - 1);
  for (uint64_t distance = 1; distance < figures.ranks; distance *= 2) {
    time += figures.pair_ns(figures.bytes, distance) + figures.reduce_ns(figures.bytes);
  }
  return narrow_ns(time);
}

}  // namespace

constinit const Algorithm kReduceBalancedTree = {
    .name = "balanced_tree",
    .collective = Collective::kReduce,
    .summary = "ceil(log2 P) + 1 steps, N bytes sent by each rank, by the balanced tree over ranks",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = rounds_at_every_doubling,
    .balanced = applies_everywhere,
    .for_balanced = true,
};

}  // namespace comity::algorithms
