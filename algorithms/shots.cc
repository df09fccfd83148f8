#include "algorithms/shots.h"

#include "algorithms/cost.h"

namespace comity::algorithms {
namespace {

std::vector<ChunkRun> chunk_per_rank(Space space, uint32_t ranks) {
  std::vector<ChunkRun> runs;
  for (uint32_t chunk = 0; chunk < ranks; ++chunk) runs.push_back({space, 0, chunk, 1});
  return runs;
}

}  // namespace

Part all_reduce_two_shot(const Shape& shape, uint32_t rank, Folding folding) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  add_two_shot(steps, everyone(shape.nranks, rank), chunk_per_rank(Space::kInput, shape.nranks),
               chunk_per_rank(Space::kOutput, shape.nranks), true, folding);
  return part;
}

uint64_t all_reduce_two_shot_ns(const Request& request) {
  const Figures figures(request);
  const Wide chunk = figures.bytes / figures.ranks;
  return narrow_ns(2 * figures.all_pairs_ns(chunk) + figures.reduce_ns(chunk * (figures.ranks - 1)));
}

Part reduce_two_shot(const Shape& shape, uint32_t rank, Folding folding) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  const bool root = rank == shape.root;
  const ChunkRun sum = root ? output(0, rank, 1) : scratch(shape.scratch_slots - 1, rank, 1);
  const ReduceScatterSteps scattered = add_reduce_scatter(
      steps, everyone(shape.nranks, rank), chunk_per_rank(Space::kInput, shape.nranks), sum, true, folding);
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

uint64_t reduce_two_shot_ns(const Request& request) {
  const Figures figures(request);
  const Wide chunk = figures.bytes / figures.ranks;
  return narrow_ns(figures.all_pairs_ns(chunk) + figures.reduce_ns(chunk * (figures.ranks - 1)) +
                   figures.gather_ns(chunk));
}

Part reduce_direct(const Shape& shape, uint32_t rank, Folding folding) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  const Members members = everyone(shape.nranks, rank);
  if (rank != shape.root) {
    steps.send(shape.root, input(0, 0, 1));
  } else if (folding == Folding::kBalanced) {
    add_balanced_fold(steps, members, input(0, 0, 1), output(0, 0, 1), true, {});
  } else {
    add_fold_at_once(steps, members, input(0, 0, 1), output(0, 0, 1), true, {});
  }
  return part;
}

uint64_t reduce_direct_ns(const Request& request) {
  const Figures figures(request);
  return narrow_ns(figures.gather_ns(figures.bytes) + figures.reduce_ns(figures.bytes * (figures.ranks - 1)));
}

uint64_t one_shot_ns(const Request& request) {
  const Figures figures(request);
  return narrow_ns(figures.all_pairs_ns(figures.bytes) +
                   figures.reduce_ns(figures.bytes * (figures.ranks - 1)));
}

}  // namespace comity::algorithms
