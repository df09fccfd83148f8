// Barrier, group: one step in which every rank raises its flag in shared memory and waits for all.
//
//   P ranks. With a provider: 1 announcement. Definition: dissemination, ceil(log2 P) rounds of 8 bytes.
//
//   0: flag = n   1: flag = n   2: flag = n     then each reads all
//
// J. Mellor-Crummey, M. Scott, "Algorithms for scalable synchronization on shared-memory multiprocessors",
// TOCS 1991.
#include "algorithms/group.h"
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  return group_shape(Collective::kBarrier, request, 1);
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const Members members = everyone(shape.nranks, rank);
  return part_of_group(rank, barrier_group(members), {});
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  return figures.ranks == 1 ? 0 : narrow_ns(figures.latency_ns());
}

}  // namespace

constinit const Algorithm kBarrierGroup = {
    .name = "group",
    .collective = Collective::kBarrier,
    .summary = "one provider call",
    .applies = reaches_all_memory,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .uses_groups = true,
};

}  // namespace comity::algorithms
