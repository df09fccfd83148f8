// All-reduce, group: one step that a provider with reach into every rank's memory carries out whole.
//
//   P ranks, N bytes. With a provider: 1 announcement for short blocks, 2 for long ones; each rank reads (P -
//   1) / P N from peers' memory and writes as much. Bytes through messages: none.
//
//   0: a0 a1 a2 |        | rank r folds column r straight from all inputs
//   1: b0 b1 b2 | group  | and writes it straight into all outputs
//   2: c0 c1 c2 |        |
//
// The definition, where no provider reaches all: one-shot for short blocks, two-shot over P chunks for
// others. Method: the two-shot all-reduce over a symmetric heap, 2 P N bytes moved in all, the least possible
// on one host; after R. Graham, G. Shipman, "MPI support for multi-core architectures: optimized shared
// memory collectives", EuroPVM/MPI 2008.
#include "algorithms/group.h"
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  constexpr uint64_t kTwoShotFromBytes = 16 << 10;
  const bool two_shot =
      request.block_bytes >= kTwoShotFromBytes && applies_with_chunk_per_rank(*request.topology);
  return group_shape(Collective::kAllReduce, request, two_shot ? request.topology->nranks() : 1);
}

Part part(const Request& request, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const Members members = everyone(shape.nranks, rank);
  const auto chunks = static_cast<uint32_t>(shape.weights.size());
  const GroupRuns runs{{input(0, 0, chunks)}, {output(0, 0, chunks)}};
  return part_of_group(rank, all_reduce_group(members, runs, true, folding_of(request)), runs);
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  if (figures.ranks == 1) return 0;
  const Wide others = figures.bytes * (figures.ranks - 1);
  const Wide one_shot = figures.latency_ns() + figures.inside_ns(others);
  const Wide two_shot = 2 * figures.latency_ns() + figures.inside_ns(2 * others / figures.ranks);
  return narrow_ns(one_shot < two_shot ? one_shot : two_shot);
}

}  // namespace

constinit const Algorithm kAllReduceGroup = {
    .name = "group",
    .collective = Collective::kAllReduce,
    .summary = "one provider call, 2 (P-1)/P N bytes loaded and stored",
    .applies = reaches_all_memory,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = rounds_once,
    .uses_groups = true,
};

}  // namespace comity::algorithms
