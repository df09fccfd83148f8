// Broadcast, pipelined chain: tiles pass from rank to rank, all links busy at once.
//
//   P ranks, N bytes in K tiles. Steps: P - 2 + K. Bytes sent by each rank but the last: N, the least
//   possible.
//
//   P = 4, tiles a b c     0 --c--> 1 --b--> 2 --a--> 3
//
// For long blocks. The order is that of ranks from the root on. J. Watts, R. van de Geijn, "A pipelined
// broadcast for multidimensional meshes", PPL 1995.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/steps.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  const Figures figures(request);
  Shape shape = make_shape("chain", Collective::kBroadcast, request, 1);
  shape.tile_bytes = pipelined_tile_bytes(figures, figures.ranks);
  shape.window = 8;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const uint32_t ranks = shape.nranks;
  const uint32_t distance = (rank + ranks - shape.root) % ranks;
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  ChunkRun block = input(0, 0, 1);
  std::vector<After> ready;
  if (distance > 0) {
    block = output(0, 0, 1);
    ready = {steps.done(steps.recv((rank + ranks - 1) % ranks, block))};
  }
  std::vector<uint32_t> sends;
  if (distance + 1 < ranks) sends = {steps.send((rank + 1) % ranks, block, ready)};
  if (distance == 0) steps.copy_own(block, output(0, 0, 1), sends);
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  if (figures.ranks == 1) return 0;
  const uint64_t tiles = pipelined_tiles(figures, pipelined_tile_bytes(figures, figures.ranks));
  return narrow_ns((figures.ranks - 2 + tiles) * figures.hop_ns(figures.bytes / tiles));
}

}  // namespace

constinit const Algorithm kBroadcastChain = {
    .name = "chain",
    .collective = Collective::kBroadcast,
    .summary = "P-2+K steps for K tiles, N bytes",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
};

}  // namespace comity::algorithms
