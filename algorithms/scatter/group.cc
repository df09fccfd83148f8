// Scatter, group: one step in which every rank copies its block straight from the root's memory.
//
//   P ranks, blocks of N bytes. With a provider: 1 announcement; every rank but the root reads N.
//   Definition: the root sends everyone its block.
//
//   0 (root): a b c      0: a
//   1:               ->  1: b
//   2:                   2: c
//
// After R. Graham, G. Shipman, "MPI support for multi-core architectures: optimized shared memory
// collectives", EuroPVM/MPI 2008.
#include "algorithms/group.h"
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = group_shape(Collective::kScatter, request, 1);
  shape.any_lengths = true;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  const Members members = everyone(shape.nranks, rank);
  GroupRuns runs{{}, {output(0, 0, 1)}};
  if (rank == shape.root) runs.src = whole_blocks(Space::kInput, shape.nranks);
  return part_of_group(rank, scatter_group(members, shape.root, runs), runs);
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  if (figures.ranks == 1) return 0;
  return narrow_ns(figures.latency_ns() + figures.inside_ns(figures.bytes));
}

}  // namespace

constinit const Algorithm kScatterGroup = {
    .name = "group",
    .collective = Collective::kScatter,
    .summary = "one provider call, N bytes loaded by each rank but the root",
    .applies = reaches_all_memory,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .uses_groups = true,
};

}  // namespace comity::algorithms
