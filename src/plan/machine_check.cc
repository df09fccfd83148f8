// What the machine says at the end of a tile, and when nothing moves.

#include <fmt/core.h>

#include "src/plan/machine.h"
#include "src/plan/print.h"

namespace comity::plan {

void Machine::check_result(uint32_t rank, uint32_t tile) {
  const Rank& state = ranks_[rank];
  for (const Promise& promise : goal_.finally[rank]) {
    const CellRange range = state.layout.range(promise.run, 0, slot_of(tile));
    for (uint32_t i = 0; i < range.count && !violation_; ++i) {
      const Cell& cell = state.cells[range.begin + i];
      if (cell.value != kUndefined && values_[cell.value].tile != tile) {
        fail(cell.writer == kNone ? Instance{rank, 0, 0, 0, tile} : instance_of(rank, cell.writer, tile),
             "result", fmt::format("{} holds a value of another tile", describe(promise.run)));
        return;
      }
      check_value(rank, promise, cell.value, cell, range.column + i);
    }
  }
}

void Machine::check_value(uint32_t rank, const Promise& promise, ValueId id, const Cell& cell,
                          uint32_t column) {
  const Value& value = values_[id];
  const Instance writer =
      cell.writer == kNone ? Instance{rank, 0, 0, 0, 0} : instance_of(rank, cell.writer, 0);
  const Instance maker{value.rank, value.lane, value.step, 0, 0};
  const ChunkRun run{promise.run.space, promise.run.block, columns_.chunk[column], 1};
  const auto say = [&](const Instance& at, const char* rule, const std::string& why) {
    fail(at, rule,
         fmt::format("{} of rank {} ends with {}: {}", describe(run), parts_[rank].rank, values_.describe(id),
                     why));
  };
  if (id == kUndefined)
    return say(writer, "result", cell.writer == kNone ? "no step writes it" : "its source was never written");
  if (value.undefined) return say(maker, "result", "an operand was never written");
  if (value.mixed || value.block != promise.block) {
    return say(writer, "result", fmt::format("it should be of block {} alone", promise.block));
  }
  if (value.duplicate) return say(maker, "result", "a contribution is in it twice");
  if (!promise.folded) {
    if (values_.count(id) == 1 && values_.has(id, promise.rank) && !value.divided) return;
    return say(writer, "result", fmt::format("it should be rank {}'s alone", promise.rank));
  }
  if (!values_.complete(id)) {
    return say(value.wrongly_divided ? maker : writer, value.wrongly_divided ? "last" : "result",
               fmt::format("rank {}'s contribution is missing", values_.first_missing(id)));
  }
  if (value.wrongly_divided)
    return say(maker, "last", "it passed more than one `last` reduction, or one before it was whole");
  if (goal_.division == Division::kOnce && !value.divided)
    return say(maker, "last", "it passed no `last` reduction");
  if (goal_.division == Division::kNever && value.divided)
    return say(maker, "last", "it passed a `last` reduction inside a group that is not");
  if (goal_.balanced && value.expression != values_.balanced_expression(promise.block, run.first))
    return say(maker, "tree", "it is not folded by the balanced tree over ranks");
  const uint64_t key = uint64_t{promise.block} << 32 | column;
  const auto [first, fresh] = agreed_.try_emplace(key, id);
  if (!fresh && values_[first->second].expression != value.expression) {
    say(maker, "result", "another rank folds it in another order, so that bits may differ");
  }
}

void Machine::check_synchronized(uint32_t rank) {
  for (uint32_t other = 0; other < ranks_.size() && !violation_; ++other) {
    bool known = other == rank;
    for (size_t lane = 0; lane < parts_[other].lanes.size(); ++lane) {
      known = known || ranks_[rank].end[ranks_[other].first_lane + lane] > 0;
    }
    if (known) continue;
    const uint32_t steps = wiring_.ranks[rank].steps();
    fail(steps == 0 ? Instance{rank, 0, 0, 0, 0} : instance_of(rank, steps - 1, 0), "result",
         fmt::format("rank {} may end before rank {} has begun", parts_[rank].rank, parts_[other].rank));
  }
}

Violation Machine::stalled() {
  for (const LaneState& lane : lanes_) {
    if (lane.tile >= tiles_ || parts_[lane.rank].lanes[lane.lane].steps.empty()) continue;
    Instance at;
    std::string why = why_stalled(lane, at);
    return {"deadlock", at.rank, at.lane, at.step, std::move(why)};
  }
  return {"deadlock", 0, 0, 0, "nothing moves"};
}

std::string Machine::why_stalled(const LaneState& lane, Instance& at) {
  at = {lane.rank, lane.lane, lane.step, wiring_.ranks[lane.rank].lane_begin[lane.lane] + lane.step,
        lane.tile};
  const Step& step = step_of(at);
  const std::string what = fmt::format("in tile {}, {} of rank {} waits for ever", lane.tile, describe(step),
                                       parts_[lane.rank].rank);
  const Slot& state = slot(at);
  if (state.tile != lane.tile)
    return fmt::format("{} for tile {} to be complete on all lanes", what, state.tile);
  for (const After& after : step.after) {
    const uint32_t flat = wiring_.ranks[at.rank].lane_begin[after.lane] + after.step;
    if ((after.in_place_only && !in_place_) || state.done[flat] != 0) continue;
    const Instance other = instance_of(at.rank, flat, at.tile);
    return fmt::format(
        "{} for lane {}'s {}, which {}", what, after.lane, describe(step_of(other)),
        state.issued[flat] != 0 ? "waits for its peer" : "is never issued" + whose_turn(other));
  }
  if (ranks_[at.rank].in_group &&
      (ranks_[at.rank].in_group->lane == at.lane || step.kind == StepKind::kGroup)) {
    return fmt::format("{} for {}", what, why_group_stalls(*ranks_[at.rank].in_group));
  }
  switch (step.kind) {
    case StepKind::kGroup:
      return fmt::format("{} for its turn{}", what, whose_turn(at));
    case StepKind::kRecv:
      return fmt::format("{}: {} receives from rank {} in its lane wait already, the most there may be", what,
                         kMaxPosted, step.peer);
    default:
      return fmt::format("{} until rank {} has received the message before it", what, step.peer);
  }
}

std::string Machine::why_group_stalls(const Instance& call) const {
  const MeetingState& meeting = meetings_[wiring_.ranks[call.rank].channel[call.flat]];
  const Group& group = parts_[call.rank].groups[step_of(call).group];
  std::string absent;
  for (size_t member = 0; member < group.members.size(); ++member) {
    if (meeting.arrived[member] > meeting.finished) continue;
    absent += fmt::format("{}{}", absent.empty() ? "" : ", ", group.members[member]);
  }
  return fmt::format("the call of lane {}'s {} in tile {}, to which rank {} never comes", call.lane,
                     describe(step_of(call)), call.tile, absent);
}

// ": the plan starts ... before it" for a group step that does not come next, else nothing.
std::string Machine::whose_turn(const Instance& at) const {
  const Turn* next = next_turn(at.rank);
  if (step_of(at).kind != StepKind::kGroup || next == nullptr) return {};
  if (next->flat == at.flat && next->tile == at.tile) return {};
  const Instance other = instance_of(at.rank, next->flat, static_cast<uint32_t>(next->tile));
  return fmt::format(": the plan starts lane {}'s {} of tile {} before it", other.lane,
                     describe(step_of(other)), other.tile);
}

}  // namespace comity::plan
