// Scatter, binomial tree: in each round every rank that has blocks gives half of them to one that has none.
//
//   P ranks, blocks of N bytes. Steps: ceil(log2 P), of at most P / 2 messages to one peer each. Bytes sent
//   by the root: (P - 1) N, the least possible; in all: about N / 2 P log2 P.
//
//   P = 8, distances from the root     4..7 -> 4     2,3 -> 2, 6,7 -> 6     1 -> 1, 3 -> 3, 5 -> 5, 7 -> 7
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
  return binomial_blocks_shape(Collective::kScatter, request);
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  const uint32_t ranks = shape.nranks;
  const BinomialBlocks blocks(ranks, shape.root, rank);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  std::vector<std::vector<After>> arrived(blocks.count);
  // Farthest first: whoever has most to hand on gets it first.
  for (uint32_t i = blocks.count; !blocks.is_root && i-- > 0;) {
    const ChunkRun into = i == 0 ? output(0, 0, 1) : scratch(i - 1, 0, 1);
    arrived[i] = {steps.done(steps.recv(blocks.parent, into))};
  }
  for (uint32_t i = blocks.count; i-- > 1;) {
    const ChunkRun from = blocks.is_root ? input(blocks.owner(i), 0, 1) : scratch(i - 1, 0, 1);
    steps.send(blocks.child_with(i), from, arrived[i]);
  }
  if (blocks.is_root) steps.copy_own(input(rank, 0, 1), output(0, 0, 1), {});
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  return narrow_ns(figures.relays_ns(figures.bytes));
}

}  // namespace

constinit const Algorithm kScatterBinomial = {
    .name = "binomial",
    .collective = Collective::kScatter,
    .summary = "ceil(log2 P) rounds, (P-1) N bytes from the root",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
};

}  // namespace comity::algorithms
