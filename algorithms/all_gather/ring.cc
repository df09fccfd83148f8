// All-gather, ring: each block travels once around.
//
//   P ranks, blocks of N bytes. Steps: P - 1. Bytes sent by each rank: (P - 1) N, the least possible.
//
//   P = 3   s=0  0:a->1  1:b->2  2:c->0      s=1  0:c->1  1:a->2  2:b->0
//
// One neighbour each way, whatever P. R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective
// Communication Operations in MPICH", IJHPCA 2005.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/steps.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("ring", Collective::kAllGather, request, 1);
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = 0, .window = 2});
  shape.any_lengths = true;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const uint32_t ranks = shape.nranks;
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  std::vector<After> ready;
  for (uint32_t s = 0; s + 1 < ranks; ++s) {
    const uint32_t outgoing = (rank + ranks - s) % ranks;
    const uint32_t incoming = (outgoing + ranks - 1) % ranks;
    const uint32_t sent =
        steps.send((rank + 1) % ranks, s == 0 ? input(0, 0, 1) : output(outgoing, 0, 1), ready);
    ready = {steps.done(steps.recv((rank + ranks - 1) % ranks, output(incoming, 0, 1)))};
    if (s == 0) steps.copy_own(input(0, 0, 1), output(rank, 0, 1), {sent});
  }
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  return narrow_ns((figures.ranks - 1) * figures.exchange_ns(figures.bytes, 1));
}

}  // namespace

constinit const Algorithm kAllGatherRing = {
    .name = "ring",
    .collective = Collective::kAllGather,
    .summary = "P-1 steps, (P-1) N bytes",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
};

}  // namespace comity::algorithms
