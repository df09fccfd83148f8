#include "src/plan/print.h"

#include <fmt/core.h>

#include <algorithm>

namespace comity::plan {
namespace {

std::string_view name_of(Space space) {
  switch (space) {
    case Space::kInput:
      return "in";
    case Space::kOutput:
      return "out";
    case Space::kScratch:
      return "scratch";
    case Space::kReceived:
      return "recv";
  }
  return "?";
}

std::string join(const std::vector<ChunkRun>& runs, std::string_view separator) {
  std::string text;
  for (const ChunkRun& run : runs) {
    if (!text.empty()) text += separator;
    text += describe(run);
  }
  return text.empty() ? "nothing" : text;
}

std::string after_text(const Step& step) {
  std::string text;
  for (const After& after : step.after) {
    text += fmt::format("{}{}.{}{}", text.empty() ? "" : " ", after.lane, after.step,
                        after.in_place_only ? "*" : "");
  }
  return text;
}

std::string shape_text(const Shape& shape) {
  constexpr size_t kMostWeights = 16;
  std::string weights;
  for (size_t i = 0; i < std::min(shape.weights.size(), kMostWeights); ++i) {
    weights += fmt::format("{}{}", i == 0 ? "" : " ", shape.weights[i]);
  }
  if (shape.weights.size() > kMostWeights) weights += " ...";
  const bool rooted = is_rooted(shape.collective);
  constexpr std::string_view kPlacements[] = {"in and out of place", "out of place only", "in place only"};
  const auto placement = std::min<size_t>(static_cast<size_t>(shape.placement), 2);
  const bool known = static_cast<int>(shape.collective) < kCollectiveCount;
  return fmt::format(
      "{} {}, {} rank{}{}, {}{}\n{} chunk{} of weight {}; {} scratch slot{}; window {}; tile {}\n",
      known ? comity::name_of(shape.collective) : "?", shape.algorithm, shape.nranks,
      shape.nranks == 1 ? "" : "s", rooted ? fmt::format(", root {}", shape.root) : "",
      kPlacements[placement], shape.any_lengths ? ", blocks of any lengths" : "", shape.weights.size(),
      shape.weights.size() == 1 ? "" : "s", weights, shape.scratch_slots, shape.scratch_slots == 1 ? "" : "s",
      shape.window,
      shape.tile_bytes >= kWholeBlock ? "the whole block" : fmt::format("{} bytes", shape.tile_bytes));
}

void group_text(const Part& part, std::string& text) {
  for (size_t i = 0; i < part.groups.size(); ++i) {
    const Group& group = part.groups[i];
    const bool known = static_cast<int>(group.collective) < kCollectiveCount;
    text += fmt::format("  group {}: {} of", i, known ? comity::name_of(group.collective) : "?");
    for (const uint32_t member : group.members) text += fmt::format(" {}", member);
    text += fmt::format(", root {}{}, else:\n", group.root, group.last ? ", last" : "");
    for (size_t step = 0; step < group.definition.size(); ++step) {
      text += fmt::format("    {:>4}  {:<44}  {}\n", step, describe(group.definition[step]),
                          after_text(group.definition[step]));
    }
  }
}

void part_text(const Part& part, std::string& text) {
  text += fmt::format("rank {}\n", part.rank);
  size_t width = 4;
  for (const Lane& lane : part.lanes) {
    for (const Step& step : lane.steps) width = std::max(width, describe(step).size());
  }
  text += fmt::format("  {:>4}  {:>4}  {:<{}}  after\n", "lane", "step", "does", width);
  for (size_t lane = 0; lane < part.lanes.size(); ++lane) {
    for (size_t index = 0; index < part.lanes[lane].steps.size(); ++index) {
      const Step& step = part.lanes[lane].steps[index];
      std::string line =
          fmt::format("  {:>4}  {:>4}  {:<{}}  {}", lane, index, describe(step), width, after_text(step));
      line.erase(line.find_last_not_of(' ') + 1);
      text += line + "\n";
    }
  }
  group_text(part, text);
}

}  // namespace

std::string describe(const ChunkRun& run) {
  if (run.count == 1) return fmt::format("{}[{}:{}]", name_of(run.space), run.block, run.first);
  return fmt::format("{}[{}:{}..{}]", name_of(run.space), run.block, run.first,
                     uint64_t{run.first} + run.count - (run.count > 0 ? 1 : 0));
}

std::string describe(const Step& step) {
  switch (step.kind) {
    case StepKind::kSend:
      return fmt::format("send {} -> {}", join(step.src, " "), step.peer);
    case StepKind::kRecv:
      return fmt::format("recv {} <- {}", join(step.dst, " "), step.peer);
    case StepKind::kCopy:
      return fmt::format("copy {} -> {}", join(step.src, " "), join(step.dst, " "));
    case StepKind::kReduce:
      return fmt::format("reduce {} -> {}{}", join(step.src, " + "), join(step.dst, " "),
                         step.last ? ", last" : "");
    case StepKind::kGroup:
      return fmt::format("group {}, order {}{}: {} -> {}", step.group, step.order,
                         step.lag == 0 ? "" : fmt::format(" and {} tiles behind", step.lag),
                         join(step.src, " "), join(step.dst, " "));
  }
  return "?";
}

std::string to_text(const Plan& plan, const PrintOptions& options) {
  std::string text = shape_text(plan.shape);
  const size_t printed = std::min<size_t>(plan.parts.size(), options.most_ranks);
  for (size_t i = 0; i < printed; ++i) part_text(plan.parts[i], text);
  if (printed < plan.parts.size()) text += fmt::format("and {} more ranks\n", plan.parts.size() - printed);
  return text;
}

}  // namespace comity::plan
