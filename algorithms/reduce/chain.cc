// Reduce, pipelined chain: tiles pass towards the root and gather a contribution at each rank, all links busy
// at once.
//
//   P ranks, N bytes in K tiles. Steps: P - 2 + K. Bytes sent by each rank but the root: N, the least
//   possible.
//
//   P = 4, tiles a b c     0 <--a-- 1 <--b-- 2 <--c-- 3
//
// For long blocks. The order is that of ranks from the root on. The broadcast's mirror: J. Watts, R. van de
// Geijn, "A pipelined broadcast for multidimensional meshes", PPL 1995.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/steps.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  const Figures figures(request);
  Shape shape = make_shape("chain", Collective::kReduce, request, 1);
  shape.scratch_slots = shape.nranks > 2 ? 1 : 0;
  shape.tile_bytes = pipelined_tile_bytes(figures, figures.ranks);
  shape.window = 8;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const uint32_t ranks = shape.nranks;
  const uint32_t distance = (rank + ranks - shape.root) % ranks;
  const uint32_t towards_root = (rank + ranks - 1) % ranks;
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  if (distance + 1 == ranks) {
    steps.send(towards_root, input(0, 0, 1));
    return part;
  }
  // Only the root has an output.
  const ChunkRun sum = distance == 0 ? output(0, 0, 1) : scratch(0, 0, 1);
  const uint32_t reduced = steps.fold({.peer = (rank + 1) % ranks,
                                       .own = input(0, 0, 1),
                                       .into = sum,
                                       .last = distance == 0,
                                       .received_partial = distance + 2 < ranks});
  if (distance > 0) steps.send(towards_root, sum, {steps.done(reduced)});
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  if (figures.ranks == 1) return 0;
  const uint64_t tiles = pipelined_tiles(figures, pipelined_tile_bytes(figures, figures.ranks));
  const Wide length = figures.bytes / tiles;
  return narrow_ns((figures.ranks - 2 + tiles) * (figures.hop_ns(length) + figures.reduce_ns(length)));
}

}  // namespace

constinit const Algorithm kReduceChain = {
    .name = "chain",
    .collective = Collective::kReduce,
    .summary = "P-2+K steps for K tiles, N bytes",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = rounds_at_every_rank,
};

}  // namespace comity::algorithms
