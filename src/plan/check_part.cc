// Bounds and form of one part: everything that can be said of it without the other ranks' parts.

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "src/plan/checks.h"
#include "src/plan/extents.h"
#include "src/plan/print.h"
#include "src/plan/verify.h"

namespace comity::plan {
namespace {

bool same_chunks(const ChunkRun& a, const ChunkRun& b) {
  return a.first == b.first && a.count == b.count;
}

class PartChecker {
 public:
  PartChecker(const Shape& shape, const Part& part)
      : shape_(shape), part_(part), defined_(part.groups.size(), false) {}

  std::optional<Violation> run() {
    if (part_.lanes.size() > kMaxLanes)
      fail("bounds", fmt::format("{} lanes; the engine carries out {}", part_.lanes.size(), kMaxLanes));
    for (lane_ = 0; lane_ < part_.lanes.size() && !violation_; ++lane_) {
      steps_ = &part_.lanes[lane_].steps;
      for (step_ = 0; step_ < steps_->size() && !violation_; ++step_) check_step((*steps_)[step_], step_);
    }
    if (!violation_) check_orders();
    return violation_;
  }

 private:
  bool fail(std::string rule, std::string why) {
    if (!violation_) {
      violation_ = Violation{std::move(rule), part_.rank, lane_, step_,
                             fmt::format("rank {}, lane {}, step {}: {}", part_.rank, lane_, step_, why)};
    }
    return false;
  }

  void check_step(const Step& step, uint32_t index) {
    check_form(step) && check_runs(step, index) && check_extent(step) && check_after(step, index) &&
        (step.kind != StepKind::kGroup || check_group(step));
    if (!violation_ && !in_group_) count_steps(step);
  }

  // How many sources and destinations each kind has, and whether the peer is one.
  bool check_form(const Step& step) {
    const size_t sources = step.src.size(), destinations = step.dst.size();
    bool right = true;
    switch (step.kind) {
      case StepKind::kSend:
        right = sources == 1 && destinations == 0;
        break;
      case StepKind::kRecv:
        right = sources == 0 && destinations == 1;
        break;
      case StepKind::kCopy:
        right = sources == 1 && destinations == 1;
        break;
      case StepKind::kReduce:
        right = sources >= 1 && destinations == 1;
        if (!is_reduction(shape_.collective))
          return fail("shape", "reduces in a collective without an operation");
        break;
      case StepKind::kGroup:
        if (in_group_) return fail("shape", "a group's definition holds a group");
        break;
      default:
        return fail("shape", fmt::format("step kind {} is unknown", static_cast<int>(step.kind)));
    }
    if (!right)
      return fail("shape", fmt::format("{} has {} sources and {} destinations", describe(step), sources,
                                       destinations));
    if (step.kind == StepKind::kSend || step.kind == StepKind::kRecv) {
      if (step.peer >= shape_.nranks)
        return fail("bounds", fmt::format("peer {} is not a rank below {}", step.peer, shape_.nranks));
      if (step.peer == part_.rank)
        return fail("shape", fmt::format("{}: a rank exchanges no message with itself", describe(step)));
    }
    return true;
  }

  bool check_runs(const Step& step, uint32_t index) {
    for (const ChunkRun& run : step.src) {
      if (!check_run(run) || !check_source(run, index)) return false;
    }
    for (const ChunkRun& run : step.dst) {
      if (!check_run(run) || !check_destination(step, run, index)) return false;
    }
    if (step.kind == StepKind::kGroup) return true;  // one shape for each collective: check_group
    const ChunkRun& first = step.src.empty() ? step.dst[0] : step.src[0];
    for (const auto* runs : {&step.src, &step.dst}) {
      for (const ChunkRun& run : *runs) {
        if (!same_chunks(first, run)) {
          return fail("shape", fmt::format("{}: {} and {} differ in length", describe(step), describe(first),
                                           describe(run)));
        }
      }
    }
    return true;
  }

