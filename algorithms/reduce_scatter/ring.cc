// Reduce-scatter, ring: each block travels once around, gathers every rank's contribution, and ends with its
// owner.
//
//   P ranks, blocks of N bytes. Steps: P - 1. Bytes sent by each rank: (P - 1) N, the least possible.
//
//   P = 3   s=0  0: block 2 -> 1   1: 0 -> 2   2: 1 -> 0      s=1  0: 1 -> 1   1: 2 -> 2   2: 0 -> 0
//
// Partial sums alternate between two scratch slots: one is filled while the other is sent. R. Thakur, R.
// Rabenseifner, W. Gropp, "Optimization of Collective Communication Operations in MPICH", IJHPCA 2005.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/steps.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("ring", Collective::kReduceScatter, request, 1);
  shape.scratch_slots = shape.nranks < 3 ? 0 : shape.nranks == 3 ? 1 : 2;
  // Landings live as long as their tile, unless they are reduced on arrival.
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = shape.nranks + 1, .window = 2});
  shape.any_lengths = true;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const uint32_t ranks = shape.nranks;
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  std::vector<uint32_t> sends;
  std::vector<After> ready;
  for (uint32_t s = 0; s + 1 < ranks; ++s) {
    const uint32_t outgoing = (rank + ranks - 1 - s) % ranks;
    const uint32_t incoming = (outgoing + ranks - 1) % ranks;
    const bool ends = s + 2 == ranks;
    steps.set_extent(outgoing);
    sends.push_back(
        steps.send((rank + 1) % ranks, s == 0 ? input(outgoing, 0, 1) : scratch((s - 1) % 2, 0, 1), ready));
    // The slot that this step fills was sent in the previous one.
    std::vector<After> cleared;
    if (s >= 2 && !ends) cleared = {steps.done(sends[s - 1])};
    steps.set_extent(incoming);
    const uint32_t reduced = steps.fold({.peer = (rank + ranks - 1) % ranks,
                                         .own = input(incoming, 0, 1),
                                         .into = ends ? output(0, 0, 1) : scratch(s % 2, 0, 1),
                                         .order = Order::kReceivedFirst,
                                         .last = ends,
                                         .after = cleared,
                                         .received_partial = s > 0});
    ready = {steps.done(reduced)};
  }
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  return narrow_ns((figures.ranks - 1) *
                   (figures.exchange_ns(figures.bytes, 1) + figures.reduce_ns(figures.bytes)));
}

}  // namespace

constinit const Algorithm kReduceScatterRing = {
    .name = "ring",
    .collective = Collective::kReduceScatter,
    .summary = "P-1 steps, (P-1) N bytes",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = rounds_at_every_rank,
};

}  // namespace comity::algorithms
