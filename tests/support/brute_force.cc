#include "tests/support/brute_force.h"

#include <deque>
#include <unordered_set>

#include "tests/support/brute_force_world.h"

namespace comity::test {
namespace {

using plan::Plan;
using plan::StepKind;
using world::Job;
using world::State;

class Explorer : public world::World {
 public:
  using World::World;

  uint64_t states() const { return seen_states_; }
  bool gave_up() const { return gave_up_; }

  // All orders of the events of `watched` (all ranks if nothing); the others run ahead.
  void explore(std::optional<uint32_t> watched, uint64_t most_states) {
    std::unordered_set<std::string> seen;
    std::deque<State> open;
    State first = start_;
    run_ahead(first, watched);
    open.push_back(std::move(first));
    while (!open.empty() && !fault_) {
      const State state = std::move(open.back());
      open.pop_back();
      if (!seen.insert(state.key()).second) continue;
      ++seen_states_;
      if (seen.size() > most_states) {
        gave_up_ = true;
        return;
      }
      bool moved = false;
      for (size_t job = 0; job < jobs_.size() && !fault_; ++job) {
        if (watched && jobs_[job].rank != *watched) continue;
        if (!may_move(state, job)) continue;
        moved = true;
        State next = state;
        move(next, job);
        run_ahead(next, watched);
        open.push_back(std::move(next));
      }
      if (!moved && !fault_) judge(state);
    }
  }

  // The slowest runtime: one message of a channel in flight, and a send ends when its message was received.
  void run_slowly() {
    State state = start_;
    for (bool moved = true; moved && !fault_;) {
      moved = false;
      for (size_t job = 0; job < jobs_.size() && !fault_; ++job) {
        const Job& here = jobs_[job];
        if (!may_move(state, job)) continue;
        if (here.step->kind == StepKind::kSend) {
          const bool begins = state.phase[job] == 0;
          if (begins && here.previous_of_channel &&
              state.phase[*jobs_[*here.previous_of_channel].partner] != 2)
            continue;
          if (!begins && state.phase[*here.partner] != 2) continue;
        }
        move(state, job);
        moved = true;
      }
    }
    if (!fault_ && !finished(state)) fault("the slowest runtime never ends");
  }

  // Nobody may leave a barrier that somebody has not entered.
  void check_barrier() {
    for (uint32_t absent = 0; absent < shape_.nranks && !fault_; ++absent) {
      State state = start_;
      for (bool moved = true; moved && !fault_;) {
        moved = false;
        for (size_t job = 0; job < jobs_.size() && !fault_; ++job) {
          if (jobs_[job].rank == absent || !may_move(state, job)) continue;
          move(state, job);
          moved = true;
        }
      }
      for (uint32_t rank = 0; rank < shape_.nranks && !fault_; ++rank) {
        if (rank == absent) continue;
        bool left = true;
        for (size_t job = 0; job < jobs_.size(); ++job)
          left = left && (jobs_[job].rank != rank || state.phase[job] == 2);
        if (left) fault(fmt::format("rank {} leaves before rank {} enters", rank, absent));
      }
    }
  }

 private:
  bool may_move(const State& state, size_t index) const {
    const Job& job = jobs_[index];
    if (state.phase[index] == 2) return false;
    if (state.phase[index] == 1) return job.step->kind != StepKind::kRecv || state.phase[*job.partner] > 0;
    if (job.follows && state.phase[*job.follows] == 0) return false;
    return std::all_of(job.waits_for.begin(), job.waits_for.end(),
                       [&](size_t other) { return state.phase[other] == 2; });
  }

  void move(State& state, size_t index) {
    const Job& job = jobs_[index];
    if (state.phase[index] == 0) return begin(state, index);
    state.phase[index] = 2;
    if (job.step->kind == StepKind::kSend) return;
    const size_t source = job.step->kind == StepKind::kRecv ? *job.partner : index;
    const std::vector<int> contents = std::exchange(state.held[source], {});
    for (size_t i = 0; i < contents.size(); ++i) state.memory[job.write_cells[i]] = contents[i];
  }

