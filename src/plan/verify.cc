#include "src/plan/verify.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "src/plan/balanced.h"
#include "src/plan/checks.h"
#include "src/plan/goal.h"
#include "src/plan/layout.h"
#include "src/plan/machine.h"
#include "src/plan/print.h"
#include "src/plan/wiring.h"

namespace comity::plan {
namespace {

using Found = std::optional<Violation>;

// The step of the Part given that an expanded step comes from.
uint32_t given_step(const Part& part, uint32_t lane, uint32_t expanded) {
  if (lane >= part.lanes.size()) return expanded;
  uint64_t end = 0;
  for (uint32_t index = 0; index < part.lanes[lane].steps.size(); ++index) {
    const Step& step = part.lanes[lane].steps[index];
    end += step.kind == StepKind::kGroup ? part.groups[step.group].definition.size() : 1;
    if (expanded < end) return index;
  }
  return expanded;
}

// Steps that a step expands to, and an eighth of one for each dependency; stops counting past `most`.
uint64_t expanded_size(const Part& part, const Step& step, uint64_t most) {
  const auto length_of = [&part](const Step& of) -> uint64_t {
    return of.kind == StepKind::kGroup ? part.groups[of.group].definition.size() : 1;
  };
  const uint64_t length = length_of(step);
  uint64_t size = 1 + length;
  for (const After& after : step.after) {
    size += (length * length_of(part.lanes[after.lane].steps[after.step])) / 8;
    if (size > most) break;
  }
  return size + step.after.size() / 8;
}

double run_columns(const std::vector<Step>& steps, const Columns& columns) {
  double sum = 0;
  for (const Step& step : steps) {
    for (const auto* runs : {&step.src, &step.dst}) {
      for (const ChunkRun& run : *runs) sum += columns.of[run.first + run.count] - columns.of[run.first];
    }
  }
  return sum;
}

class Verifier {
 public:
  explicit Verifier(const Plan& plan, bool balanced = false) : plan_(plan), balanced_(balanced) {}

  Found run() {
    if (Found found = check_parts()) return found;
    if (Found found = check_size()) return found;
    columns_ = columns_of(plan_.shape, plan_.parts);
    if (Found found = check_work()) return found;
    groups_ = std::any_of(plan_.parts.begin(), plan_.parts.end(), has_groups);
    for (const Part& part : plan_.parts) {
      if (groups_) expanded_.push_back(expand(part));
    }
    goal_ = goal_of(plan_.shape);
    goal_.balanced = balanced_;
    for (const bool in_place : {false, true}) {
      if (plan_.shape.placement == (in_place ? Placement::kOutOfPlaceOnly : Placement::kInPlaceOnly))
        continue;
      if (Found found = prove(in_place)) return found;
    }
    return std::nullopt;
  }

 private:
  Found check_parts() {
    if (Found found = check_shape(plan_.shape)) return found;
    if (plan_.parts.size() != plan_.shape.nranks) {
      return Violation{"shape", 0, 0, 0,
                       fmt::format("{} parts for {} ranks", plan_.parts.size(), plan_.shape.nranks)};
    }
    for (uint32_t rank = 0; rank < plan_.parts.size(); ++rank) {
      const Part& part = plan_.parts[rank];
      if (part.rank != rank)
        return Violation{"shape", rank, 0, 0,
                         fmt::format("part {} says that it is rank {}", rank, part.rank)};
      VerifyResult checked = check_part(plan_.shape, part);
      if (!checked.ok) return std::move(checked.violation);
    }
    return std::nullopt;
  }

  // Groups may multiply a short part into more than a proof, or this process, could hold.
  Found check_size() {
    constexpr uint64_t kMostSteps = uint64_t{1} << 24;
    uint64_t lanes = 0;
    uint64_t steps = 0;
    for (const Part& part : plan_.parts) {
      lanes += part.lanes.size();
      for (const Lane& lane : part.lanes) {
        for (const Step& step : lane.steps) {
          steps += expanded_size(part, step, kMostSteps);
          lag_ = std::max(lag_, step.lag);
          if (steps > kMostSteps)
            return too_large(fmt::format("more than {} steps, groups expanded", kMostSteps));
        }
      }
    }
    constexpr uint64_t kMostLaneClocks = uint64_t{1} << 14;
    if (lanes > kMostLaneClocks)
      return too_large(fmt::format("{} lanes of all ranks, most {}", lanes, kMostLaneClocks));
    lanes_ = lanes;
    steps_ = steps;
    return std::nullopt;
  }

  Found check_work() {
    constexpr double kMostBytes = 1 << 30;
    constexpr double kMostWork = 2e10;
    const Shape& shape = plan_.shape;
    const double columns = columns_.count();
    const double tiles = tiles_proved();
    const double words = shape.nranks / 64.0 + 1;
    const double inputs = input_blocks(shape) * columns * shape.nranks;
    const double cells = inputs + (1.0 * output_blocks(shape) + shape.scratch_slots) * columns * shape.nranks;
    double touched = 0;
    for (const Part& part : plan_.parts) {
      for (const Lane& lane : part.lanes) {
        touched += run_columns(lane.steps, columns_);
        for (const Step& step : lane.steps) {
          if (step.kind == StepKind::kGroup) {
            touched += run_columns(part.groups[step.group].definition, columns_);
          }
        }
      }
    }
    constexpr double kBytesOfCell = 16;
    constexpr double kBytesOfValue = 48;
    const double bytes = (cells + touched) * shape.window * kBytesOfCell +
                         (inputs + touched) * tiles * (kBytesOfValue + 8 * words);
    if (bytes > kMostBytes) return too_large(fmt::format("{:.0f} bytes to keep track of it", bytes));
    const double work =
        tiles * ((cells + touched) * words + static_cast<double>(steps_) * static_cast<double>(lanes_));
    if (work > kMostWork) return too_large(fmt::format("{:.0f} units of work", work));
    return std::nullopt;
  }

