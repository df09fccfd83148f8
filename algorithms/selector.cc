#include "algorithms/selector.h"

#include <fmt/core.h>

#include <bit>
#include <optional>

#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "src/base/text.h"
#include "src/plan/extents.h"

namespace comity::algorithms {
namespace {

// Block lengths by bit width: 0, then [2^(w-1), 2^w - 1].
constexpr uint64_t least_of(uint32_t width) {
  return width == 0 ? 0 : uint64_t{1} << (width - 1);
}
constexpr uint64_t most_of(uint32_t width) {
  return width == 64 ? UINT64_MAX : (uint64_t{1} << width) - 1;
}

// Collectives and their v-variants.
constexpr int kPlannedCount = static_cast<int>(Collective::kScatterV) + 1;

using Forced = const Algorithm* [kPlannedCount];

std::string collective_names() {
  std::string names;
  for (int c = 0; c < kPlannedCount; ++c) {
    names += fmt::format("{}{}", c == 0 ? "" : ", ", name_of(static_cast<Collective>(c)));
  }
  return names;
}

std::optional<Collective> collective_named(std::string_view name) {
  for (int c = 0; c < kPlannedCount; ++c) {
    if (name_of(static_cast<Collective>(c)) == name) return static_cast<Collective>(c);
  }
  return std::nullopt;
}

Status refuse(std::string_view item, const std::string& why) {
  return Status(Code::kInvalidArgument, fmt::format("COMITY_ALGO: '{}' {}", item, why));
}

bool serves_any_lengths(const Algorithm& algorithm, const topology::Topology& topology) {
  return algorithm.shape({&topology, 0, 0}).any_lengths;
}

bool is_balanced(const Algorithm& algorithm, const topology::Topology& topology) {
  return algorithm.balanced != nullptr && algorithm.balanced(topology);
}

// Why it may not carry out the collective; empty if it may.
std::string_view objection(const Algorithm& algorithm, const topology::Topology& topology,
                           Collective collective, const Rules& rules) {
  if (!algorithm.applies(topology)) return "does not apply";
  if (is_varying(collective) && !serves_any_lengths(algorithm, topology))
    return "does not serve blocks of different lengths and so does not apply";
  if (rules.deterministic && is_reduction(collective) && !is_balanced(algorithm, topology))
    return "does not fold by the balanced tree that COMITY_DETERMINISTIC asks for and so does not apply";
  if (algorithm.least_lanes > rules.max_lanes)
    return "takes more lanes than COMITY_MAX_LANES allows and so does not apply";
  return {};
}

// One "collective:algorithm" into `forced`.
Status force(const topology::Topology& topology, std::string_view item, const Rules& rules, Forced& forced) {
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
  const Collective base = planned_as(*collective);
  const Algorithm* algorithm = find(base, name);
  if (algorithm == nullptr) {
    return refuse(item,
                  fmt::format("names no algorithm of {}: '{}'; there are {}", left, name, names_of(base)));
  }
  if (const std::string_view why = objection(*algorithm, topology, *collective, rules); !why.empty()) {
    return refuse(item, fmt::format("{} to {} ranks in {} groups; {} has {}", why, topology.nranks(),
                                    topology.ngroups(), left, names_of(base)));
  }
  const Algorithm*& place = forced[static_cast<int>(*collective)];
  if (place != nullptr && place != algorithm) {
    return refuse(item,
                  fmt::format("forces {} again, after {}; name each collective once", left, place->name));
  }
  place = algorithm;
  return {};
}

Status parse(const topology::Topology& topology, std::string_view text, const Rules& rules, Forced& forced) {
  for (const std::string_view item : split_list(text))
    COMITY_RETURN_IF_ERROR(force(topology, item, rules, forced));
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

// What one rank sends of an element whose partial results are rounded, and how much longer fp32 makes it.
constexpr uint64_t fp32_factor(Partials partials) {
  return partials == Partials::kRounded16 ? 2 : partials == Partials::kRounded8 ? 4 : 1;
}

// An algorithm, and whether its plan is in fp32.
struct Candidate {
  const Algorithm* algorithm = nullptr;
  bool in_fp32 = false;
  uint32_t roundings = 0;
  uint64_t cost_ns = 0;
};

using Applying = std::vector<const Algorithm*>;

// In the table's order.
Applying applying_to(const topology::Topology& topology, Collective collective, const Rules& rules) {
  Applying applying;
  for (const Algorithm& algorithm : all()) {
    if (algorithm.collective != planned_as(collective)) continue;
    if (algorithm.for_balanced && !rules.deterministic) continue;
    if (objection(algorithm, topology, collective, rules).empty()) applying.push_back(&algorithm);
  }
  return applying;
}

struct Choice {
  Candidate best, next;
  void consider(const Candidate& candidate) {
    // Of equals the group: its provider carries it out with less than any steps cost.
    const bool better = candidate.cost_ns < best.cost_ns ||
                        (candidate.cost_ns == best.cost_ns && candidate.algorithm->uses_groups);
    if (best.algorithm == nullptr || better) {
      next = best;
      best = candidate;
    } else if (next.algorithm == nullptr || candidate.cost_ns < next.cost_ns) {
      next = candidate;
    }
  }
};

uint32_t roundings_of_level(uint64_t members) {
  return members <= 1 ? 0 : members <= kManyMembers ? 1 : ceil_log2(members);
}

// What is priced, and for whom.
struct Asked {
  const topology::Topology& topology;
  const Grouping& grouping;
  Partials partials;
  const Rules& rules;
};

class Chooser {
 public:
  Chooser(const Asked& asked, uint64_t block_bytes)
      : topology_(asked.topology),
        grouping_(asked.grouping),
        partials_(asked.partials),
        rules_(asked.rules),
        allowed_(rules_.accumulate == Accumulate::kFp32
                     ? 1
                     : roundings_of_level(grouping_.local) + roundings_of_level(grouping_.groups)),
        block_bytes_(block_bytes) {}

  // Partial results rounded to the type, where they are any; or in fp32, images to be made of all blocks.
  Candidate candidate(const Algorithm& algorithm, bool in_fp32) const {
    Range range;
    range.in_fp32 = in_fp32;
    range.max_lanes = rules_.max_lanes;
    const Request request = request_for(range, topology_, partials_, 0, block_bytes_, &grouping_);
    Candidate made{&algorithm, in_fp32, 0, algorithm.cost_ns(request)};
    if (partials_ == Partials::kExact) return made;
    made.roundings = in_fp32 ? 1 : algorithm.roundings(request);
    if (in_fp32) made.cost_ns += narrow_ns(2 * Figures(request).reduce_ns(request.block_bytes));
    return made;
  }

  // The cheapest of those that apply and round no more than they may; the earlier in the table on a tie.
  // One that rounds once is worth a sixteenth more, and of short blocks whatever it costs. Where the same
  // bits are asked for, the nodes of the tree are in fp32.
  Choice cheapest(const Applying& applying) const {
    Choice any, once;
    for (const Algorithm* const each : applying) {
      const Algorithm& algorithm = *each;
      if (algorithm.for_narrow && partials_ == Partials::kExact) continue;
      if (rules_.deterministic && partials_ != Partials::kExact) {
        any.consider(candidate(algorithm, true));
        continue;
      }
      const Candidate native = candidate(algorithm, false);
      if (native.roundings <= allowed_) any.consider(native);
      if (native.roundings <= 1) once.consider(native);
      if (native.roundings <= 1) continue;
      any.consider(candidate(algorithm, true));
      once.consider(candidate(algorithm, true));
    }
    if (once.best.algorithm == nullptr) return any;
    const bool pays =
        block_bytes_ < kExactBytes || once.best.cost_ns <= any.best.cost_ns + any.best.cost_ns / 16;
    return pays ? once : any;
  }

  // As it is, if that rounds no more than once or may round more.
  Candidate forced(const Algorithm& algorithm) const {
    const Candidate native = candidate(algorithm, false);
    const bool as_it_is =
        partials_ == Partials::kExact ||
        (!rules_.deterministic && (native.roundings <= 1 || rules_.accumulate == Accumulate::kByLevel));
    return as_it_is ? native : candidate(algorithm, true);
  }

 private:
  const topology::Topology& topology_;
  const Grouping& grouping_;
  Partials partials_;
  const Rules& rules_;
  uint32_t allowed_;
  uint64_t block_bytes_;
};

std::string label(const Candidate& candidate) {
  return fmt::format("{}{}", candidate.algorithm->name, candidate.in_fp32 ? " in fp32" : "");
}

std::string reason(const Choice& choice) {
  const std::string predicted = "predicted " + time_text(choice.best.cost_ns);
  if (choice.next.algorithm == nullptr) return predicted + "; the only one that applies";
  return fmt::format("{}; next best {} {}", predicted, label(choice.next), time_text(choice.next.cost_ns));
}

std::string rounding_text(const Candidate& candidate) {
  if (candidate.in_fp32) return ", in fp32, rounded once";
  if (candidate.roundings == 0) return "";
  return candidate.roundings == 1 ? ", rounded once"
                                  : fmt::format(", rounded {} times at most", candidate.roundings);
}

Range range_of(const Candidate& candidate, std::string why) {
  Range range;
  range.algorithm = candidate.algorithm;
  range.cost_ns = candidate.cost_ns;
  range.in_fp32 = candidate.in_fp32;
  range.roundings = candidate.roundings;
  range.why = std::move(why) + rounding_text(candidate);
  return range;
}

Range range_at(const Chooser& chooser, const Applying& applying, const Algorithm* forced) {
  if (forced != nullptr) {
    const Candidate candidate = chooser.forced(*forced);
    return range_of(candidate, "forced by COMITY_ALGO; predicted " + time_text(candidate.cost_ns));
  }
  const Choice choice = chooser.cheapest(applying);
  return choice.best.algorithm == nullptr ? Range() : range_of(choice.best, reason(choice));
}

}  // namespace

Result<Accumulate> accumulate_named(std::string_view text) {
  if (text.empty()) return Accumulate::kByLevel;
  if (text == "fp32") return Accumulate::kFp32;
  return Status(Code::kInvalidArgument,
                fmt::format("COMITY_ACCUMULATE=\"{}\" is neither fp32 nor empty", text));
}

uint32_t roundings_allowed(const topology::Topology& topology) {
  const Grouping grouping(topology);
  return roundings_of_level(grouping.local) + roundings_of_level(grouping.groups);
}

Request request_for(const Range& range, const topology::Topology& topology, Partials partials, uint32_t root,
                    uint64_t block_bytes, const Grouping* grouping) {
  Request request{&topology, root, block_bytes, grouping};
  request.narrow = partials != Partials::kExact;
  request.max_lanes = range.max_lanes;
  const uint64_t factor = range.in_fp32 ? fp32_factor(partials) : 1;
  request.block_bytes = block_bytes > UINT64_MAX / factor ? UINT64_MAX : block_bytes * factor;
  return request;
}

Result<Selection> Selection::make(const topology::Topology& topology, std::string_view forced_text,
                                  const Rules& rules) {
  if (topology.nranks() == 0)
    return Status(Code::kInvalidArgument, "the selector needs a topology with ranks");
  Forced forced = {};
  COMITY_RETURN_IF_ERROR(parse(topology, forced_text, rules, forced));
  Selection selection;
  selection.deterministic_ = rules.deterministic;
  const Grouping grouping(topology);
  for (int c = 0; c < kPlannedCount; ++c) {
    const auto collective = static_cast<Collective>(c);
    for (int p = 0; p < (is_reduction(collective) ? kPartialsCount : 1); ++p) {
      COMITY_RETURN_IF_ERROR(
          selection.fill(topology, grouping, collective, static_cast<Partials>(p), forced[c], rules));
    }
  }
  return selection;
}

Status Selection::fill(const topology::Topology& topology, const Grouping& grouping, Collective collective,
                       Partials partials, const Algorithm* forced, const Rules& rules) {
  const Asked asked{topology, grouping, partials, rules};
  const Applying applying = applying_to(topology, collective, rules);
  const bool one_for_all = is_varying(collective) && !plan::all_lengths_are_given(collective);
  Table& table = tables_[static_cast<int>(collective)][static_cast<int>(partials)];
  plan::Shape shape;
  for (uint32_t width = 0; width < kWidths; ++width) {
    const uint64_t least = one_for_all ? kVaryingBytes : least_of(width);
    Range range = range_at(Chooser(asked, least), applying, forced);
    if (range.algorithm == nullptr) {
      return Status(Code::kInternalError,
                    fmt::format("no algorithm for {} applies to {} ranks in {} groups{}", name_of(collective),
                                topology.nranks(), topology.ngroups(),
                                rules.deterministic ? " and gives the same bits everywhere" : ""));
    }
    range.max_lanes = rules.max_lanes;
    plan::Shape next_shape =
        range.algorithm->shape(request_for(range, topology, partials, 0, least, &grouping));
    const Range* before = table.ranges.empty() ? nullptr : &table.ranges.back();
    if (before == nullptr || before->algorithm != range.algorithm || before->in_fp32 != range.in_fp32 ||
        before->roundings != range.roundings || next_shape != shape) {
      range.min_bytes = least_of(width);
      table.ranges.push_back(std::move(range));
      shape = std::move(next_shape);
    }
    table.ranges.back().max_bytes = most_of(width);
    table.index[width] = static_cast<uint8_t>(table.ranges.size() - 1);
  }
  return {};
}

const Range& Selection::pick(Collective collective, uint64_t block_bytes, Partials partials) const {
  const Table& its = table(collective, partials);
  return its.ranges[its.index[std::bit_width(block_bytes)]];
}

const std::vector<Range>& Selection::ranges(Collective collective, Partials partials) const {
  return table(collective, partials).ranges;
}

std::string Selection::describe() const {
  constexpr std::string_view kKinds[kPartialsCount] = {"", " 16 bit", " 8 bit"};
  std::string text = deterministic_ ? "reductions by the balanced tree over ranks alone\n" : "";
  for (int c = 0; c < kPlannedCount; ++c) {
    for (int p = 0; p < kPartialsCount; ++p) {
      const std::string name = std::string(name_of(static_cast<Collective>(c))) + std::string(kKinds[p]);
      for (const Range& range : tables_[c][p].ranges) {
        const std::string end = range.max_bytes == UINT64_MAX ? "" : std::to_string(range.max_bytes);
        text += fmt::format("{:<21} {:>20}..{:<20} {:<18} {}\n", name, range.min_bytes, end,
                            range.algorithm->name, range.why);
      }
    }
  }
  return text;
}

}  // namespace comity::algorithms
