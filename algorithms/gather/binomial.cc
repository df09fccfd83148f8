// Gather, binomial tree: in each round half of the ranks that still hold blocks hand all of them on.
//
//   P ranks, blocks of N bytes. Steps: ceil(log2 P), of at most P / 2 messages to one peer each. Bytes
//   received by the root: (P - 1) N, the least possible; in all: about N / 2 P log2 P.
//
//   P = 8, distances from the root     1 -> 0, 3 -> 2, 5 -> 4, 7 -> 6     2,3 -> 0, 6,7 -> 4     4..7 -> 0
//
// Few peers for the root. A message is a block's, as in all plans, so it saves peers and not messages. R.
// Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication Operations in MPICH", IJHPCA
// 2005.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/steps.h"
#include "algorithms/tree.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  return binomial_blocks_shape(Collective::kGather, request);
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  const uint32_t ranks = shape.nranks;
  const BinomialBlocks blocks(ranks, shape.root, rank);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  std::vector<std::vector<After>> arrived(blocks.count);
  for (uint32_t i = 1; i < blocks.count; ++i) {
    const ChunkRun into = blocks.is_root ? output(blocks.owner(i), 0, 1) : scratch(i - 1, 0, 1);
    arrived[i] = {steps.done(steps.recv(blocks.child_with(i), into))};
  }
  if (blocks.is_root) {
    steps.copy_own(input(0, 0, 1), output(rank, 0, 1), {});
    return part;
  }
  for (uint32_t i = 0; i < blocks.count; ++i)
    steps.send(blocks.parent, i == 0 ? input(0, 0, 1) : scratch(i - 1, 0, 1), arrived[i]);
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  return narrow_ns(figures.relays_ns(figures.bytes));
}

}  // namespace

constinit const Algorithm kGatherBinomial = {
    .name = "binomial",
    .collective = Collective::kGather,
    .summary = "ceil(log2 P) rounds, (P-1) N bytes to the root",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
};

}  // namespace comity::algorithms
