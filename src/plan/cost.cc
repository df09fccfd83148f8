#include "src/plan/cost.h"

#include <fmt/core.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <queue>

#include "src/plan/verify.h"
#include "src/plan/wiring.h"

namespace comity::plan {
namespace {

__extension__ using Wide = unsigned __int128;

uint64_t narrow(Wide value) {
  return value > UINT64_MAX / 2 ? UINT64_MAX / 2 : static_cast<uint64_t>(value);
}

uint64_t duration_ns(Wide bytes, uint64_t bytes_per_s) {
  if (bytes_per_s == 0) return 0;
  return narrow((bytes * 1'000'000'000 + bytes_per_s - 1) / bytes_per_s);
}

class Simulation {
 public:
  Simulation(const Shape& shape, std::vector<Part> parts, const CostInput& input, uint64_t block_bytes,
             uint64_t tiles)
      : shape_(shape),
        parts_(std::move(parts)),
        input_(input),
        wiring_(wire(shape_, parts_, input.in_place)),
        block_bytes_(block_bytes),
        tiles_(tiles),
        channels_(wiring_.channels.size()),
        ranks_(parts_.size()) {
    for (uint32_t rank = 0; rank < parts_.size(); ++rank) {
      Rank& state = ranks_[rank];
      state.lanes.resize(parts_[rank].lanes.size());
      state.done.assign(shape_.window, std::vector<uint8_t>(wiring_.ranks[rank].steps(), 0));
      state.slot_tile.assign(shape_.window, UINT64_MAX);
      state.left.assign(shape_.window, 0);
    }
  }

  // The time at which each tile was complete everywhere.
  Result<std::vector<uint64_t>> run() {
    if (wiring_.violation) return Status(Code::kInvalidArgument, wiring_.violation->message);
    tile_end_.assign(tiles_, 0);
    for (uint32_t rank = 0; rank < ranks_.size(); ++rank) advance(rank);
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      now_ns_ = event.at_ns;
      event.arrives ? arrive(event.job) : complete(event.job);
    }
    for (uint32_t rank = 0; rank < ranks_.size(); ++rank) {
      for (uint32_t lane = 0; lane < ranks_[rank].lanes.size(); ++lane) {
        if (ranks_[rank].lanes[lane].tile < tiles_ && !parts_[rank].lanes[lane].steps.empty()) {
          return Status(Code::kInvalidArgument,
                        fmt::format("rank {}, lane {} stalls in step {}: verify the plan before pricing it",
                                    rank, lane, ranks_[rank].lanes[lane].step));
        }
      }
    }
    return tile_end_;
  }

  const std::vector<uint64_t> end_ns() const {
    std::vector<uint64_t> ends;
    for (const Rank& rank : ranks_) ends.push_back(rank.end_ns);
    return ends;
  }

 private:
  struct LaneState {
    uint64_t tile = 0;
    uint32_t step = 0;
  };
  struct Rank {
    std::vector<LaneState> lanes;
    std::vector<std::vector<uint8_t>> done;  // by window slot and flat step
    std::vector<uint64_t> slot_tile;
    std::vector<uint32_t> left;
    uint64_t sends_free_ns = 0, receives_free_ns = 0, works_free_ns = 0;
    uint64_t end_ns = 0;
  };
  struct Job {
    uint32_t rank = 0, lane = 0, step = 0;
    uint64_t tile = 0;
  };
  struct Event {
    uint64_t at_ns = 0;
    uint64_t order = 0;  // of scheduling: equal times stay in order
    Job job;
    bool arrives = false;  // a send's first byte reaches its receiver; else the job is complete
    bool operator>(const Event& other) const {
      return at_ns != other.at_ns ? at_ns > other.at_ns : order > other.order;
    }
  };
  struct Channel {
    std::deque<uint64_t> arrivals_ns;
    std::deque<Job> posted;
  };

  const Step& step_of(const Job& job) const { return parts_[job.rank].lanes[job.lane].steps[job.step]; }
  uint32_t flat_of(const Job& job) const { return wiring_.ranks[job.rank].lane_begin[job.lane] + job.step; }

  void schedule(const Job& job, uint64_t at_ns) { events_.push({at_ns, scheduled_++, job, false}); }

  void advance(uint32_t rank) {
    for (uint32_t lane = 0; lane < ranks_[rank].lanes.size(); ++lane) advance_lane(rank, lane);
  }

  void advance_lane(uint32_t rank, uint32_t lane) {
    LaneState& state = ranks_[rank].lanes[lane];
    const auto steps = static_cast<uint32_t>(parts_[rank].lanes[lane].steps.size());
    while (steps > 0 && state.tile < tiles_) {
      const Job job{rank, lane, state.step, state.tile};
      if (!may_issue(job)) return;
      if (++state.step == steps) {
        state.step = 0;
        ++state.tile;
      }
      issue(job);
    }
  }

  bool may_issue(const Job& job) {
    Rank& rank = ranks_[job.rank];
    const size_t slot = job.tile % shape_.window;
    if (rank.slot_tile[slot] != job.tile) {
      if (rank.slot_tile[slot] != UINT64_MAX && rank.left[slot] > 0) return false;
      rank.slot_tile[slot] = job.tile;
      rank.left[slot] = wiring_.ranks[job.rank].steps();
      std::fill(rank.done[slot].begin(), rank.done[slot].end(), uint8_t{0});
    }
    for (const After& after : step_of(job).after) {
      if (after.in_place_only && !input_.in_place) continue;
      if (rank.done[slot][wiring_.ranks[job.rank].lane_begin[after.lane] + after.step] == 0) return false;
    }
    return true;
  }

  uint64_t length_of(const Job& job) {
    const uint64_t tile = tile_length(shape_, block_bytes_, job.tile);
    if (begins_length_ != tile) chunk_begins(shape_, tile, begins_);
    begins_length_ = tile;
    const Step& step = step_of(job);
    const ChunkRun& run = step.src.empty() ? step.dst[0] : step.src[0];
    return begins_[run.first + run.count] - begins_[run.first];
  }

  void issue(const Job& job) {
    const Step& step = step_of(job);
    const uint64_t length = length_of(job);
    Rank& rank = ranks_[job.rank];
    const bool edge = step.kind == StepKind::kSend || step.kind == StepKind::kRecv;
    if (edge && length == 0) return schedule(job, now_ns_);  // not sent
    if (step.kind == StepKind::kSend) return send(job, step.peer, length);
    if (step.kind == StepKind::kRecv) {
      Channel& channel = channels_[wiring_.ranks[job.rank].channel[flat_of(job)]];
      channel.posted.push_back(job);
      return meet(channel);
    }
    const bool reduces = step.kind == StepKind::kReduce && step.src.size() > 1;
    uint64_t work = duration_ns(reduces ? Wide{length} * (step.src.size() - 1) : Wide{length},
                                reduces ? input_.reduce_bytes_per_s : input_.copy_bytes_per_s);
    if (!reduces && (step.src[0] == step.dst[0] || onto_itself(job, step))) work = 0;
    rank.works_free_ns = std::max(now_ns_, rank.works_free_ns) + work;
    schedule(job, rank.works_free_ns);
  }

  // A copy that in place has nothing to do.
  bool onto_itself(const Job& job, const Step& step) const {
    if (!input_.in_place || step.src[0].space != Space::kInput || step.dst[0].space != Space::kOutput)
      return false;
    if (has_output_blocks(shape_.collective)) return step.dst[0].block == job.rank;
    return !has_input_blocks(shape_.collective) || step.src[0].block == job.rank;
  }

  void send(const Job& job, uint32_t peer, uint64_t length) {
    const PathFigures path = input_.path(job.rank, peer);
    const uint64_t occupied = duration_ns(length, path.bandwidth_bytes_per_s);
    Rank& rank = ranks_[job.rank];
    const uint64_t leaves = std::max(now_ns_, rank.sends_free_ns);
    rank.sends_free_ns = leaves + occupied;
    schedule(job, rank.sends_free_ns);
    events_.push({leaves + path.latency_ns, scheduled_++, job, true});
  }

  void arrive(const Job& job) {
    const uint32_t peer = step_of(job).peer;
    const uint64_t occupied = duration_ns(length_of(job), input_.path(job.rank, peer).bandwidth_bytes_per_s);
    uint64_t& receives_free = ranks_[peer].receives_free_ns;
    receives_free = std::max(now_ns_, receives_free) + occupied;
    Channel& channel = channels_[wiring_.ranks[job.rank].channel[flat_of(job)]];
    channel.arrivals_ns.push_back(receives_free);
    meet(channel);
  }

  void meet(Channel& channel) {
    while (!channel.posted.empty() && !channel.arrivals_ns.empty()) {
      schedule(channel.posted.front(), std::max(now_ns_, channel.arrivals_ns.front()));
      channel.posted.pop_front();
      channel.arrivals_ns.pop_front();
    }
  }

  void complete(const Job& job) {
    Rank& rank = ranks_[job.rank];
    const size_t slot = job.tile % shape_.window;
    rank.done[slot][flat_of(job)] = 1;
    --rank.left[slot];
    rank.end_ns = now_ns_;
    tile_end_[job.tile] = std::max(tile_end_[job.tile], now_ns_);
    advance(job.rank);
  }

  const Shape& shape_;
  std::vector<Part> parts_;
  const CostInput& input_;
  Wiring wiring_;
  uint64_t block_bytes_;
  uint64_t tiles_;
  std::vector<Channel> channels_;
  std::vector<Rank> ranks_;
  std::vector<uint64_t> tile_end_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::vector<uint64_t> begins_;
  uint64_t begins_length_ = UINT64_MAX;
  uint64_t now_ns_ = 0;
  uint64_t scheduled_ = 0;
};

// Bytes that one rank sends in all tiles, and messages in one.
void count_traffic(const Shape& shape, const Part& part, uint64_t block_bytes, Cost& cost) {
  std::vector<uint64_t> whole, rest;
  const uint64_t tiles = tile_count(shape, block_bytes);
  Wide bytes = 0;
  if (tiles > 0) {
    chunk_begins(shape, tile_length(shape, block_bytes, 0), whole);
    chunk_begins(shape, tile_length(shape, block_bytes, tiles - 1), rest);
  }
  for (const Lane& lane : part.lanes) {
    for (const Step& step : lane.steps) {
      if (step.kind != StepKind::kSend || tiles == 0) continue;
      const ChunkRun& run = step.src[0];
      ++cost.messages;
      bytes += Wide{tiles - 1} * (whole[run.first + run.count] - whole[run.first]);
      bytes += rest[run.first + run.count] - rest[run.first];
    }
  }
  cost.sent_bytes.push_back(narrow(bytes));
}

}  // namespace

Result<Cost> price(const Plan& plan, const CostInput& input) {
  if (plan.parts.size() != plan.shape.nranks)
    return Status(Code::kInvalidArgument, "a plan needs a part for each rank");
  std::vector<Part> parts;
  for (uint32_t rank = 0; rank < plan.parts.size(); ++rank) {
    const VerifyResult checked = check_part(plan.shape, plan.parts[rank]);
    if (!checked.ok || plan.parts[rank].rank != rank) {
      return Status(Code::kInvalidArgument,
                    checked.ok ? "a part of another rank" : checked.violation.message);
    }
    parts.push_back(expand(plan.parts[rank]));
  }
  const uint64_t block = plan.shape.collective == Collective::kBarrier ? kBarrierBytes : input.block_bytes;
  Cost cost;
  cost.tiles = tile_count(plan.shape, block);
  for (const Part& part : parts) count_traffic(plan.shape, part, block, cost);
  // Long enough to run evenly: a fill of the window, then as many tiles again to take the pace from.
  const uint64_t even = uint64_t{plan.shape.window} * 2 + 6;
  cost.tiles_simulated = std::min(cost.tiles, even * 2);
  Simulation simulation(plan.shape, std::move(parts), input, block, cost.tiles_simulated);
  COMITY_ASSIGN_OR_RETURN(const std::vector<uint64_t> ends, simulation.run());
  cost.end_ns = simulation.end_ns();
  for (const uint64_t end : ends) cost.time_ns = std::max(cost.time_ns, end);
  if (cost.tiles > cost.tiles_simulated) {
    const uint64_t pace = ends[even * 2 - 1] - std::min(ends[even * 2 - 1], ends[even - 1]);
    cost.time_ns = narrow(Wide{cost.time_ns} + Wide{cost.tiles - cost.tiles_simulated} * pace / even);
  }
  return cost;
}

}  // namespace comity::plan