  void begin(State& state, size_t index) {
    const Job& job = jobs_[index];
    for (size_t other = 0; other < jobs_.size(); ++other) {
      if (state.phase[other] == 1 && jobs_[other].rank == job.rank && clash(job, jobs_[other])) {
        return fault_at(
            job, fmt::format("at work together with lane {} step {}", jobs_[other].lane, jobs_[other].index));
      }
    }
    state.phase[index] = 1;
    if (job.step->kind == StepKind::kRecv) return;
    std::vector<int>& held = state.held[index];
    std::vector<int> operands(job.reads.size());
    for (size_t chunk = 0; chunk < job.read_cells[0].size(); ++chunk) {
      for (size_t i = 0; i < operands.size(); ++i) operands[i] = state.memory[job.read_cells[i][chunk]];
      held.push_back(
          contents_.fold(operands, job.step->kind == StepKind::kReduce && job.step->last, shape_.nranks));
    }
  }

  static bool clash(const Job& a, const Job& b) {
    const auto touches = [](const Job& writer, const Job& other) {
      for (const uint32_t cell : writer.write_cells) {
        if (std::find(other.write_cells.begin(), other.write_cells.end(), cell) != other.write_cells.end()) {
          return true;
        }
        for (const auto& read : other.read_cells) {
          if (std::find(read.begin(), read.end(), cell) != read.end()) return true;
        }
      }
      return false;
    };
    return touches(a, b) || touches(b, a);
  }

  // Whatever other ranks can do, they do; what they do wrong shows when they are watched.
  void run_ahead(State& state, std::optional<uint32_t> watched) {
    if (!watched) return;
    for (bool moved = true; moved && !fault_;) {
      moved = false;
      for (size_t job = 0; job < jobs_.size() && !fault_; ++job) {
        if (jobs_[job].rank == *watched || !may_move(state, job)) continue;
        move(state, job);
        moved = true;
      }
    }
  }

  bool finished(const State& state) const {
    return std::all_of(state.phase.begin(), state.phase.end(), [](char phase) { return phase == 2; });
  }

  void judge(const State& state) {
    if (!finished(state)) return fault("nothing moves");
    std::map<std::tuple<uint32_t, uint32_t, uint32_t, uint32_t>, int> bits;
    for (uint32_t rank = 0; rank < shape_.nranks; ++rank) {
      for (uint32_t tile = 0; has_output(rank) && tile < tiles_; ++tile) {
        for (uint32_t block = 0; block < outputs(); ++block) {
          for (uint32_t chunk = 0; chunk < shape_.weights.size(); ++chunk) {
            const auto found = cells_.find({rank, user_place(rank, true, block, chunk, tile)});
            const int content = found == cells_.end() ? 0 : state.memory[found->second];
            judge_content(rank, block, chunk, tile, content);
            // Ranks hold the same but for what each gets of blocks of its own.
            const uint32_t own = has_input_blocks(shape_.collective) ? rank : 0;
            const auto [first, fresh] = bits.try_emplace({own, block, chunk, tile}, content);
            if (first->second != content)
              fault(fmt::format("bits of ranks differ: {}", contents_[content].text));
          }
        }
      }
    }
  }

  uint64_t seen_states_ = 0;
  bool gave_up_ = false;
};

void try_all(Explorer& explorer, const Plan& plan, const BruteForceOptions& options) {
  if (!explorer.found()) explorer.run_slowly();
  if (!explorer.found() && plan.shape.collective == Collective::kBarrier) explorer.check_barrier();
  if (options.all_ranks_at_once) {
    if (!explorer.found()) explorer.explore(std::nullopt, options.most_states);
    return;
  }
  for (uint32_t rank = 0; rank < plan.shape.nranks && !explorer.found(); ++rank)
    explorer.explore(rank, options.most_states);
}

}  // namespace

BruteForceResult brute_force(const Plan& plan, const BruteForceOptions& options) {
  BruteForceResult result;
  for (const bool in_place : {false, true}) {
    if (plan.shape.placement == (in_place ? plan::Placement::kOutOfPlaceOnly : plan::Placement::kInPlaceOnly))
      continue;
    Explorer explorer(plan, in_place, options.tiles);
    try_all(explorer, plan, options);
    result.states += explorer.states();
    result.gave_up = result.gave_up || explorer.gave_up();
    if (!explorer.found()) continue;
    result.fault = true;
    result.gave_up = false;
    result.what = *explorer.found();
    return result;
  }
  return result;
}

}  // namespace comity::test
