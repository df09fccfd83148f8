// Broadcast, group: one step in which every rank copies straight from the root's memory.
//
//   P ranks, N bytes. With a provider: 1 announcement; every rank reads N. Definition: the root sends to
//   everyone.
//
//   0 (root): a ----> 1: a
//             `----> 2: a
//
// After R. Graham, G. Shipman, "MPI support for multi-core architectures: optimized shared memory
// collectives", EuroPVM/MPI 2008.
#include "algorithms/group.h"
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  return group_shape(Collective::kBroadcast, request, 1);
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const Members members = everyone(shape.nranks, rank);
  const GroupRuns runs{rank == shape.root ? std::vector{input(0, 0, 1)} : std::vector<ChunkRun>{},
                       {output(0, 0, 1)}};
  return part_of_group(rank, broadcast_group(members, shape.root, runs), runs);
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  if (figures.ranks == 1) return 0;
  return narrow_ns(figures.latency_ns() + figures.inside_ns(figures.bytes));
}

}  // namespace

constinit const Algorithm kBroadcastGroup = {
    .name = "group",
    .collective = Collective::kBroadcast,
    .summary = "one provider call, N bytes loaded by each rank",
    .applies = reaches_all_memory,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .uses_groups = true,
};

}  // namespace comity::algorithms