  static Found too_large(const std::string& what) {
    return Violation{"bounds", 0, 0, 0, "too large to prove: " + what};
  }

  uint32_t tiles_proved() const {
    return plan_.shape.collective == Collective::kBarrier ? 1 : 2 * plan_.shape.window + 1 + lag_;
  }

  Found prove(bool in_place) {
    const std::vector<Part>& primitive = groups_ ? expanded_ : plan_.parts;
    if (groups_) {
      // Whole first: its violations are numbered as given, and its meetings are what the definitions are held
      // against.
      const Wiring whole = wire(plan_.shape, plan_.parts, in_place);
      if (whole.violation) return whole.violation;
      if (Found found = prove_groups(whole, in_place)) return found;
      if (Found found = prove_parts(plan_.parts, whole, in_place)) return found;
    }
    const Wiring wiring = wire(plan_.shape, primitive, in_place);
    Found found = wiring.violation ? wiring.violation : prove_parts(primitive, wiring, in_place);
    if (found && groups_) found->step = given_step(plan_.parts[found->rank], found->lane, found->step);
    return found;
  }

  Found prove_parts(std::span<const Part> parts, const Wiring& wiring, bool in_place) {
    return label(Machine({&plan_.shape, parts, &wiring, &columns_, &goal_, in_place, tiles_proved()}).run(),
                 in_place);
  }

  Found label(Found found, bool in_place) const {
    if (found) {
      found->message = fmt::format("rank {}, lane {}, step {}, {} place: {}", found->rank, found->lane,
                                   found->step, in_place ? "in" : "out of", found->message);
    }
    return found;
  }

  // Each call of a group, alone, by its definitions: a plan among its members.
  Found prove_groups(const Wiring& whole, bool in_place) {
    for (uint32_t meeting = 0; meeting < whole.meetings.size(); ++meeting) {
      const Group& group = *whole.meetings[meeting].group;
      std::vector<std::vector<uint32_t>> calls(group.members.size());
      for (size_t member = 0; member < group.members.size(); ++member) {
        const RankWiring& rank = whole.ranks[group.members[member]];
        const uint32_t lane = whole.meetings[meeting].lane;
        for (uint32_t flat = rank.lane_begin[lane]; flat < rank.lane_begin[lane + 1]; ++flat) {
          if (rank.channel[flat] == meeting &&
              step_of(group.members[member], lane, flat - rank.lane_begin[lane]).kind == StepKind::kGroup) {
            calls[member].push_back(flat - rank.lane_begin[lane]);
          }
        }
      }
      for (size_t call = 0; call < calls[0].size(); ++call) {
        if (Found found = prove_call(group, whole.meetings[meeting].lane, calls, call, in_place))
          return found;
      }
    }
    return std::nullopt;
  }

  const Step& step_of(uint32_t rank, uint32_t lane, uint32_t step) const {
    return plan_.parts[rank].lanes[lane].steps[step];
  }

  Found prove_call(const Group& group, uint32_t lane, const std::vector<std::vector<uint32_t>>& calls,
                   size_t call, bool in_place) {
    std::vector<Part> parts;
    std::vector<const Step*> steps;
    for (size_t member = 0; member < group.members.size(); ++member) {
      const uint32_t rank = group.members[member];
      steps.push_back(&step_of(rank, lane, calls[member][call]));
      Part& part = parts.emplace_back();
      part.rank = rank;
      part.lanes.resize(1);
      part.lanes[0].steps = plan_.parts[rank].groups[steps.back()->group].definition;
      for (Step& step : part.lanes[0].steps) renumber(group, step);
    }
    Shape shape = plan_.shape;
    shape.window = 1;
    shape.any_lengths = false;  // of its steps: proved where all are expanded
    const Goal goal = goal_of(group, steps);
    const Wiring wiring = wire(shape, parts, in_place);
    Found found = wiring.violation ? wiring.violation
                                   : Machine({&shape, parts, &wiring, &columns_, &goal, in_place, 1}).run();
    if (!found) return found;
    const uint32_t member = std::min<uint32_t>(found->rank, static_cast<uint32_t>(parts.size()) - 1);
    found->message = fmt::format("in the definition of its group, {}: {}",
                                 describe_step(parts[member], found->step), found->message);
    found->rank = group.members[member];
    found->lane = lane;
    found->step = calls[member][call];
    return label(std::move(found), in_place);
  }

  static std::string describe_step(const Part& part, uint32_t step) {
    return step < part.lanes[0].steps.size() ? describe(part.lanes[0].steps[step])
                                             : std::string("which is empty");
  }

  static void renumber(const Group& group, Step& step) {
    const auto found = std::find(group.members.begin(), group.members.end(), step.peer);
    step.peer = static_cast<uint32_t>(found - group.members.begin());
    for (After& after : step.after) after.lane = 0;
  }

  const Plan& plan_;
  bool balanced_;
  std::vector<Part> expanded_;
  Columns columns_;
  Goal goal_;
  bool groups_ = false;
  uint32_t lag_ = 0;  // the longest of any group
  uint64_t lanes_ = 0;
  uint64_t steps_ = 0;
};

}  // namespace

VerifyResult verify(const Plan& plan) {
  Found found = Verifier(plan).run();
  if (!found) return {};
  return {false, *std::move(found)};
}

VerifyResult verify_balanced(const Plan& plan) {
  Found found = Verifier(plan, true).run();
  if (!found) return {};
  return {false, *std::move(found)};
}

}  // namespace comity::plan
