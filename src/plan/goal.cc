#include "src/plan/goal.h"

#include "src/plan/checks.h"

namespace comity::plan {
namespace {

void promise(Collective collective, uint32_t root, uint32_t member, std::span<const ChunkRun> destinations,
             Goal& goal) {
  for (uint32_t i = 0; i < destinations.size(); ++i) {
    Promise& promise = goal.finally[member].emplace_back();
    promise.run = destinations[i];
    promise.folded = is_reduction(collective);
    if (has_input_blocks(collective)) promise.block = member;
    if (gives_from_root(collective)) promise.rank = root;
    if (has_output_blocks(collective)) promise.rank = i;
  }
}

Goal empty_goal(Collective collective, size_t ranks) {
  Goal goal;
  goal.initially.resize(ranks);
  goal.finally.resize(ranks);
  goal.synchronizes = collective == Collective::kBarrier;
  return goal;
}

}  // namespace

Goal goal_of(const Shape& shape) {
  Goal goal = empty_goal(shape.collective, shape.nranks);
  const auto chunks = static_cast<uint32_t>(shape.weights.size());
  std::vector<ChunkRun> outputs;
  for (uint32_t rank = 0; rank < shape.nranks; ++rank) {
    for (uint32_t block = 0; block < rank_input_blocks(shape, rank); ++block) {
      goal.initially[rank].push_back({{Space::kInput, block, 0, chunks}, rank, block});
    }
    outputs.clear();
    for (uint32_t block = 0; block < rank_output_blocks(shape, rank); ++block) {
      outputs.push_back({Space::kOutput, block, 0, chunks});
    }
    promise(shape.collective, shape.root, rank, outputs, goal);
  }
  // One rank's sum divided by one is itself.
  goal.division = shape.nranks > 1 ? Division::kOnce : Division::kAny;
  return goal;
}

Goal goal_of(const Group& group, std::span<const Step* const> steps) {
  Goal goal = empty_goal(group.collective, steps.size());
  goal.division = group.last ? Division::kOnce : Division::kNever;
  for (uint32_t member = 0; member < steps.size(); ++member) {
    for (uint32_t block = 0; block < steps[member]->src.size(); ++block) {
      goal.initially[member].push_back({steps[member]->src[block], member, block});
    }
    promise(group.collective, group.root, member, steps[member]->dst, goal);
  }
  return goal;
}

}  // namespace comity::plan
