// Reduce, group: one step in which every rank folds its slice of all ranks' memory straight into the root's.
//
//   P ranks, N bytes. With a provider: 1 announcement; each rank reads N, 1 / P of every input, and writes N
//   / P. Definition: everyone sends to the root, which folds on arrival.
//
//   0 (root): a0 a1 a2 |  rank r folds column r   | 0: a + b + c
//   1:        b0 b1 b2 |  and writes it straight  |
//   2:        c0 c1 c2 |  into the root's output  |
//
// After R. Graham, G. Shipman, "MPI support for multi-core architectures: optimized shared memory
// collectives", EuroPVM/MPI 2008.
#include "algorithms/group.h"
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  return group_shape(Collective::kReduce, request, 1);
}

Part part(const Request& request, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const Members members = everyone(shape.nranks, rank);
  const GroupRuns runs{{input(0, 0, 1)},
                       rank == shape.root ? std::vector{output(0, 0, 1)} : std::vector<ChunkRun>{}};
  return part_of_group(rank, reduce_group(members, shape.root, runs, true, folding_of(request)), runs);
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  if (figures.ranks == 1) return 0;
  return narrow_ns(figures.latency_ns() + figures.inside_ns(figures.bytes));
}

}  // namespace

constinit const Algorithm kReduceGroup = {
    .name = "group",
    .collective = Collective::kReduce,
    .summary = "one provider call, N bytes loaded by each rank",
    .applies = reaches_all_memory,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = rounds_once,
    .uses_groups = true,
};

}  // namespace comity::algorithms
