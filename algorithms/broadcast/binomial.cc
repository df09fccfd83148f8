// Broadcast, binomial tree: in each round every rank that has the block gives it to one that has not.
//
//   P ranks, N bytes. Steps: ceil(log2 P). Bytes sent by the root: N ceil(log2 P); in all: (P - 1) N.
//
//   P = 8, distances from the root     0 -> 4     0 -> 2, 4 -> 6     0 -> 1, 2 -> 3, 4 -> 5, 6 -> 7
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
  Shape shape = make_shape("binomial", Collective::kBroadcast, request, 1);
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = 0, .window = 2});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const TreeNode node = binomial_node(shape.nranks, shape.root, rank);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  ChunkRun block = input(0, 0, 1);
  std::vector<After> ready;
  if (node.has_parent) {
    block = output(0, 0, 1);
    ready = {steps.done(steps.recv(node.parent, block))};
  }
  std::vector<uint32_t> sends;
  // The child with the most descendants first.
  for (auto child = node.children.rbegin(); child != node.children.rend(); ++child) {
    sends.push_back(steps.send(*child, block, ready));
  }
  if (!node.has_parent) steps.copy_own(block, output(0, 0, 1), sends);
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  Wide time = 0;
  for (uint64_t distance = 1; distance < figures.ranks; distance *= 2) {
    time += figures.pair_ns(figures.bytes, distance);
  }
  return narrow_ns(time);
}

}  // namespace

constinit const Algorithm kBroadcastBinomial = {
    .name = "binomial",
    .collective = Collective::kBroadcast,
    .summary = "ceil(log2 P) steps, root sends N ceil(log2 P) bytes",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
};

}  // namespace comity::algorithms
