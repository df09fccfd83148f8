// All-gather, Bruck: blocks known double each round, for any number of ranks.
//
//   P ranks, blocks of N bytes. Steps: ceil(log2 P), of at most P / 2 messages to one peer each. Bytes sent
//   by each rank: (P - 1) N, the least possible.
//
//   P = 5, seen from rank r, which starts with block r; block r + i is known after
//     round 0: r+1 from r+1      round 1: r+2 from r+2      round 2: r+3, r+4 from r+3
//
// Blocks are received where they belong, so there is no rotation at the end. Few peers and few rounds, for
// short blocks. The rounds are those of reduce-scatter's `halving` backwards. J. Bruck, C.-T. Ho, S. Kipnis,
// E. Upfal, D. Weathersby, "Efficient algorithms for all-to-all communications in multiport message-passing
// systems", TPDS 1997.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/skips.h"
#include "algorithms/steps.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("bruck", Collective::kAllGather, request, 1);
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = 0, .window = 2});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const uint32_t ranks = shape.nranks;
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  std::vector<uint32_t> arrived(ranks);  // by distance: the recv of block rank + distance
  std::vector<uint32_t> own_sends;
  const std::vector<uint32_t> skips = halving_skips(ranks);
  for (size_t round = skips.size() - 1; round-- > 0;) {
    const uint32_t skip = skips[round + 1];
    const uint32_t blocks = skips[round] - skip;
    for (uint32_t i = 0; i < blocks; ++i) {
      const uint32_t peer = (rank + ranks - skip) % ranks;
      if (i == 0) {
        own_sends.push_back(steps.send(peer, input(0, 0, 1)));
      } else {
        steps.send(peer, output((rank + i) % ranks, 0, 1), {steps.done(arrived[i])});
      }
      arrived[skip + i] = steps.recv((rank + skip) % ranks, output((rank + skip + i) % ranks, 0, 1));
    }
  }
  steps.copy_own(input(0, 0, 1), output(rank, 0, 1), own_sends);
  return part;
}

uint64_t cost_ns(const Request& request) {
  return narrow_ns(skip_rounds_ns(Figures(request), 0));
}

}  // namespace

constinit const Algorithm kAllGatherBruck = {
    .name = "bruck",
    .collective = Collective::kAllGather,
    .summary = "ceil(log2 P) rounds to one peer each, (P-1) N bytes",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
};

}  // namespace comity::algorithms
