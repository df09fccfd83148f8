// Gather, group: one step in which every rank's block is copied straight into the root's memory.
//
//   P ranks, blocks of N bytes. With a provider: 1 announcement; (P - 1) N copied, by the root or by the
//   others. Definition: everyone sends to the root.
//
//   0 (root): a      0: a b c
//   1:        b  ->  1:
//   2:        c      2:
//
// After R. Graham, G. Shipman, "MPI support for multi-core architectures: optimized shared memory
// collectives", EuroPVM/MPI 2008.
#include "algorithms/group.h"
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = group_shape(Collective::kGather, request, 1);
  shape.any_lengths = true;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  const Members members = everyone(shape.nranks, rank);
  GroupRuns runs{{input(0, 0, 1)}, {}};
  if (rank == shape.root) runs.dst = whole_blocks(Space::kOutput, shape.nranks);
  return part_of_group(rank, gather_group(members, shape.root, runs), runs);
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  if (figures.ranks == 1) return 0;
  return narrow_ns(figures.latency_ns() + figures.inside_ns(figures.bytes * (figures.ranks - 1)));
}

}  // namespace

constinit const Algorithm kGatherGroup = {
    .name = "group",
    .collective = Collective::kGather,
    .summary = "one provider call, (P-1) N bytes into the root's memory",
    .applies = reaches_all_memory,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .uses_groups = true,
};

}  // namespace comity::algorithms