  bool check_run(const ChunkRun& run) {
    const uint64_t chunks = shape_.weights.size();
    if (run.count == 0 || uint64_t{run.first} + run.count > chunks) {
      return fail("bounds", fmt::format("{} leaves the {} chunks of a tile", describe(run), chunks));
    }
    uint64_t blocks = 0;
    switch (run.space) {
      case Space::kInput:
        blocks = rank_input_blocks(shape_, part_.rank);
        break;
      case Space::kOutput:
        blocks = rank_output_blocks(shape_, part_.rank);
        break;
      case Space::kScratch:
        blocks = shape_.scratch_slots;
        break;
      case Space::kReceived:
        return true;  // by check_source, check_destination
      default:
        return fail("shape", fmt::format("space {} is unknown", static_cast<int>(run.space)));
    }
    if (run.block >= blocks) {
      return fail("bounds", fmt::format("{} names block {} of {} that rank {} has", describe(run), run.block,
                                        blocks, part_.rank));
    }
    return true;
  }

  bool check_source(const ChunkRun& run, uint32_t index) {
    if (run.space != Space::kReceived) return true;
    if (run.block >= index)
      return fail("bounds", fmt::format("{} names no earlier step of its lane", describe(run)));
    const Step& source = (*steps_)[run.block];
    if (source.kind != StepKind::kRecv || source.dst.size() != 1 || source.dst[0].space != Space::kReceived) {
      return fail("shape", fmt::format("{} names a step that leaves nothing where it lands: {}",
                                       describe(run), describe(source)));
    }
    if (!same_chunks(source.dst[0], run)) {
      return fail("bounds", fmt::format("{} names other chunks than were received: {}", describe(run),
                                        describe(source)));
    }
    return true;
  }

  bool check_destination(const Step& step, const ChunkRun& run, uint32_t index) {
    if (run.space == Space::kInput)
      return fail("shape", fmt::format("{} writes to the caller's input", describe(step)));
    if (run.space != Space::kReceived) return true;
    if (step.kind != StepKind::kRecv)
      return fail("shape", fmt::format("{} writes to what another step received", describe(step)));
    if (run.block != index)
      return fail("bounds", fmt::format("{} lands under another step's number", describe(step)));
    return true;
  }

  bool check_after(const Step& step, uint32_t index) {
    for (const After& after : step.after) {
      const uint32_t lane = in_group_ ? lane_ : after.lane;
      if (lane >= part_.lanes.size())
        return fail("bounds", fmt::format("waits for lane {} of {}", after.lane, part_.lanes.size()));
      const size_t steps = in_group_ ? steps_->size() : part_.lanes[lane].steps.size();
      if (after.step >= steps)
        return fail("bounds",
                    fmt::format("waits for step {} of {} in lane {}", after.step, steps, after.lane));
      if (lane == lane_ && after.step >= index) {
        return fail("deadlock",
                    fmt::format("waits for step {}, which its lane issues no earlier", after.step));
      }
    }
    return true;
  }

  bool check_extent(const Step& step);
  bool check_given(const Step& step, uint32_t extent);
  bool check_group(const Step& step);
  void check_orders();
  void count_steps(const Step& step);
  bool check_members(const Group& group);
  bool check_group_shape(const Step& step, const Group& group, uint32_t member);
  bool check_definition(const Group& group);

