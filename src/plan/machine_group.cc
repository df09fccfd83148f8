// Groups carried out whole: a call happens when all members have come to it.

#include <algorithm>
#include <utility>

#include "src/plan/machine.h"

namespace comity::plan {

// The group step whose call is to start next on this rank; null after the last.
const Machine::Turn* Machine::next_turn(uint32_t rank) const {
  const Turn* next = nullptr;
  std::pair<uint64_t, uint32_t> earliest;
  for (const Turn& turn : ranks_[rank].turns) {
    if (turn.tile == tiles_) continue;
    const Step& step = parts_[rank].lanes[turn.lane].steps[turn.step];
    const std::pair<uint64_t, uint32_t> when{turn.tile + step.lag, step.order};
    if (next != nullptr && when > earliest) continue;
    next = &turn;
    earliest = when;
  }
  return next;
}

bool Machine::has_turn(const Instance& at) const {
  if (ranks_[at.rank].in_group) return false;
  const Turn* next = next_turn(at.rank);
  return next != nullptr && next->flat == at.flat && next->tile == at.tile;
}

void Machine::issue_group(const Instance& at, const Step& step) {
  Rank& rank = ranks_[at.rank];
  rank.in_group = at;
  for (Turn& turn : rank.turns) turn.tile += turn.flat == at.flat ? 1 : 0;
  const uint32_t index = wiring_.ranks[at.rank].channel[at.flat];
  MeetingState& meeting = meetings_[index];
  const Group& group = *wiring_.meetings[index].group;
  const Group& own = parts_[at.rank].groups[step.group];
  const auto member = static_cast<size_t>(
      std::find(group.members.begin(), group.members.end(), parts_[at.rank].rank) - group.members.begin());
  const uint64_t call = meeting.arrived[member]++ - meeting.finished;
  while (meeting.calls.size() <= call) {
    meeting.calls.emplace_back(group.members.size());
    meeting.missing.push_back(static_cast<uint32_t>(group.members.size()));
  }
  Arrival& arrival = meeting.calls[call][member];
  arrival.at = at;
  arrival.sources.resize(step.src.size());
  for (size_t i = 0; i < step.src.size(); ++i) read(at, step.src[i], arrival.sources[i]);
  // The definition may leave anything in what it uses besides the results.
  for (const Step& inner : own.definition) {
    for (const ChunkRun& run : inner.dst) {
      if (run.space != Space::kReceived) claim(at, run);
    }
  }
  for (const ChunkRun& run : step.dst) claim(at, run);
  arrival.clock = clocks_.keep(lane_of(at).clock);
  if (--meeting.missing[call] == 0 && call == 0 && !violation_) finish_call(meeting, group);
}

void Machine::finish_call(MeetingState& meeting, const Group& group) {
  const Call call = std::move(meeting.calls.front());
  meeting.calls.pop_front();
  meeting.missing.erase(meeting.missing.begin());
  ++meeting.finished;
  for (uint32_t member = 0; member < call.size(); ++member) give_group_results(call, member, group);
  for (const Arrival& arrival : call) clocks_.release(arrival.clock);
  for (const Arrival& arrival : call) complete(arrival.at);
}

void Machine::give_group_results(const Call& call, uint32_t member, const Group& group) {
  const Instance& at = call[member].at;
  const Step& step = step_of(at);
  const uint32_t own_clock = slot(at).clock[at.flat];
  for (uint32_t other = 0; other < call.size(); ++other) {
    // A member learns of those whose data it gets, no more: how a provider synchronizes is its own affair.
    const bool learns = gives_from_root(group.collective) ? other == group.root
                        : takes_to_root(group.collective) ? member == group.root
                                                          : true;
    if (!learns || other == member) continue;
    if (own_clock != kNone && !shape_.any_lengths) join(clocks_[own_clock], clocks_[call[other].clock]);
    if (goal_.synchronizes) join(ranks_[at.rank].end, clocks_[call[other].clock]);
  }
  for (const Step& inner : parts_[at.rank].groups[step.group].definition) {
    for (const ChunkRun& run : inner.dst) {
      if (run.space == Space::kReceived) continue;
      store(at, run,
            std::vector<ValueId>(columns_.of[run.first + run.count] - columns_.of[run.first], kUndefined));
    }
  }
  std::vector<ValueId> results;
  for (uint32_t i = 0; i < step.dst.size(); ++i) {
    const ChunkRun& run = step.dst[i];
    results.clear();
    const bool folded = is_reduction(group.collective);
    const uint32_t source = has_input_blocks(group.collective) ? member : 0;
    const uint32_t from = gives_from_root(group.collective) ? group.root : i;
    const uint32_t columns = columns_.of[run.first + run.count] - columns_.of[run.first];
    for (uint32_t column = 0; column < columns; ++column) {
      results.push_back(group_value(call, group, source, column, folded, from));
    }
    store(at, run, results);
  }
}

ValueId Machine::group_value(const Call& call, const Group& group, uint32_t source, uint32_t chunk,
                             bool folded, uint32_t from) {
  if (!folded) return call[from].sources[source][chunk];
  std::vector<ValueId> operands;
  for (const Arrival& arrival : call) operands.push_back(arrival.sources[source][chunk]);
  const Instance& at = call[0].at;
  return values_.fold(operands, group.last, {at.rank, at.lane, at.step});
}

}  // namespace comity::plan
