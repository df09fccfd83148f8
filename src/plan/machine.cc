#include "src/plan/machine.h"

#include <fmt/core.h>

#include <algorithm>

#include "src/plan/extents.h"
#include "src/plan/print.h"

namespace comity::plan {
namespace {

size_t lane_count(std::span<const Part> parts) {
  size_t lanes = 0;
  for (const Part& part : parts) lanes += part.lanes.size();
  return lanes;
}

}  // namespace

Machine::Machine(const MachineInput& input)
    : shape_(*input.shape),
      parts_(input.parts),
      wiring_(*input.wiring),
      columns_(*input.columns),
      goal_(*input.goal),
      in_place_(input.in_place),
      tiles_(input.tiles),
      values_(static_cast<uint32_t>(input.parts.size())),
      channels_(input.wiring->channels.size()),
      meetings_(input.wiring->meetings.size()),
      clocks_(lane_count(input.parts)) {
  const size_t lanes = lane_count(parts_);
  ranks_.reserve(parts_.size());
  for (uint32_t rank = 0; rank < parts_.size(); ++rank) {
    Rank& state = ranks_.emplace_back(Rank{
        static_cast<uint32_t>(lanes_.size()), Layout(shape_, columns_, parts_[rank], in_place_), {}, {}, {}});
    state.cells.resize(state.layout.cells());
    state.slots.resize(shape_.window);
    if (goal_.synchronizes) state.end.resize(lanes);
    for (uint32_t lane = 0; lane < parts_[rank].lanes.size(); ++lane) {
      lanes_.push_back({rank, lane, 0, 0, false, Clock(lanes)});
      const std::vector<Step>& steps = parts_[rank].lanes[lane].steps;
      for (uint32_t step = 0; step < steps.size(); ++step) {
        if (steps[step].kind != StepKind::kGroup) continue;
        state.turns.push_back({lane, step, wiring_.ranks[rank].lane_begin[lane] + step, 0});
      }
    }
  }
  for (size_t i = 0; i < meetings_.size(); ++i) {
    meetings_[i].arrived.resize(wiring_.meetings[i].group->members.size());
  }
}

void Machine::wake(uint32_t lane) {
  if (lanes_[lane].queued) return;
  lanes_[lane].queued = true;
  ready_lanes_.push_back(lane);
}

void Machine::wake_rank(uint32_t rank) {
  const auto lanes = static_cast<uint32_t>(parts_[rank].lanes.size());
  for (uint32_t lane = 0; lane < lanes; ++lane) wake(ranks_[rank].first_lane + lane);
}

std::optional<Violation> Machine::run() {
  for (uint32_t rank = 0; rank < ranks_.size() && !violation_; ++rank) {
    wake_rank(rank);
    if (wiring_.ranks[rank].steps() > 0) continue;
    open(rank, 0);  // without steps each tile ends as it begins
    close(rank, 0);
  }
  while (!ready_lanes_.empty() && !violation_) {
    LaneState& lane = lanes_[ready_lanes_.front()];
    ready_lanes_.pop_front();
    lane.queued = false;
    advance(lane);
  }
  if (violation_) return violation_;
  for (const LaneState& lane : lanes_) {
    const bool empty = parts_[lane.rank].lanes[lane.lane].steps.empty();
    if (lane.tile < tiles_ && !empty) return stalled();
  }
  return std::nullopt;
}

void Machine::advance(LaneState& lane) {
  const auto steps = static_cast<uint32_t>(parts_[lane.rank].lanes[lane.lane].steps.size());
  if (steps == 0) return;
  while (lane.tile < tiles_ && !violation_) {
    if (!enter_tile(lane)) return;
    const Instance at{lane.rank, lane.lane, lane.step,
                      wiring_.ranks[lane.rank].lane_begin[lane.lane] + lane.step, lane.tile};
    if (!ready(at)) return;
    if (++lane.step == steps) {
      lane.step = 0;
      ++lane.tile;
    }
    issue(at);
  }
}

bool Machine::enter_tile(const LaneState& lane) {
  const Slot& slot = ranks_[lane.rank].slots[slot_of(lane.tile)];
  if (slot.tile == lane.tile) return true;
  if (slot.tile != kNone && slot.left > 0) return false;
  open(lane.rank, lane.tile);
  return true;
}

void Machine::open(uint32_t rank, uint32_t tile) {
  Rank& state = ranks_[rank];
  const uint32_t index = slot_of(tile);
  Slot& slot = state.slots[index];
  const uint32_t steps = wiring_.ranks[rank].steps();
  slot.tile = tile;
  slot.left = steps;
  slot.issued.assign(steps, 0);
  slot.done.assign(steps, 0);
  slot.clock.assign(steps, kNone);
  slot.waiters = wiring_.ranks[rank].waiters;
  slot.readers.clear();
  const uint64_t begin = state.layout.slot_begin(index);
  for (uint64_t i = 0; i < state.layout.per_slot(); ++i) {
    Cell& cell = state.cells[begin + i];
    cell.writer = cell.readers = kNone;
    if (i < state.layout.user_cells()) cell.value = kUndefined;
  }
  for (const Holding& holding : goal_.initially[rank]) {
    const CellRange range = state.layout.range(holding.run, 0, index);
    for (uint32_t i = 0; i < range.count; ++i) {
      state.cells[range.begin + i].value =
          values_.leaf(holding.rank, holding.block, columns_.chunk[range.column + i], tile);
    }
  }
}

void Machine::close(uint32_t rank, uint32_t tile) {
  check_result(rank, tile);
  if (goal_.synchronizes) check_synchronized(rank);
  wake_rank(rank);
}

bool Machine::ready(const Instance& at) {
  const Step& step = step_of(at);
  const Slot& state = slot(at);
  const std::optional<Instance>& in_group = ranks_[at.rank].in_group;
  if (in_group && in_group->lane == at.lane) return false;
  for (const After& after : step.after) {
    if (after.in_place_only && !in_place_) continue;
    if (state.done[wiring_.ranks[at.rank].lane_begin[after.lane] + after.step] == 0) return false;
  }
  const uint32_t channel = wiring_.ranks[at.rank].channel[at.flat];
  switch (step.kind) {
    case StepKind::kSend:
      return !channels_[channel].message;
    case StepKind::kRecv:
      return channels_[channel].posted.size() < kMaxPosted;
    case StepKind::kGroup:
      return has_turn(at);
    default:
      return true;
  }
}

void Machine::issue(const Instance& at) {
  const Step& step = step_of(at);
  slot(at).issued[at.flat] = 1;
  learn(at);
  keep_clock(at);
  switch (step.kind) {
    case StepKind::kSend:
      return issue_send(at, step);
    case StepKind::kRecv:
      return issue_recv(at, step);
    case StepKind::kCopy:
    case StepKind::kReduce:
      return issue_local(at, step);
    case StepKind::kGroup:
      return issue_group(at, step);
  }
}

// The issue happens after the lane's issues before and after what the step waited for.
void Machine::learn(const Instance& at) {
  Slot& state = slot(at);
  LaneState& lane = lane_of(at);
  for (const After& after : step_of(at).after) {
    if (after.in_place_only && !in_place_) continue;
    const uint32_t flat = wiring_.ranks[at.rank].lane_begin[after.lane] + after.step;
    uint32_t& clock = state.clock[flat];
    if (clock != kNone) join(lane.clock, clocks_[clock]);
    if (--state.waiters[flat] == 0 && clock != kNone) {
      clocks_.release(clock);
      clock = kNone;
    }
  }
  ++lane.clock[ranks_[at.rank].first_lane + at.lane];
  if (goal_.synchronizes) join(ranks_[at.rank].end, lane.clock);
}

// Keeps what the dependents will learn. Those of the same lane know its issues already.
void Machine::keep_clock(const Instance& at) {
  const RankWiring& wiring = wiring_.ranks[at.rank];
  const auto dependents = wiring.dependents_of(at.flat);
  if (dependents.empty()) return;
  const StepKind kind = step_of(at).kind;
  const bool other_lane = std::any_of(dependents.begin(), dependents.end(),
                                      [&](const Dependent& dependent) { return dependent.lane != at.lane; });
  if (kind == StepKind::kRecv || kind == StepKind::kGroup || other_lane) {
    slot(at).clock[at.flat] = clocks_.keep(lane_of(at).clock);
  }
}

void Machine::complete(const Instance& at) {
  Slot& state = slot(at);
  state.done[at.flat] = 1;
  if (step_of(at).kind == StepKind::kGroup) ranks_[at.rank].in_group.reset();
  if (--state.left == 0) close(at.rank, at.tile);
  wake_rank(at.rank);
}

void Machine::issue_local(const Instance& at, const Step& step) {
  std::vector<std::vector<ValueId>> sources(step.src.size());
  for (size_t i = 0; i < sources.size(); ++i) read(at, step.src[i], sources[i]);
  claim(at, step.dst[0]);
  std::vector<ValueId> folded(sources[0].size());
  std::vector<ValueId> operands(sources.size());
  for (size_t chunk = 0; chunk < folded.size(); ++chunk) {
    for (size_t i = 0; i < sources.size(); ++i) operands[i] = sources[i][chunk];
    folded[chunk] =
        values_.fold(operands, step.kind == StepKind::kReduce && step.last, {at.rank, at.lane, at.step});
  }
  store(at, step.dst[0], folded);
  complete(at);
}

void Machine::issue_send(const Instance& at, const Step& step) {
  ChannelState& channel = channels_[wiring_.ranks[at.rank].channel[at.flat]];
  Message& message = channel.message.emplace();
  message.send = at;
  read(at, step.src[0], message.values);
  message.clock = clocks_.keep(lane_of(at).clock);
  deliver(channel);
}

void Machine::issue_recv(const Instance& at, const Step& step) {
  claim(at, step.dst[0]);
  ChannelState& channel = channels_[wiring_.ranks[at.rank].channel[at.flat]];
  channel.posted.push_back(at);
  deliver(channel);
}

void Machine::deliver(ChannelState& channel) {
  if (!channel.message || channel.posted.empty() || violation_) return;
  const Message message = *std::move(channel.message);
  const Instance recv = channel.posted.front();
  channel.message.reset();
  channel.posted.pop_front();
  store(recv, step_of(recv).dst[0], message.values);
  const uint32_t clock = slot(recv).clock[recv.flat];
  if (clock != kNone && !shape_.any_lengths) join(clocks_[clock], clocks_[message.clock]);
  if (goal_.synchronizes) join(ranks_[recv.rank].end, clocks_[message.clock]);
  clocks_.release(message.clock);
  complete(recv);
  complete(message.send);
}

void Machine::read(const Instance& at, const ChunkRun& run, std::vector<ValueId>& values) {
  Rank& rank = ranks_[at.rank];
  const CellRange range = rank.layout.range(run, at.lane, slot_of(at.tile));
  Slot& state = slot(at);
  values.resize(range.count);
  for (uint32_t i = 0; i < range.count; ++i) {
    Cell& cell = rank.cells[range.begin + i];
    values[i] = cell.value;
    if (cell.writer != kNone && !surely_before(at, cell.writer)) {
      return fail_race(at, cell.writer, run, "reads what may not be written yet by");
    }
    if (shape_.any_lengths) check_length(at, run, cell.value);
    state.readers.push_back({at.flat, cell.readers});
    cell.readers = static_cast<uint32_t>(state.readers.size() - 1);
  }
}

// What lies there is as long as the step that reads it.
void Machine::check_length(const Instance& at, const ChunkRun& run, ValueId id) {
  const Value& value = values_[id];
  if (value.undefined || value.mixed) return;  // said where it ends
  const Step& step = step_of(at);
  const uint32_t rank = parts_[at.rank].rank;
  const std::optional<uint32_t> extent =
      step.kind == StepKind::kGroup ? extent_of(shape_, rank, run) : extent_of(shape_, rank, step);
  if (!extent || block_of_extent(shape_, rank, *extent) == block_of_input(shape_, value.rank, value.block))
    return;
  fail(at, "extent",
       fmt::format("{} takes {}, {}, for as long as extent {}", describe(step), describe(run),
                   values_.describe(id), *extent));
}

void Machine::claim(const Instance& at, const ChunkRun& run) {
  Rank& rank = ranks_[at.rank];
  const CellRange range = rank.layout.range(run, at.lane, slot_of(at.tile));
  const Slot& state = slot(at);
  for (uint32_t i = 0; i < range.count && !violation_; ++i) {
    Cell& cell = rank.cells[range.begin + i];
    if (cell.writer != kNone && cell.writer != at.flat && !surely_before(at, cell.writer)) {
      return fail_race(at, cell.writer, run, "overwrites what may still be written by");
    }
    for (uint32_t node = cell.readers; node != kNone; node = state.readers[node].next) {
      const uint32_t reader = state.readers[node].step;
      if (reader != at.flat && !surely_before(at, reader)) {
        return fail_race(at, reader, run, "overwrites what may still be read by");
      }
    }
    cell.writer = at.flat;
    cell.readers = kNone;
  }
}

void Machine::store(const Instance& at, const ChunkRun& run, std::span<const ValueId> values) {
  Rank& rank = ranks_[at.rank];
  const CellRange range = rank.layout.range(run, at.lane, slot_of(at.tile));
  for (uint32_t i = 0; i < range.count; ++i) rank.cells[range.begin + i].value = values[i];
}

bool Machine::surely_before(const Instance& at, uint32_t earlier) {
  const Rank& rank = ranks_[at.rank];
  const Clock& clock = lane_of(at).clock;
  const auto& dependents = wiring_.ranks[at.rank].dependents_of(earlier);
  return std::any_of(dependents.begin(), dependents.end(), [&](const Dependent& dependent) {
    const auto steps = static_cast<uint32_t>(parts_[at.rank].lanes[dependent.lane].steps.size());
    return clock[rank.first_lane + dependent.lane] > at.tile * steps + dependent.step;
  });
}

Instance Machine::instance_of(uint32_t rank, uint32_t flat, uint32_t tile) const {
  const auto& begins = wiring_.ranks[rank].lane_begin;
  const auto lane =
      static_cast<uint32_t>(std::upper_bound(begins.begin(), begins.end(), flat) - begins.begin() - 1);
  return {rank, lane, flat - begins[lane], flat, tile};
}

void Machine::fail(const Instance& at, std::string rule, std::string why) {
  if (!violation_) violation_ = Violation{std::move(rule), at.rank, at.lane, at.step, std::move(why)};
}

void Machine::fail_race(const Instance& at, uint32_t earlier, const ChunkRun& run, std::string_view how) {
  const Instance other = instance_of(at.rank, earlier, at.tile);
  fail(at, "race",
       fmt::format("{} {} lane {}'s {} ({}): nothing makes it wait for that", describe(step_of(at)), how,
                   other.lane, describe(step_of(other)), describe(run)));
}

}  // namespace comity::plan
