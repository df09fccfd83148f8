// All-to-all, pairwise: in each round everyone sends to one rank and receives from one, each round at another
// distance.
//
//   P ranks, blocks of N bytes. Steps: P - 1. Bytes sent by each rank: (P - 1) N, the least possible.
//
//   P = 4   s=0  r: block r+1 -> r+1      s=1  r: block r+2 -> r+2      s=2  r: block r+3 -> r+3
//
// One message at a time in and out of each rank, so that none waits behind many at one receiver: for long
// blocks on networks that suffer from that, which the cost model does not know. R. Thakur, R. Rabenseifner,
// W. Gropp, "Optimization of Collective Communication Operations in MPICH", IJHPCA 2005.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/members.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("pairwise", Collective::kAllToAll, request, 1);
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = 0, .window = 2});
  shape.placement = plan::Placement::kOutOfPlaceOnly;
  shape.any_lengths = true;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  const Members members = everyone(shape.nranks, rank);
  std::vector<After> ready;
  for (uint32_t distance = 1; distance < shape.nranks; ++distance) {
    const uint32_t to = members.after(distance);
    const uint32_t from = members.before(distance);
    steps.send(to, input(to, 0, 1), ready);
    ready = {steps.done(steps.recv(from, output(from, 0, 1)))};
  }
  steps.copy(input(rank, 0, 1), output(rank, 0, 1));
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  // From the fullest group's size on all distances cost the same.
  const uint64_t others = figures.ranks - 1;
  const uint64_t differing = figures.groups == 1 ? 0 : std::min(figures.local - 1, others);
  Wide time = (others - differing) * figures.exchange_ns(figures.bytes, figures.local);
  for (uint64_t distance = 1; distance <= differing; ++distance)
    time += figures.exchange_ns(figures.bytes, distance);
  return narrow_ns(time);
}

}  // namespace

constinit const Algorithm kAllToAllPairwise = {
    .name = "pairwise",
    .collective = Collective::kAllToAll,
    .summary = "P-1 steps, (P-1) N bytes, one message at a time",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
};

}  // namespace comity::algorithms
