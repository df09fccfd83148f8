// All-to-all, group: one step in which every rank copies its block straight from every rank's memory.
//
//   P ranks, blocks of N bytes. With a provider: 1 announcement; every rank reads (P - 1) N from peers.
//   Definition: everyone sends everyone its block.
//
//   0: a0 a1 a2      0: a0 b0 c0
//   1: b0 b1 b2  ->  1: a1 b1 c1
//   2: c0 c1 c2      2: a2 b2 c2
//
// After R. Graham, G. Shipman, "MPI support for multi-core architectures: optimized shared memory
// collectives", EuroPVM/MPI 2008.
#include "algorithms/group.h"
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = group_shape(Collective::kAllToAll, request, 1);
  shape.placement = plan::Placement::kOutOfPlaceOnly;
  shape.any_lengths = true;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  const Members members = everyone(shape.nranks, rank);
  const GroupRuns runs{whole_blocks(Space::kInput, shape.nranks), whole_blocks(Space::kOutput, shape.nranks)};
  return part_of_group(rank, all_to_all_group(members, runs), runs);
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  if (figures.ranks == 1) return 0;
  return narrow_ns(figures.latency_ns() + figures.inside_ns(figures.bytes * (figures.ranks - 1)));
}

}  // namespace

constinit const Algorithm kAllToAllGroup = {
    .name = "group",
    .collective = Collective::kAllToAll,
    .summary = "one provider call, (P-1) N bytes loaded by each rank",
    .applies = reaches_all_memory,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .uses_groups = true,
};

}  // namespace comity::algorithms
