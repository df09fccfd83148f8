#include "src/plan/fold_depth.h"

#include <fmt/core.h>

#include <algorithm>
#include <deque>
#include <map>
#include <tuple>
#include <vector>

#include "src/plan/checks.h"
#include "src/plan/layout.h"
#include "src/plan/print.h"

namespace comity::plan {
namespace {

// One tile, out of place: depths of what each chunk holds, as the steps are carried out in some order.
class Follower {
 public:
  Follower(const Plan& plan, bool groups_whole) : shape_(plan.shape) {
    for (const Part& part : plan.parts) parts_.push_back(groups_whole ? part : expand(part));
    columns_ = columns_of(shape_, parts_);
    shape_.window = 1;
    for (const Part& part : parts_) {
      layouts_.emplace_back(shape_, columns_, part, false);
      depths_.emplace_back(layouts_.back().cells(), 0);
      done_.emplace_back();
      for (const Lane& lane : part.lanes) done_.back().emplace_back(lane.steps.size(), false);
      next_.emplace_back(part.lanes.size(), 0);
    }
  }

  FoldDepths run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (uint32_t rank = 0; rank < parts_.size(); ++rank) {
        for (uint32_t lane = 0; lane < parts_[rank].lanes.size(); ++lane) moved |= advance(rank, lane);
      }
    }
    for (uint32_t rank = 0; rank < parts_.size(); ++rank) finish(rank);
    return found_;
  }

 private:
  using Key = std::tuple<uint32_t, uint32_t, uint32_t>;  // lane, sender, receiver
  struct Channel {
    std::deque<std::vector<uint32_t>> messages;  // sent, not received
    std::deque<uint32_t> posted;                 // steps that receive
  };

  void fail(const char* rule, uint32_t rank, uint32_t lane, uint32_t step, const std::string& why) {
    if (!found_.marks.ok) return;
    found_.marks = {false, {rule, rank, lane, step, fmt::format("rank {}: {}", rank, why)}};
  }

  std::vector<uint32_t> read(uint32_t rank, uint32_t lane, const ChunkRun& run) const {
    const CellRange range = layouts_[rank].range(run, lane, 0);
    const auto begin = depths_[rank].begin() + static_cast<ptrdiff_t>(range.begin);
    return {begin, begin + range.count};
  }
  void write(uint32_t rank, uint32_t lane, const ChunkRun& run, const std::vector<uint32_t>& depths) {
    const CellRange range = layouts_[rank].range(run, lane, 0);
    std::copy(depths.begin(), depths.end(), depths_[rank].begin() + static_cast<ptrdiff_t>(range.begin));
  }

  bool advance(uint32_t rank, uint32_t lane) {
    bool moved = false;
    const std::vector<Step>& steps = parts_[rank].lanes[lane].steps;
    for (uint32_t& next = next_[rank][lane]; next < steps.size(); ++next) {
      const Step& step = steps[next];
      const auto& done = done_[rank];
      const bool ready = std::all_of(step.after.begin(), step.after.end(),
                                     [&](const After& after) { return done[after.lane][after.step]; });
      if (!ready || !carry_out(rank, lane, next, step)) break;
      moved = true;
    }
    return moved;
  }

  // Issues a step; a receive is done once its message is there, all else at once.
  bool carry_out(uint32_t rank, uint32_t lane, uint32_t index, const Step& step) {
    const bool edge = step.kind == StepKind::kSend || step.kind == StepKind::kRecv;
    const bool sends = step.kind == StepKind::kSend;
    if (edge) {
      Channel& channel = channels_[{lane, sends ? rank : step.peer, sends ? step.peer : rank}];
      if (sends) {
        channel.messages.push_back(read(rank, lane, step.src[0]));
        done_[rank][lane][index] = true;
      } else {
        channel.posted.push_back(index);
      }
      deliver(sends ? step.peer : rank, lane, channel);
      return true;
    }
    if (!carry_out_alone(rank, lane, index, step)) return false;
    done_[rank][lane][index] = true;
    return true;
  }

  void deliver(uint32_t receiver, uint32_t lane, Channel& channel) {
    while (!channel.messages.empty() && !channel.posted.empty()) {
      const uint32_t index = channel.posted.front();
      write(receiver, lane, step_of(receiver, lane, index).dst[0], channel.messages.front());
      done_[receiver][lane][index] = true;
      channel.messages.pop_front();
      channel.posted.pop_front();
    }
  }

  bool carry_out_alone(uint32_t rank, uint32_t lane, uint32_t index, const Step& step) {
    switch (step.kind) {
      case StepKind::kCopy:
        write(rank, lane, step.dst[0], read(rank, lane, step.src[0]));
        return true;
      case StepKind::kReduce:
        reduce(rank, lane, index, step);
        return true;
      case StepKind::kGroup:
        return meet(rank, lane, index, step);
      default:
        return false;
    }
  }

  void check(uint32_t rank, uint32_t lane, uint32_t index, const std::vector<uint32_t>& depths,
             bool partial) {
    const bool right =
        std::all_of(depths.begin(), depths.end(), [&](uint32_t depth) { return (depth > 0) == partial; });
    if (right) return;
    const std::string what = describe(parts_[rank].lanes[lane].steps[index]);
    fail("partial", rank, lane, index,
         fmt::format("lane {}, step {}, {}: a source is {}", lane, index, what,
                     partial ? "marked as a partial result and is one rank's contribution"
                             : "a partial result and is not marked so"));
  }

