#include "tests/support/mutate.h"

#include <fmt/core.h>

#include <algorithm>
#include <random>
#include <vector>

namespace comity::test {
namespace {

using plan::After;
using plan::ChunkRun;
using plan::Part;
using plan::Plan;
using plan::Space;
using plan::Step;

constexpr uint32_t kGone = UINT32_MAX;

// Applies new numbers to one lane's steps: `moved[i]` is where old step i is now, kGone where it is no more.
void renumber(Part& part, uint32_t lane, const std::vector<uint32_t>& moved) {
  for (uint32_t other = 0; other < part.lanes.size(); ++other) {
    for (Step& step : part.lanes[other].steps) {
      std::vector<After> kept;
      for (After after : step.after) {
        if (after.lane == lane && after.step < moved.size()) after.step = moved[after.step];
        if (after.step != kGone) kept.push_back(after);
      }
      step.after = kept;
      if (other != lane) continue;
      for (auto* runs : {&step.src, &step.dst}) {
        for (ChunkRun& run : *runs) {
          if (run.space == Space::kReceived && run.block < moved.size()) run.block = moved[run.block];
        }
      }
    }
  }
}

class Mutator {
 public:
  Mutator(const Plan& plan, uint64_t seed) : random_(seed), mutant_{plan, {}} {}

  Mutant run() {
    while (mutant_.what.empty()) {
      part_ = &mutant_.plan.parts[below(mutant_.plan.parts.size())];
      if (part_->lanes.empty()) continue;
      lane_ = below(part_->lanes.size());
      if (steps().empty()) continue;
      index_ = below(steps().size());
      const std::string what = damage();
      if (!what.empty()) {
        mutant_.what = fmt::format("rank {} lane {} step {}: {}", part_->rank, lane_, index_, what);
      }
    }
    return std::move(mutant_);
  }

 private:
  uint32_t below(size_t limit) { return static_cast<uint32_t>(random_() % limit); }
  std::vector<Step>& steps() { return part_->lanes[lane_].steps; }
  Step& step() { return steps()[index_]; }

  std::string damage() {
    switch (below(11)) {
      case 0:
        return drop();
      case 1:
        return swap();
      case 2:
        return duplicate();
      case 3:
        return shift_chunk();
      case 4:
        return shift_block();
      case 5:
        return remove_dependency();
      case 6:
        return weaken_dependency();
      case 7:
        return move_dependency();
      case 8:
        return change_reduction();
      case 9:
        return change_turn();
      default:
        return change_peer();
    }
  }

  std::string drop() {
    std::vector<uint32_t> moved(steps().size());
    for (uint32_t i = 0; i < moved.size(); ++i) moved[i] = i < index_ ? i : i == index_ ? kGone : i - 1;
    steps().erase(steps().begin() + index_);
    renumber(*part_, lane_, moved);
    return "dropped";
  }

  std::string swap() {
    if (index_ + 1 >= steps().size()) return {};
    std::vector<uint32_t> moved(steps().size());
    for (uint32_t i = 0; i < moved.size(); ++i) moved[i] = i;
    std::swap(moved[index_], moved[index_ + 1]);
    std::swap(steps()[index_], steps()[index_ + 1]);
    renumber(*part_, lane_, moved);
    return "swapped with the next";
  }

  std::string duplicate() {
    std::vector<uint32_t> moved(steps().size());
    for (uint32_t i = 0; i < moved.size(); ++i) moved[i] = i <= index_ ? i : i + 1;
    renumber(*part_, lane_, moved);
    Step copy = step();
    for (ChunkRun& run : copy.dst) {
      if (run.space == Space::kReceived) run.block = index_ + 1;
    }
    steps().insert(steps().begin() + index_ + 1, std::move(copy));
    return "duplicated";
  }

  ChunkRun* some_run() {
    auto& runs = below(2) == 0 && !step().dst.empty() ? step().dst : step().src;
    return runs.empty() ? nullptr : &runs[below(runs.size())];
  }

  std::string shift_chunk() {
    ChunkRun* run = some_run();
    if (run == nullptr || mutant_.plan.shape.weights.size() < 2) return {};
    const uint32_t by = 1 + below(2);
    const auto chunks = static_cast<uint32_t>(mutant_.plan.shape.weights.size());
    if (below(2) == 0) {  // all runs of the step, as a generator's off-by-one would
      for (auto* runs : {&step().src, &step().dst}) {
        for (ChunkRun& each : *runs) each.first = (each.first + by) % chunks;
      }
      return fmt::format("all chunks shifted by {}", by);
    }
    run->first += by;
    return fmt::format("a chunk shifted by {}", by);
  }

  std::string shift_block() {
    ChunkRun* run = some_run();
    if (run == nullptr) return {};
    if (below(3) == 0) {
      run->space = static_cast<Space>(below(4));
      return fmt::format("a run moved to space {}", static_cast<int>(run->space));
    }
    const uint32_t by = below(2) == 0 ? 1 : UINT32_MAX;
    run->block += by;
    return fmt::format("a run's block shifted to {}", run->block);
  }

  std::string remove_dependency() {
    auto& after = step().after;
    if (after.empty()) return {};
    const uint32_t which = below(after.size());
    const After gone = after[which];
    after.erase(after.begin() + which);
    return fmt::format("waits no more for lane {} step {}", gone.lane, gone.step);
  }

  std::string weaken_dependency() {
    auto& after = step().after;
    if (after.empty()) return {};
    After& some = after[below(after.size())];
    some.in_place_only = !some.in_place_only;
    return fmt::format("waits for lane {} step {} {}", some.lane, some.step,
                       some.in_place_only ? "only in place" : "always");
  }

  std::string move_dependency() {
    auto& after = step().after;
    if (after.empty()) return {};
    After& some = after[below(after.size())];
    some.lane = below(part_->lanes.size());
    if (part_->lanes[some.lane].steps.empty()) return "waits for a step of an empty lane";
    some.step = below(part_->lanes[some.lane].steps.size());
    return fmt::format("waits for lane {} step {} instead", some.lane, some.step);
  }

  std::string change_reduction() {
    if (step().kind != plan::StepKind::kReduce) return {};
    if (step().src.size() > 1 && below(2) == 0) {
      std::swap(step().src[0], step().src[below(step().src.size() - 1) + 1]);
      return "operands exchanged";
    }
    if (step().src.size() > 1 && below(3) == 0) {
      step().src.pop_back();
      return "an operand dropped";
    }
    step().last = !step().last;
    return "`last` flipped";
  }

  std::string change_turn() {
    if (step().kind != plan::StepKind::kGroup) return {};
    if (below(3) == 0) {
      step().lag = below(mutant_.plan.shape.window + 1);
      return fmt::format("{} tiles behind", step().lag);
    }
    step().order = below(4);
    return fmt::format("order {}", step().order);
  }

  std::string change_peer() {
    if (step().kind != plan::StepKind::kSend && step().kind != plan::StepKind::kRecv) return {};
    step().peer = (step().peer + 1 + below(mutant_.plan.parts.size())) % (mutant_.plan.shape.nranks + 1);
    return fmt::format("peer is {} now", step().peer);
  }

  std::mt19937_64 random_;
  Mutant mutant_;
  Part* part_ = nullptr;
  uint32_t lane_ = 0;
  uint32_t index_ = 0;
};

}  // namespace

Mutant mutate(const Plan& plan, uint64_t seed) {
  return Mutator(plan, seed).run();
}

}  // namespace comity::test
