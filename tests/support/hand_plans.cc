#include "tests/support/hand_plans.h"

namespace comity::test {

using plan::After;
using plan::ChunkRun;
using plan::Group;
using plan::Part;
using plan::Plan;
using plan::Space;
using plan::Step;
using plan::StepKind;

ChunkRun in(uint32_t block, uint32_t first, uint32_t count) {
  return {Space::kInput, block, first, count};
}
ChunkRun out(uint32_t block, uint32_t first, uint32_t count) {
  return {Space::kOutput, block, first, count};
}
ChunkRun slot(uint32_t index, uint32_t first, uint32_t count) {
  return {Space::kScratch, index, first, count};
}
ChunkRun landed(uint32_t step, uint32_t first, uint32_t count) {
  return {Space::kReceived, step, first, count};
}
After on(uint32_t step, uint32_t lane) {
  return {lane, step, false};
}
After in_place(uint32_t step, uint32_t lane) {
  return {lane, step, true};
}

namespace {

Step make(StepKind kind, std::vector<ChunkRun> from, std::vector<ChunkRun> into, std::vector<After> after) {
  Step step;
  step.kind = kind;
  step.src = std::move(from);
  step.dst = std::move(into);
  step.after = std::move(after);
  return step;
}

}  // namespace

Step send(uint32_t peer, ChunkRun from, std::vector<After> after) {
  Step step = make(StepKind::kSend, {from}, {}, std::move(after));
  step.peer = peer;
  return step;
}
Step recv(uint32_t peer, ChunkRun into, std::vector<After> after) {
  Step step = make(StepKind::kRecv, {}, {into}, std::move(after));
  step.peer = peer;
  return step;
}
Step copy(ChunkRun from, ChunkRun into, std::vector<After> after) {
  return make(StepKind::kCopy, {from}, {into}, std::move(after));
}
Step reduce(std::vector<ChunkRun> from, ChunkRun into, std::vector<After> after, bool last) {
  Step step = make(StepKind::kReduce, std::move(from), {into}, std::move(after));
  step.last = last;
  return step;
}
Step group(uint32_t index, std::vector<ChunkRun> from, std::vector<ChunkRun> into, std::vector<After> after) {
  Step step = make(StepKind::kGroup, std::move(from), std::move(into), std::move(after));
  step.group = step.order = index;
  return step;
}

Plan one_lane(Collective collective, std::vector<std::vector<Step>> steps_of_rank) {
  Plan plan;
  plan.shape.algorithm = "by hand";
  plan.shape.collective = collective;
  plan.shape.nranks = static_cast<uint32_t>(steps_of_rank.size());
  for (uint32_t rank = 0; rank < steps_of_rank.size(); ++rank) {
    Part& part = plan.parts.emplace_back();
    part.rank = rank;
    part.lanes.push_back({std::move(steps_of_rank[rank])});
  }
  return plan;
}

Plan one_shot_pair() {
  const auto steps = [](uint32_t rank) -> std::vector<Step> {
    std::vector<ChunkRun> operands = {in(), landed(1)};
    if (rank == 1) std::swap(operands[0], operands[1]);
    return {send(1 - rank, in()), recv(1 - rank, landed(1)),
            reduce(operands, out(), {on(1), in_place(0)}, true)};
  };
  return one_lane(Collective::kAllReduce, {steps(0), steps(1)});
}

// Chunk c starts on rank c + 1, is whole on rank c after two hops, and goes round once more.
Plan ring_of_three() {
  Plan plan = one_lane(Collective::kAllReduce, {{}, {}, {}});
  plan.shape.weights = {1, 1, 1};
  plan.shape.scratch_slots = 1;
  plan.shape.window = 2;
  for (uint32_t rank = 0; rank < 3; ++rank) {
    const uint32_t next = (rank + 1) % 3, previous = (rank + 2) % 3;
    plan.parts[rank].lanes.resize(3);
    for (uint32_t chunk = 0; chunk < 3; ++chunk) {
      auto& steps = plan.parts[rank].lanes[chunk].steps;
      const ChunkRun own = in(0, chunk), result = out(0, chunk), partial = slot(0, chunk);
      if (rank == (chunk + 1) % 3) {  // begins
        steps = {send(next, own), recv(previous, result, {in_place(0, chunk)}),
                 send(next, result, {on(1, chunk)})};
      } else if (rank == (chunk + 2) % 3) {  // in the middle, later the end
        steps = {recv(previous, landed(0, chunk)), reduce({landed(0, chunk), own}, partial, {on(0, chunk)}),
                 send(next, partial, {on(1, chunk)}), recv(previous, result, {in_place(1, chunk)})};
      } else {  // completes
        steps = {recv(previous, landed(0, chunk)),
                 reduce({landed(0, chunk), own}, result, {on(0, chunk)}, true),
                 send(next, result, {on(1, chunk)})};
      }
    }
  }
  return plan;
}

Plan chain_broadcast() {
  Plan plan = one_lane(Collective::kBroadcast, {{send(1, in()), copy(in(), out(), {in_place(0)})},
                                                {recv(0, out()), send(2, out(), {on(0)})},
                                                {recv(1, out())}});
  plan.shape.window = 2;
  return plan;
}

Plan dissemination_barrier() {
  const auto steps = [](uint32_t rank) -> std::vector<Step> {
    return {send((rank + 1) % 3, slot(0)), recv((rank + 2) % 3, landed(1)),
            send((rank + 2) % 3, slot(0), {on(1)}), recv((rank + 1) % 3, landed(3))};
  };
  Plan plan = one_lane(Collective::kBarrier, {steps(0), steps(1), steps(2)});
  plan.shape.scratch_slots = 1;
  return plan;
}

Plan all_gather_pair() {
  const auto steps = [](uint32_t rank) -> std::vector<Step> {
    return {send(1 - rank, in()), recv(1 - rank, out(1 - rank)), copy(in(), out(rank), {in_place(0)})};
  };
  return one_lane(Collective::kAllGather, {steps(0), steps(1)});
}

Plan reduce_scatter_pair() {
  const auto steps = [](uint32_t rank) -> std::vector<Step> {
    std::vector<ChunkRun> operands = {in(rank), landed(1)};
    if (rank == 1) std::swap(operands[0], operands[1]);
    return {send(1 - rank, in(1 - rank)), recv(1 - rank, landed(1)), reduce(operands, out(), {on(1)}, true)};
  };
  return one_lane(Collective::kReduceScatter, {steps(0), steps(1)});
}

Plan reduce_to_root() {
  return one_lane(Collective::kReduce, {{recv(1, landed(0)), recv(2, landed(1)),
                                         reduce({in(), landed(0), landed(1)}, out(), {on(0), on(1)}, true)},
                                        {send(0, in())},
                                        {send(0, in())}});
}

Plan groups_of_four() {
  Plan plan = one_lane(Collective::kAllReduce, {{}, {}, {}, {}});
  plan.shape.scratch_slots = 2;
  for (uint32_t rank = 0; rank < 4; ++rank) {
    Part& part = plan.parts[rank];
    const bool leads = rank % 2 == 0;
    const uint32_t partner = rank ^ 1, lead = rank & ~1u;
    Group up{Collective::kReduce, {lead, lead + 1}, 0, false, {}};
    Group down{Collective::kBroadcast, {lead, lead + 1}, 0, false, {}};
    up.definition =
        leads ? std::vector<Step>{recv(partner, landed(0)), reduce({in(), landed(0)}, slot(0), {on(0)})}
              : std::vector<Step>{send(partner, in())};
    down.definition = leads ? std::vector<Step>{send(partner, slot(1)), copy(slot(1), out())}
                            : std::vector<Step>{recv(partner, out())};
    if (leads) {
      const uint32_t other = rank ^ 2;
      std::vector<ChunkRun> operands = {slot(0), landed(1)};
      if (rank == 2) std::swap(operands[0], operands[1]);
      Group across{Collective::kAllReduce, {0, 2}, 0, true, {}};
      across.definition = {send(other, slot(0)), recv(other, landed(1)),
                           reduce(operands, slot(1), {on(1)}, true)};
      part.groups = {up, across, down};
      part.lanes[0].steps = {group(0, {in()}, {slot(0)}), group(1, {slot(0)}, {slot(1)}, {on(0)}),
                             group(2, {slot(1)}, {out()}, {on(1)})};
    } else {
      part.groups = {up, down};
      part.lanes[0].steps = {group(0, {in()}, {}), group(1, {}, {out()}, {in_place(0)})};
      part.lanes[0].steps[1].order = 2;  // as on the leader
    }
  }
  return plan;
}

std::vector<Plan> hand_plans() {
  return {one_shot_pair(),   ring_of_three(),       chain_broadcast(), dissemination_barrier(),
          all_gather_pair(), reduce_scatter_pair(), reduce_to_root(),  groups_of_four()};
}

}  // namespace comity::test
