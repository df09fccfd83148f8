// Reduce-scatter, group: one step in which every rank folds its block straight from every rank's memory.
//
//   P ranks, blocks of N bytes. With a provider: 1 announcement; every rank reads (P - 1) N from peers.
//   Definition: everyone sends everyone its block; each folds on arrival.
//
//   0: a0 a1 a2      0: a0 + b0 + c0
//   1: b0 b1 b2  ->  1: a1 + b1 + c1
//   2: c0 c1 c2      2: a2 + b2 + c2
//
// After R. Graham, G. Shipman, "MPI support for multi-core architectures: optimized shared memory
// collectives", EuroPVM/MPI 2008.
#include "algorithms/group.h"
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = group_shape(Collective::kReduceScatter, request, 1);
  shape.any_lengths = true;
  return shape;
}

Part part(const Request& request, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const Members members = everyone(shape.nranks, rank);
  GroupRuns runs{{}, {output(0, 0, 1)}};
  for (uint32_t block = 0; block < shape.nranks; ++block) runs.src.push_back(input(block, 0, 1));
  return part_of_group(rank, reduce_scatter_group(members, runs, true, folding_of(request), rank), runs);
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  if (figures.ranks == 1) return 0;
  return narrow_ns(figures.latency_ns() + figures.inside_ns(figures.bytes * (figures.ranks - 1)));
}

}  // namespace

constinit const Algorithm kReduceScatterGroup = {
    .name = "group",
    .collective = Collective::kReduceScatter,
    .summary = "one provider call, (P-1) N bytes loaded by each rank",
    .applies = reaches_all_memory,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = rounds_once,
    .uses_groups = true,
};

}  // namespace comity::algorithms