  static void fold(std::vector<uint32_t>& into, const std::vector<uint32_t>& depths) {
    into.resize(depths.size(), 0);
    for (size_t i = 0; i < depths.size(); ++i) into[i] = std::max(into[i], depths[i] + 1);
  }

  void reduce(uint32_t rank, uint32_t lane, uint32_t index, const Step& step) {
    std::vector<uint32_t> folded;
    for (const ChunkRun& source : step.src) {
      const std::vector<uint32_t> depths = read(rank, lane, source);
      check(rank, lane, index, depths, source.partial);
      fold(folded, depths);
    }
    write(rank, lane, step.dst[0], folded);
  }

  // Once all members have come to it, the last carries it out for all.
  bool meet(uint32_t rank, uint32_t lane, uint32_t index, const Step& step);
  void carry_out_group(const Group& group, uint32_t lane, const std::vector<uint32_t>& at);
  std::vector<uint32_t> group_result(const Group& group, uint32_t lane, const std::vector<uint32_t>& at,
                                     uint32_t member, uint32_t destination);

  const Step& step_of(uint32_t rank, uint32_t lane, uint32_t index) const {
    return parts_[rank].lanes[lane].steps[index];
  }

  void finish(uint32_t rank) {
    for (uint32_t lane = 0; lane < parts_[rank].lanes.size(); ++lane) {
      const auto& done = done_[rank][lane];
      const auto stalled = std::find(done.begin(), done.end(), false);
      if (stalled != done.end())
        fail("deadlock", rank, lane, static_cast<uint32_t>(stalled - done.begin()), "a step is never done");
    }
    const auto chunks = static_cast<uint32_t>(shape_.weights.size());
    for (uint32_t block = 0; block < rank_output_blocks(shape_, rank); ++block) {
      for (const uint32_t depth : read(rank, 0, {Space::kOutput, block, 0, chunks}))
        found_.deepest = std::max(found_.deepest, depth);
    }
  }

  struct Meeting {
    std::vector<uint32_t> at;  // by member: its step's index, or UINT32_MAX
    bool over = false;         // carried out; members pass as they come again
    uint32_t left = 0;
  };

  Shape shape_;
  std::vector<Part> parts_;
  Columns columns_;
  std::deque<Layout> layouts_;
  std::vector<std::vector<uint32_t>> depths_;  // by rank and cell
  std::vector<std::vector<std::vector<bool>>> done_;
  std::vector<std::vector<uint32_t>> next_;
  std::map<Key, Channel> channels_;
  std::map<std::pair<uint32_t, std::vector<uint32_t>>, Meeting> meetings_;  // by lane and members
  FoldDepths found_;
};

bool Follower::meet(uint32_t rank, uint32_t lane, uint32_t index, const Step& step) {
  const Group& group = parts_[rank].groups[step.group];
  Meeting& meeting = meetings_[{lane, group.members}];
  const auto member = static_cast<size_t>(std::find(group.members.begin(), group.members.end(), rank) -
                                          group.members.begin());
  if (!meeting.over) {
    meeting.at.resize(group.members.size(), UINT32_MAX);
    meeting.at[member] = index;
    if (std::find(meeting.at.begin(), meeting.at.end(), UINT32_MAX) != meeting.at.end()) return false;
    carry_out_group(group, lane, meeting.at);
    meeting.over = true;
    meeting.left = static_cast<uint32_t>(group.members.size());
  }
  if (meeting.at[member] != index) return false;
  if (--meeting.left == 0) meeting = Meeting{};
  return true;
}

void Follower::carry_out_group(const Group& group, uint32_t lane, const std::vector<uint32_t>& at) {
  std::vector<std::vector<std::vector<uint32_t>>> results(group.members.size());
  for (uint32_t member = 0; member < group.members.size(); ++member) {
    const uint32_t rank = group.members[member];
    const Step& step = step_of(rank, lane, at[member]);
    for (const ChunkRun& source : step.src) {
      const Group& own = parts_[rank].groups[step.group];
      if (is_reduction(group.collective))
        check(rank, lane, at[member], read(rank, lane, source), own.partial);
    }
    for (uint32_t i = 0; i < step.dst.size(); ++i)
      results[member].push_back(group_result(group, lane, at, member, i));
  }
  for (uint32_t member = 0; member < group.members.size(); ++member) {
    const Step& step = step_of(group.members[member], lane, at[member]);
    for (uint32_t i = 0; i < step.dst.size(); ++i)
      write(group.members[member], lane, step.dst[i], results[member][i]);
  }
}

std::vector<uint32_t> Follower::group_result(const Group& group, uint32_t lane,
                                             const std::vector<uint32_t>& at, uint32_t member,
                                             uint32_t destination) {
  const auto source_of = [&](uint32_t from, uint32_t source) {
    return read(group.members[from], lane, step_of(group.members[from], lane, at[from]).src[source]);
  };
  if (gives_from_root(group.collective)) {
    return source_of(group.root, has_input_blocks(group.collective) ? member : 0);
  }
  if (has_output_blocks(group.collective)) {
    return source_of(destination, has_input_blocks(group.collective) ? member : 0);
  }
  std::vector<uint32_t> folded;
  for (uint32_t from = 0; from < group.members.size(); ++from)
    fold(folded, source_of(from, has_input_blocks(group.collective) ? member : 0));
  return folded;
}

}  // namespace

FoldDepths fold_depths(const Plan& plan, bool groups_whole) {
  return Follower(plan, groups_whole).run();
}

}  // namespace comity::plan
