#include "algorithms/selector.h"

#include <fmt/core.h>

#include <bit>
#include <optional>

#include "algorithms/cost.h"
#include "src/base/text.h"

namespace comity::algorithms {
namespace {

// Block lengths by bit width: 0, then [2^(w-1), 2^w - 1].
constexpr uint32_t kWidths = 65;
constexpr uint64_t least_of(uint32_t width) {
  return width == 0 ? 0 : uint64_t{1} << (width - 1);
}
constexpr uint64_t most_of(uint32_t width) {
  return width == 64 ? UINT64_MAX : (uint64_t{1} << width) - 1;
}

using Forced = const Algorithm* [kCollectiveCount];

std::string collective_names() {
  std::string names;
  for (int c = 0; c < kCollectiveCount; ++c) {
    names += fmt::format("{}{}", c == 0 ? "" : ", ", name_of(static_cast<Collective>(c)));
  }
  return names;
}

std::optional<Collective> collective_named(std::string_view name) {
  for (int c = 0; c < kCollectiveCount; ++c) {
    if (name_of(static_cast<Collective>(c)) == name) return static_cast<Collective>(c);
  }
  return std::nullopt;
}

Status refuse(std::string_view item, const std::string& why) {
  return Status(Code::kInvalidArgument, fmt::format("COMITY_ALGO: '{}' {}", item, why));
}

// One "collective:algorithm" into `forced`.
Status force(const topology::Topology& topology, std::string_view item, Forced& forced) {
  const size_t colon = item.find(':');
  if (colon == std::string_view::npos) {
    return refuse(item, "is not of the form collective:algorithm, like all_reduce:ring");
  }
  const std::string_view left = trimmed(item.substr(0, colon));
  const std::string_view name = trimmed(item.substr(colon + 1));
  const std::optional<Collective> collective = collective_named(left);
  if (!collective) {
    return refuse(item, fmt::format("names no collective: '{}'; there are {}", left, collective_names()));
  }
  const Algorithm* algorithm = find(*collective, name);
  if (algorithm == nullptr) {
    return refuse(
        item, fmt::format("names no algorithm of {}: '{}'; there are {}", left, name, names_of(*collective)));
  }
  if (!algorithm->applies(topology)) {
    return refuse(item, fmt::format("does not apply to {} ranks in {} groups; {} has {}", topology.nranks(),
                                    topology.ngroups(), left, names_of(*collective)));
  }
  const Algorithm*& place = forced[static_cast<int>(*collective)];
  if (place != nullptr && place != algorithm) {
    return refuse(item,
                  fmt::format("forces {} again, after {}; name each collective once", left, place->name));
  }
  place = algorithm;
  return {};
}

Status parse(const topology::Topology& topology, std::string_view text, Forced& forced) {
  for (const std::string_view item : split_list(text)) COMITY_RETURN_IF_ERROR(force(topology, item, forced));
  return {};
}

// "850 ns", "4.2 us", "31.0 ms", "2.5 s", by integers.
std::string time_text(uint64_t time_ns) {
  if (time_ns < 1000) return fmt::format("{} ns", time_ns);
  constexpr const char* kUnits[] = {"us", "ms", "s"};
  uint64_t unit_ns = 1000;
  int unit = 0;
  while (unit < 2 && time_ns / 1000 >= unit_ns) {
    unit_ns *= 1000;
    ++unit;
  }
  return fmt::format("{}.{} {}", time_ns / unit_ns, time_ns % unit_ns / (unit_ns / 10), kUnits[unit]);
}

struct Choice {
  const Algorithm* best = nullptr;
  const Algorithm* next = nullptr;
  uint64_t best_ns = 0;
  uint64_t next_ns = 0;
};

using Applying = std::vector<const Algorithm*>;

// In the table's order.
Applying applying_to(const topology::Topology& topology, Collective collective) {
  Applying applying;
  for (const Algorithm& algorithm : all()) {
    if (algorithm.collective == collective && algorithm.applies(topology)) applying.push_back(&algorithm);
  }
  return applying;
}

// The two cheapest; the earlier in the table on a tie.
Choice cheapest(const Request& request, const Applying& applying) {
  Choice choice;
  for (const Algorithm* const each : applying) {
    const Algorithm& algorithm = *each;
    const uint64_t cost_ns = algorithm.cost_ns(request);
    // Of equals the group: its provider carries it out with less than any steps cost.
    const bool better = cost_ns < choice.best_ns || (cost_ns == choice.best_ns && algorithm.uses_groups);
    if (choice.best == nullptr || better) {
      choice.next = choice.best;
      choice.next_ns = choice.best_ns;
      choice.best = &algorithm;
      choice.best_ns = cost_ns;
    } else if (choice.next == nullptr || cost_ns < choice.next_ns) {
      choice.next = &algorithm;
      choice.next_ns = cost_ns;
    }
  }
  return choice;
}

std::string reason(const Choice& choice) {
  const std::string predicted = "predicted " + time_text(choice.best_ns);
  if (choice.next == nullptr) return predicted + "; the only one that applies";
  return fmt::format("{}; next best {} {}", predicted, choice.next->name, time_text(choice.next_ns));
}

Range range_at(const Request& request, const Applying& applying, const Algorithm* forced) {
  Range range;
  if (forced != nullptr) {
    range.algorithm = forced;
    range.cost_ns = forced->cost_ns(request);
    range.why = "forced by COMITY_ALGO; predicted " + time_text(range.cost_ns);
    return range;
  }
  const Choice choice = cheapest(request, applying);
  range.algorithm = choice.best;
  range.cost_ns = choice.best_ns;
  if (choice.best != nullptr) range.why = reason(choice);
  return range;
}

}  // namespace

Result<Selection> Selection::make(const topology::Topology& topology, std::string_view forced_text) {
  if (topology.nranks() == 0)
    return Status(Code::kInvalidArgument, "the selector needs a topology with ranks");
  Forced forced = {};
  COMITY_RETURN_IF_ERROR(parse(topology, forced_text, forced));
  Selection selection;
  const Grouping grouping(topology);
  for (int c = 0; c < kCollectiveCount; ++c) {
    std::vector<Range>& ranges = selection.ranges_[c];
    plan::Shape shape;
    const Applying applying = applying_to(topology, static_cast<Collective>(c));
    for (uint32_t width = 0; width < kWidths; ++width) {
      const Request request{&topology, 0, least_of(width), &grouping};
      Range range = range_at(request, applying, forced[c]);
      if (range.algorithm == nullptr) {
        return Status(
            Code::kInternalError,
            fmt::format("no algorithm for {} applies to {} ranks in {} groups",
                        name_of(static_cast<Collective>(c)), topology.nranks(), topology.ngroups()));
      }
      plan::Shape next_shape = range.algorithm->shape(request);
      if (ranges.empty() || ranges.back().algorithm != range.algorithm || next_shape != shape) {
        range.min_bytes = least_of(width);
        ranges.push_back(std::move(range));
        shape = std::move(next_shape);
      }
      ranges.back().max_bytes = most_of(width);
      selection.index_[c][width] = static_cast<uint8_t>(ranges.size() - 1);
    }
  }
  return selection;
}

uint32_t Selection::pick_index(Collective collective, uint64_t block_bytes) const {
  return index_[static_cast<int>(collective)][std::bit_width(block_bytes)];
}

const Range& Selection::pick(Collective collective, uint64_t block_bytes) const {
  return ranges_[static_cast<int>(collective)][pick_index(collective, block_bytes)];
}

const std::vector<Range>& Selection::ranges(Collective collective) const {
  return ranges_[static_cast<int>(collective)];
}

std::string Selection::describe() const {
  std::string text;
  for (int c = 0; c < kCollectiveCount; ++c) {
    for (const Range& range : ranges_[c]) {
      const std::string end = range.max_bytes == UINT64_MAX ? "" : std::to_string(range.max_bytes);
      text += fmt::format("{:<14} {:>20}..{:<20} {:<18} {}\n", name_of(static_cast<Collective>(c)),
                          range.min_bytes, end, range.algorithm->name, range.why);
    }
  }
  return text;
}

}  // namespace comity::algorithms
