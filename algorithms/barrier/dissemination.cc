// Barrier, dissemination: in round k a rank signals the one 2^k after it and waits for the one 2^k before it.
//
//   P ranks. Steps: ceil(log2 P). Bytes sent by each rank: 8 ceil(log2 P).
//
//   P = 5   k=0  0->1->2->3->4->0    k=1  0->2->4->1->3->0    k=2  0->4->3->2->1->0
//           after round k a rank has heard, directly or not, of the 2^(k+1) - 1 before it
//
// D. Hensgen, R. Finkel, U. Manber, "Two algorithms for barrier synchronization", IJPP 1988.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/members.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("dissemination", Collective::kBarrier, request, 1);
  shape.scratch_slots = 1;
  shape.tile_bytes = kMinTileBytes;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  add_dissemination(steps, everyone(shape.nranks, rank), scratch(0, 0, 1));
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  Wide time = 0;
  for (uint64_t distance = 1; distance < figures.ranks; distance *= 2) {
    time += figures.exchange_ns(plan::kBarrierBytes, distance);
  }
  return narrow_ns(time);
}

}  // namespace

constinit const Algorithm kBarrierDissemination = {
    .name = "dissemination",
    .collective = Collective::kBarrier,
    .summary = "ceil(log2 P) steps, 8 ceil(log2 P) bytes",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
};

}  // namespace comity::algorithms
