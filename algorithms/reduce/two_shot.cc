// Reduce, two-shot: direct reduce-scatter of P chunks to their owners, which send them to the root.
//
//   P ranks, N bytes. Steps: 2. Bytes sent by each rank but the root: N; received by the root: 2 (P - 1) /
//   P N. One rounding.
//
//   0 (root): a0 a1 a2      a1 -> 1, a2 -> 2      s0 = a0 + b0 + c0
//   1:        b0 b1 b2      b2 -> 2, b0 -> 0      s1 = a1 + b1 + c1      s1 -> 0
//   2:        c0 c1 c2      c0 -> 0, c1 -> 1      s2 = a2 + b2 + c2      s2 -> 0
//
// For long blocks. Sums lie in scratch, since only the root has an output. The reduce-scatter and gather of
// R. Rabenseifner, "Optimization of collective reduction operations", ICCS 2004, both direct.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/members.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("two_shot", Collective::kReduce, request, request.topology->nranks());
  shape.scratch_slots = shape.nranks > 1 ? 1 : 0;
  set_tiles(shape, request.block_bytes, {.messages = shape.nranks, .footprint = 2, .window = 2});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  std::vector<ChunkRun> in;
  for (uint32_t chunk = 0; chunk < shape.nranks; ++chunk) in.push_back(input(0, chunk, 1));
  const bool root = rank == shape.root;
  const ChunkRun sum = root ? output(0, rank, 1) : scratch(0, rank, 1);
  const ReduceScatterSteps scattered =
      add_reduce_scatter(steps, everyone(shape.nranks, rank), in, sum, true, Folding::kAtOnce);
  if (!root) {
    steps.send(shape.root, sum, {steps.done(scattered.reduced)});
    return part;
  }
  for (uint32_t distance = 1; distance < shape.nranks; ++distance) {
    const uint32_t owner = (rank + distance) % shape.nranks;
    steps.recv(owner, output(0, owner, 1), {steps.done_in_place(scattered.sends[owner])});
  }
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  const Wide chunk = figures.bytes / figures.ranks;
  return narrow_ns(figures.all_pairs_ns(chunk) + figures.reduce_ns(chunk * (figures.ranks - 1)) +
                   figures.gather_ns(chunk));
}

}  // namespace

constinit const Algorithm kReduceTwoShot = {
    .name = "two_shot",
    .collective = Collective::kReduce,
    .summary = "2 steps, N bytes sent by each rank but the root, one rounding",
    .applies = applies_with_chunk_per_rank,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = rounds_once,
    .for_narrow = true,
};

}  // namespace comity::algorithms
