// All-gather, group: one step in which every rank copies every other's block straight from its memory.
//
//   P ranks, blocks of N bytes. With a provider: 1 announcement; every rank reads (P - 1) N.
//   Definition: everyone sends to everyone.
//
//   0: a      0: a b c
//   1: b  ->  1: a b c
//   2: c      2: a b c
//
// After R. Graham, G. Shipman, "MPI support for multi-core architectures: optimized shared memory
// collectives", EuroPVM/MPI 2008.
#include "algorithms/group.h"
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = group_shape(Collective::kAllGather, request, 1);
  shape.any_lengths = true;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const Members members = everyone(shape.nranks, rank);
  GroupRuns runs{{input(0, 0, 1)}, {}};
  for (uint32_t block = 0; block < shape.nranks; ++block) runs.dst.push_back(output(block, 0, 1));
  return part_of_group(rank, all_gather_group(members, runs), runs);
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  if (figures.ranks == 1) return 0;
  return narrow_ns(figures.latency_ns() + figures.inside_ns(figures.bytes * (figures.ranks - 1)));
}

}  // namespace

constinit const Algorithm kAllGatherGroup = {
    .name = "group",
    .collective = Collective::kAllGather,
    .summary = "one provider call, (P-1) N bytes loaded by each rank",
    .applies = reaches_all_memory,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .uses_groups = true,
};

}  // namespace comity::algorithms
