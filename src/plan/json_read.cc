#include <fmt/core.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>

#include "src/plan/checks.h"
#include "src/plan/json.h"
#include "src/plan/json_names.h"

namespace comity::plan {
namespace {

using Json = nlohmann::json;

constexpr size_t kMostText = size_t{64} << 20;
constexpr int kDeepest = 16;
constexpr uint32_t kMostReadRanks = 65536;
constexpr uint64_t kMostReadSteps = uint64_t{16} << 20;

constexpr std::string_view kCollectiveNames[] = {
    name_of(Collective::kAllReduce), name_of(Collective::kReduce),        name_of(Collective::kBroadcast),
    name_of(Collective::kAllGather), name_of(Collective::kReduceScatter), name_of(Collective::kBarrier),
    name_of(Collective::kAllToAll),  name_of(Collective::kGather),        name_of(Collective::kScatter)};
static_assert(std::size(kCollectiveNames) == kCollectiveCount);

// Where in the document: written out only for an error.
struct Place {
  const Place* parent = nullptr;
  std::string_view name;  // or
  size_t index = 0;

  std::string text() const {
    if (parent == nullptr) return {};
    const std::string before = parent->text();
    if (name.empty()) return fmt::format("{}[{}]", before, index);
    return before.empty() ? std::string(name) : fmt::format("{}.{}", before, name);
  }
};

bool too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char letter = text[i];
    if (in_string) {
      if (letter == '\\') ++i;
      if (letter == '"') in_string = false;
    } else if (letter == '"') {
      in_string = true;
    } else if (letter == '[' || letter == '{') {
      if (++depth > kDeepest) return true;
    } else if (letter == ']' || letter == '}') {
      --depth;
    }
  }
  return false;
}

class Reader {
 public:
  Result<Plan> run(std::string_view text) {
    Plan plan;
    Json document;
    if (parse(text, document)) read_plan(document, plan);
    if (error_) return *error_;
    return plan;
  }

 private:
  bool fail(const Place& at, const std::string& why) {
    if (!error_) {
      const std::string where = at.text();
      error_ = Status(Code::kInvalidArgument, where.empty() ? why : fmt::format("{}: {}", where, why));
    }
    return false;
  }