  const Shape& shape_;
  const Part& part_;
  std::vector<bool> defined_;  // groups whose definition was looked at
  const std::vector<Step>* steps_ = nullptr;
  bool in_group_ = false;
  uint32_t lane_ = 0;
  uint32_t step_ = 0;
  uint64_t expanded_ = 0;  // steps so far, groups expanded
  std::optional<Violation> violation_;
};

// Where blocks have lengths of their own: the step has one that this rank is given.
bool PartChecker::check_extent(const Step& step) {
  if (!shape_.any_lengths) return true;
  const bool group = step.kind == StepKind::kGroup;
  const std::optional<uint32_t> extent = extent_of(shape_, part_.rank, step);
  if (!extent && !group) {
    return fail("extent",
                fmt::format("{} touches none of the caller's blocks and does not say whose length it has",
                            describe(step)));
  }
  if (!group && !check_given(step, *extent)) return false;
  for (const auto* runs : {&step.src, &step.dst}) {
    for (const ChunkRun& run : *runs) {
      const std::optional<uint32_t> its = extent_of(shape_, part_.rank, run);
      if (group && !its)
        return fail("extent", fmt::format("{}: {} is none of the caller's blocks and has no length",
                                          describe(step), describe(run)));
      if (!its) continue;
      if (!check_given(step, *its)) return false;
      if (group || block_of_extent(shape_, part_.rank, *its) == block_of_extent(shape_, part_.rank, *extent))
        continue;
      return fail("extent", fmt::format("{}: {} has the length of another block than the step, whose is {}",
                                        describe(step), describe(run), *extent));
    }
  }
  if (step.extent == kImplied || (!group && step.extent == *extent)) return true;
  if (group)
    return fail("extent", fmt::format("{} states extent {}, and each of its blocks has its own",
                                      describe(step), step.extent));
  return fail("extent", fmt::format("{} states extent {}, and its blocks have extent {}", describe(step),
                                    step.extent, *extent));
}

bool PartChecker::check_given(const Step& step, uint32_t extent) {
  if (is_given(shape_, part_.rank, extent)) return true;
  return fail("extent", fmt::format("{} has the length of extent {}, which this rank is not given",
                                    describe(step), extent));
}

void PartChecker::count_steps(const Step& step) {
  expanded_ += step.kind == StepKind::kGroup ? part_.groups[step.group].definition.size() : 1;
  if (expanded_ >= kMaxSteps)
    fail("bounds", fmt::format("{} steps, groups expanded; the engine carries out fewer than {}", expanded_,
                               kMaxSteps));
}

// Group steps start one after the other; two of one place would leave to each rank which comes first.
void PartChecker::check_orders() {
  std::map<uint32_t, std::pair<uint32_t, uint32_t>> taken;  // order -> lane, step
  for (lane_ = 0; lane_ < part_.lanes.size() && !violation_; ++lane_) {
    const std::vector<Step>& steps = part_.lanes[lane_].steps;
    for (step_ = 0; step_ < steps.size() && !violation_; ++step_) {
      const Step& step = steps[step_];
      if (step.kind != StepKind::kGroup) continue;
      const auto [first, fresh] = taken.try_emplace(step.order, lane_, step_);
      if (!fresh) {
        fail("shape",
             fmt::format("{} has the same place, order {}, as lane {}'s step {}: which one starts first?",
                         describe(step), step.order, first->second.first, first->second.second));
      }
    }
  }
}

bool PartChecker::check_group(const Step& step) {
  if (step.group >= part_.groups.size()) {
    return fail("bounds", fmt::format("group {} of {}", step.group, part_.groups.size()));
  }
  if (step.lag >= shape_.window) {
    return fail("bounds", fmt::format("{}: the window has {} tile{}", describe(step), shape_.window,
                                      shape_.window == 1 ? "" : "s"));
  }
  const Group& group = part_.groups[step.group];
  if (!check_members(group)) return false;
  const auto own = std::find(group.members.begin(), group.members.end(), part_.rank);
  if (own == group.members.end())
    return fail("shape", fmt::format("rank {} is no member of group {}", part_.rank, step.group));
  for (const auto* runs : {&step.src, &step.dst}) {
    for (const ChunkRun& run : *runs) {
      if (run.space == Space::kReceived)
        return fail("shape", "a group works on no message left where it landed");
    }
  }
  if (!check_group_shape(step, group, static_cast<uint32_t>(own - group.members.begin()))) return false;
  if (defined_[step.group]) return true;
  defined_[step.group] = true;
  return check_definition(group);
}

bool PartChecker::check_members(const Group& group) {
  std::vector<uint32_t> sorted = group.members;
  std::sort(sorted.begin(), sorted.end());
  if (sorted.empty() || sorted.back() >= shape_.nranks)
    return fail("bounds", "a group's members are ranks, at least one");
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
    return fail("shape", "a group has a member twice");
  if (group.root >= group.members.size())
    return fail("bounds",
                fmt::format("a group's root {} is none of its {} members", group.root, group.members.size()));
  if (static_cast<int>(group.collective) >= kCollectiveCount)
    return fail("shape", "a group's collective is unknown");
  if (is_reduction(group.collective) && !is_reduction(shape_.collective)) {
    return fail("shape", "a group reduces in a collective without an operation");
  }
  return true;
}

bool PartChecker::check_group_shape(const Step& step, const Group& group, uint32_t member) {
  const size_t members = group.members.size();
  const bool root = member == group.root;
  size_t sources = has_input_blocks(group.collective) ? members : 1;
  size_t destinations = has_output_blocks(group.collective) ? members : 1;
  if (gives_from_root(group.collective) && !root) sources = 0;
  if (takes_to_root(group.collective) && !root) destinations = 0;
  if (group.collective == Collective::kBarrier) sources = destinations = 0;
  if (step.src.size() != sources || step.dst.size() != destinations) {
    return fail("shape", fmt::format("{} of {} has {} sources and {} destinations, not {} and {}",
                                     describe(step), name_of(group.collective), step.src.size(),
                                     step.dst.size(), sources, destinations));
  }
  if (sources == 0 || destinations == 0) return true;
  const ChunkRun& in = step.src[sources == 1 ? 0 : member];
  const ChunkRun& out = step.dst[destinations == 1 ? 0 : member];
  return same_chunks(in, out) || fail("shape", fmt::format("{}: {} and {} differ in length", describe(step),
                                                           describe(in), describe(out)));
}

bool PartChecker::check_definition(const Group& group) {
  if (group.definition.empty()) return fail("shape", "a group without a definition");
  const std::vector<Step>* outer = steps_;
  steps_ = &group.definition;
  in_group_ = true;
  for (uint32_t index = 0; index < group.definition.size() && !violation_; ++index) {
    const Step& step = group.definition[index];
    check_step(step, index);
    const bool edge = step.kind == StepKind::kSend || step.kind == StepKind::kRecv;
    if (edge && std::find(group.members.begin(), group.members.end(), step.peer) == group.members.end()) {
      fail("shape", fmt::format("{} inside a group leaves its members", describe(step)));
    }
  }
  steps_ = outer;
  in_group_ = false;
  return !violation_;
}

std::string shape_fault(const Shape& shape) {
  if (static_cast<int>(shape.collective) >= kCollectiveCount) return "the collective is unknown";
  if (static_cast<int>(shape.placement) > 2) return "the placement is unknown";
  if (shape.nranks == 0 || shape.nranks > kMostRanks)
    return fmt::format("{} ranks, not 1 to {}", shape.nranks, kMostRanks);
  if (shape.root >= shape.nranks)
    return fmt::format("root {} is not a rank below {}", shape.root, shape.nranks);
  if (shape.weights.empty() || shape.weights.size() > kMostChunks)
    return fmt::format("{} chunks, not 1 to {}", shape.weights.size(), kMostChunks);
  for (const uint32_t weight : shape.weights) {
    if (weight == 0 || weight > kMostWeight)
      return fmt::format("chunk weight {} is not 1 to {}", weight, kMostWeight);
  }
  if (shape.window == 0 || shape.window > kMaxWindow)
    return fmt::format("window {} is not 1 to {}", shape.window, kMaxWindow);
  if (shape.tile_bytes == 0 || shape.tile_bytes % 64 != 0 || shape.tile_bytes > kWholeBlock) {
    return fmt::format("tile of {} bytes is not a multiple of 64 up to {}", shape.tile_bytes, kWholeBlock);
  }
  if (shape.any_lengths && extents(shape) == 0)
    return fmt::format("the blocks of {} have one length", name_of(shape.collective));
  if (shape.scratch_slots > kMostSlots)
    return fmt::format("{} scratch slots, most {}", shape.scratch_slots, kMostSlots);
  return {};
}

}  // namespace

uint32_t rank_input_blocks(const Shape& shape, uint32_t rank) {
  return gives_from_root(shape.collective) && rank != shape.root ? 0 : input_blocks(shape);
}

uint32_t rank_output_blocks(const Shape& shape, uint32_t rank) {
  return takes_to_root(shape.collective) && rank != shape.root ? 0 : output_blocks(shape);
}

std::optional<Violation> check_shape(const Shape& shape) {
  std::string fault = shape_fault(shape);
  if (fault.empty()) return std::nullopt;
  return Violation{"bounds", 0, 0, 0, std::move(fault)};
}

VerifyResult check_part(const Shape& shape, const Part& part) {
  std::optional<Violation> violation = check_shape(shape);
  if (!violation && part.rank >= shape.nranks) {
    violation = Violation{"bounds", part.rank, 0, 0, fmt::format("rank {} of {}", part.rank, shape.nranks)};
  }
  if (!violation) violation = PartChecker(shape, part).run();
  if (!violation) return {};
  return {false, *std::move(violation)};
}

}  // namespace comity::plan