  bool parse(std::string_view text, Json& document) {
    const Place root;
    if (text.size() > kMostText)
      return fail(root, fmt::format("{} bytes of JSON, most {}", text.size(), kMostText));
    if (too_deep(text)) return fail(root, fmt::format("nested deeper than {}", kDeepest));
    std::vector<std::set<std::string>> keys;
    std::string twice;
    const auto watch = [&](int, Json::parse_event_t event, Json& value) {
      if (event == Json::parse_event_t::object_start) keys.emplace_back();
      if (event == Json::parse_event_t::object_end) keys.pop_back();
      if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second) {
        twice = value.get<std::string>();
      }
      return true;
    };
    document = Json::parse(text.begin(), text.end(), watch);
    return twice.empty() || fail(root, fmt::format("the field \"{}\" is twice in one object", twice));
  }

  bool object(const Json& value, const Place& at, std::span<const std::string_view> fields) {
    if (!value.is_object()) return fail(at, "is not an object");
    for (auto field = value.begin(); field != value.end(); ++field) {
      if (std::find(fields.begin(), fields.end(), field.key()) == fields.end()) {
        return fail(at, fmt::format("the field \"{}\" is unknown", field.key().substr(0, 64)));
      }
    }
    return true;
  }

  // The field, or null and, if it is required, an error.
  const Json* field(const Json& value, const Place& at, const char* name, bool required) {
    const auto found = value.find(name);
    if (found != value.end()) return &*found;
    if (required) fail(at, fmt::format("the field \"{}\" is missing", name));
    return nullptr;
  }

  template <typename T>
  bool number(const Json& value, const Place& parent, const char* name, bool required, uint64_t most, T& to) {
    const Json* found = field(value, parent, name, required);
    if (found == nullptr) return !required;
    const Place at{&parent, name};
    uint64_t read = 0;
    if (!whole(*found, at, read)) return false;
    if (read > most) return fail(at, fmt::format("{} is more than {}", read, most));
    to = static_cast<T>(read);
    return true;
  }

  bool whole(const Json& value, const Place& at, uint64_t& to) {
    if (!value.is_number_unsigned()) return fail(at, "is not a whole number of at least 0");
    to = value.get<uint64_t>();
    return true;
  }

  bool flag(const Json& value, const Place& parent, const char* name, bool required, bool& to) {
    const Json* found = field(value, parent, name, required);
    if (found == nullptr) return !required;
    if (!found->is_boolean()) return fail({&parent, name}, "is neither true nor false");
    to = found->get<bool>();
    return true;
  }

  template <typename Enum>
  bool word(const Json& value, const Place& parent, const char* name, std::span<const std::string_view> words,
            Enum& to) {
    const Json* found = field(value, parent, name, true);
    if (found == nullptr) return false;
    const Place at{&parent, name};
    if (!found->is_string()) return fail(at, "is not a string");
    const auto& text = found->get_ref<const std::string&>();
    const auto match = std::find(words.begin(), words.end(), text);
    if (match != words.end()) {
      to = static_cast<Enum>(match - words.begin());
      return true;
    }
    std::string known;
    for (const std::string_view each : words) known += (known.empty() ? "" : ", ") + std::string(each);
    return fail(at, fmt::format("\"{}\" is none of {}", text.substr(0, 64), known));
  }

  // Calls read(element, place, target) for each element of an array.
  template <typename T, typename Read>
  bool array(const Json& value, const Place& parent, const char* name, bool required, size_t most,
             std::vector<T>& to, Read read) {
    const Json* found = field(value, parent, name, required);
    if (found == nullptr) return !required;
    const Place at{&parent, name};
    if (!found->is_array()) return fail(at, "is not an array");
    if (found->size() > most) return fail(at, fmt::format("{} entries, most {}", found->size(), most));
    to.reserve(found->size());
    for (size_t i = 0; i < found->size(); ++i) {
      const Place element{&at, {}, i};
      if (!read((*found)[i], element, to.emplace_back())) return false;
    }
    return true;
  }

  bool read_plan(const Json& value, Plan& plan) {
    const Place root;
    if (!value.is_object() || value.find("comity_plan") == value.end())
      return fail(root, "this is no plan: the field \"comity_plan\" is missing");
    uint64_t version = 0;
    if (!number(value, root, "comity_plan", true, UINT64_MAX, version)) return false;
    if (version != kJsonVersion)
      return fail({&root, "comity_plan"},
                  fmt::format("version {} is unknown; this program reads {}", version, kJsonVersion));
    constexpr std::string_view kFields[] = {"comity_plan", "shape", "parts"};
    if (!object(value, root, kFields)) return false;
    const Json* shape = field(value, root, "shape", true);
    if (shape == nullptr || !read_shape(*shape, {&root, "shape"}, plan.shape)) return false;
    nranks_ = plan.shape.nranks;
    if (!array(value, root, "parts", true, nranks_, plan.parts,
               [this](const Json& part, const Place& at, Part& to) { return read_part(part, at, to); })) {
      return false;
    }
    return plan.parts.size() == nranks_ ||
           fail({&root, "parts"}, fmt::format("{} entries for {} ranks", plan.parts.size(), nranks_));
  }

  bool read_shape(const Json& value, const Place& at, Shape& shape) {
    constexpr std::string_view kFields[] = {"algorithm", "collective",    "nranks", "root",
                                            "weights",   "scratch_slots", "window", "tile_bytes",
                                            "placement", "any_lengths"};
    if (!object(value, at, kFields)) return false;
    const Json* name = field(value, at, "algorithm", true);
    if (name == nullptr) return false;
    constexpr size_t kLongestName = 64;
    if (!name->is_string() || name->get_ref<const std::string&>().size() > kLongestName) {
      return fail({&at, "algorithm"}, fmt::format("is not a string of at most {} bytes", kLongestName));
    }
    shape.algorithm = name->get<std::string>();
    shape.weights.clear();
    const auto weight = [this](const Json& element, const Place& place, uint32_t& to) {
      uint64_t read = 0;
      if (!whole(element, place, read)) return false;
      if (read == 0 || read > kMostWeight)
        return fail(place, fmt::format("{} is not 1 to {}", read, kMostWeight));
      to = static_cast<uint32_t>(read);
      return true;
    };
    if (!word(value, at, "collective", kCollectiveNames, shape.collective) ||
        !number(value, at, "nranks", true, kMostReadRanks, shape.nranks) ||
        !number(value, at, "root", true, kMostReadRanks, shape.root) ||
        !array(value, at, "weights", true, kMostChunks, shape.weights, weight) ||
        !number(value, at, "scratch_slots", true, kMostSlots, shape.scratch_slots) ||
        !number(value, at, "window", true, kMaxWindow, shape.window) ||
        !word(value, at, "placement", kPlacementNames, shape.placement) ||
        !flag(value, at, "any_lengths", false, shape.any_lengths)) {
      return false;
    }
    return read_tile(value, at, shape) && check_numbers(at, shape);
  }

  bool read_tile(const Json& value, const Place& at, Shape& shape) {
    const Json* tile = field(value, at, "tile_bytes", true);
    if (tile == nullptr) return false;
    if (tile->is_string() && tile->get_ref<const std::string&>() == "whole_block") {
      shape.tile_bytes = kWholeBlock;
      return true;
    }
    return number(value, at, "tile_bytes", true, kWholeBlock, shape.tile_bytes);
  }

  bool check_numbers(const Place& at, const Shape& shape) {
    if (shape.nranks == 0) return fail({&at, "nranks"}, "0 is not at least 1");
    if (shape.root >= shape.nranks)
      return fail({&at, "root"}, fmt::format("{} is not a rank below {}", shape.root, shape.nranks));
    if (shape.weights.empty()) return fail({&at, "weights"}, "has no entries");
    if (shape.window == 0) return fail({&at, "window"}, "0 is not at least 1");
    if (shape.tile_bytes == 0 || shape.tile_bytes % 64 != 0) {
      return fail({&at, "tile_bytes"}, fmt::format("{} is not a multiple of 64", shape.tile_bytes));
    }
    return true;
  }

  bool read_part(const Json& value, const Place& at, Part& part) {
    constexpr std::string_view kFields[] = {"rank", "lanes", "groups"};
    if (!object(value, at, kFields) || !number(value, at, "rank", true, UINT32_MAX, part.rank)) return false;
    if (part.rank != at.index)
      return fail({&at, "rank"},
                  fmt::format("{} is not {}: parts are in the order of ranks", part.rank, at.index));
    return array(value, at, "lanes", true, kMaxLanes, part.lanes,
                 [this](const Json& lane, const Place& place, Lane& to) {
                   constexpr std::string_view kLane[] = {"steps"};
                   return object(lane, place, kLane) && read_steps(lane, place, "steps", to.steps);
                 }) &&
           array(value, at, "groups", false, kMostReadSteps, part.groups,
                 [this](const Json& group, const Place& place, Group& to) {
                   return read_group(group, place, to);
                 });
  }

  bool read_group(const Json& value, const Place& at, Group& group) {
    constexpr std::string_view kFields[] = {"collective", "members", "root", "last", "partial", "definition"};
    const auto member = [this](const Json& element, const Place& place, uint32_t& to) {
      uint64_t read = 0;
      return whole(element, place, read) && rank(read, place, to);
    };
    return object(value, at, kFields) && word(value, at, "collective", kCollectiveNames, group.collective) &&
           array(value, at, "members", true, nranks_, group.members, member) &&
           number(value, at, "root", true, UINT32_MAX, group.root) &&
           flag(value, at, "last", true, group.last) && flag(value, at, "partial", false, group.partial) &&
           read_steps(value, at, "definition", group.definition);
  }

  bool rank(uint64_t read, const Place& at, uint32_t& to) {
    if (read >= nranks_) return fail(at, fmt::format("{} is not a rank below {}", read, nranks_));
    to = static_cast<uint32_t>(read);
    return true;
  }

  bool read_steps(const Json& value, const Place& at, const char* name, std::vector<Step>& steps) {
    return array(value, at, name, true, kMostReadSteps - steps_, steps,
                 [this](const Json& step, const Place& place, Step& to) {
                   if (++steps_ > kMostReadSteps)
                     return fail(place, fmt::format("more than {} steps in all", kMostReadSteps));
                   return read_step(step, place, to);
                 });
  }

  bool read_step(const Json& value, const Place& at, Step& step) {
    constexpr std::string_view kFields[] = {"kind", "peer",  "src",   "dst", "after",
                                            "last", "group", "order", "lag", "extent"};
    const auto run = [this](const Json& element, const Place& place, ChunkRun& to) {
      return read_run(element, place, to);
    };
    if (!object(value, at, kFields) || !word(value, at, "kind", kKindNames, step.kind)) return false;
    const bool edge = step.kind == StepKind::kSend || step.kind == StepKind::kRecv;
    uint64_t peer = 0;
    if (!number(value, at, "peer", edge, UINT64_MAX, peer) || !rank(peer, {&at, "peer"}, step.peer))
      return false;
    return array(value, at, "src", false, kMostReadRanks, step.src, run) &&
           array(value, at, "dst", false, kMostReadRanks, step.dst, run) &&
           array(value, at, "after", false, kMostReadSteps, step.after,
                 [this](const Json& after, const Place& place, After& to) {
                   constexpr std::string_view kAfter[] = {"lane", "step", "in_place_only"};
                   return object(after, place, kAfter) &&
                          number(after, place, "lane", true, UINT32_MAX, to.lane) &&
                          number(after, place, "step", true, UINT32_MAX, to.step) &&
                          flag(after, place, "in_place_only", false, to.in_place_only);
                 }) &&
           flag(value, at, "last", false, step.last) &&
           number(value, at, "group", step.kind == StepKind::kGroup, UINT32_MAX, step.group) &&
           number(value, at, "order", false, UINT32_MAX, step.order) &&
           number(value, at, "lag", false, UINT32_MAX, step.lag) &&
           number(value, at, "extent", false, UINT32_MAX, step.extent);
  }

  bool read_run(const Json& value, const Place& at, ChunkRun& run) {
    constexpr std::string_view kFields[] = {"space", "block", "first", "count", "partial"};
    return object(value, at, kFields) && word(value, at, "space", kSpaceNames, run.space) &&
           number(value, at, "block", true, UINT32_MAX, run.block) &&
           number(value, at, "first", true, UINT32_MAX, run.first) &&
           number(value, at, "count", true, UINT32_MAX, run.count) &&
           flag(value, at, "partial", false, run.partial);
  }

  std::optional<Status> error_;
  uint32_t nranks_ = 0;
  uint64_t steps_ = 0;
};

}  // namespace

Result<Plan> plan_from_json(std::string_view text) {
  try {
    return Reader().run(text);
  } catch (const nlohmann::json::exception& error) {
    return Status(Code::kInvalidArgument, fmt::format("this is not JSON: {}", error.what()));
  } catch (const std::bad_alloc&) {
    return Status(Code::kInvalidArgument, "the plan does not fit into memory");
  }
}

}  // namespace comity::plan
