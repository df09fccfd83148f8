#include <fmt/core.h>
#include <fmt/format.h>

#include <iterator>

#include "src/plan/json.h"
#include "src/plan/json_names.h"

namespace comity::plan {
namespace {

class Writer {
 public:
  std::string run(const Plan& plan) {
    add("{{\"comity_plan\": {},\n \"shape\": ", kJsonVersion);
    shape(plan.shape);
    add(",\n \"parts\": [");
    for (size_t i = 0; i < plan.parts.size(); ++i) {
      add("{}\n  ", i == 0 ? "" : ",");
      part(plan.parts[i]);
    }
    add("]}}\n");
    return std::move(text_);
  }

 private:
  template <typename... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
  }

  void string(std::string_view value) {
    text_ += '"';
    for (const char letter : value) {
      if (letter == '"' || letter == '\\') {
        text_ += '\\';
        text_ += letter;
      } else if (static_cast<unsigned char>(letter) < 0x20) {
        add("\\u{:04x}", static_cast<unsigned>(letter));
      } else {
        text_ += letter;
      }
    }
    text_ += '"';
  }

  void numbers(const std::vector<uint32_t>& values) {
    text_ += '[';
    for (size_t i = 0; i < values.size(); ++i) add("{}{}", i == 0 ? "" : ", ", values[i]);
    text_ += ']';
  }

  void shape(const Shape& shape) {
    add("{{\"algorithm\": ");
    string(shape.algorithm);
    add(", \"collective\": \"{}\", \"nranks\": {}, \"root\": {}, \"weights\": ",
        comity::name_of(shape.collective), shape.nranks, shape.root);
    numbers(shape.weights);
    add(", \"scratch_slots\": {}, \"window\": {}, \"tile_bytes\": ", shape.scratch_slots, shape.window);
    if (shape.tile_bytes == kWholeBlock) {
      add("\"whole_block\"");
    } else {
      add("{}", shape.tile_bytes);
    }
    add(", \"placement\": \"{}\"{}}}", kPlacementNames[static_cast<size_t>(shape.placement)],
        shape.any_lengths ? ", \"any_lengths\": true" : "");
  }

  void part(const Part& part) {
    add("{{\"rank\": {}, \"lanes\": [", part.rank);
    for (size_t i = 0; i < part.lanes.size(); ++i) {
      add("{}\n   {{\"steps\": ", i == 0 ? "" : ",");
      steps(part.lanes[i].steps);
      text_ += '}';
    }
    text_ += ']';
    if (!part.groups.empty()) {
      add(", \"groups\": [");
      for (size_t i = 0; i < part.groups.size(); ++i) {
        add("{}\n   ", i == 0 ? "" : ",");
        group(part.groups[i]);
      }
      text_ += ']';
    }
    text_ += '}';
  }

  void group(const Group& group) {
    add("{{\"collective\": \"{}\", \"members\": ", comity::name_of(group.collective));
    numbers(group.members);
    add(", \"root\": {}, \"last\": {}{}, \"definition\": ", group.root, group.last,
        group.partial ? ", \"partial\": true" : "");
    steps(group.definition);
    text_ += '}';
  }

  void steps(const std::vector<Step>& steps) {
    text_ += '[';
    for (size_t i = 0; i < steps.size(); ++i) {
      add("{}\n    ", i == 0 ? "" : ",");
      step(steps[i]);
    }
    text_ += ']';
  }

  void step(const Step& step) {
    add("{{\"kind\": \"{}\"", kKindNames[static_cast<size_t>(step.kind)]);
    if (step.peer != 0 || step.kind == StepKind::kSend || step.kind == StepKind::kRecv)
      add(", \"peer\": {}", step.peer);
    if (step.group != 0 || step.kind == StepKind::kGroup) add(", \"group\": {}", step.group);
    if (step.order != 0 || step.kind == StepKind::kGroup) add(", \"order\": {}", step.order);
    if (step.lag != 0) add(", \"lag\": {}", step.lag);
    if (!step.src.empty()) runs("src", step.src);
    if (!step.dst.empty()) runs("dst", step.dst);
    if (!step.after.empty()) {
      add(", \"after\": [");
      for (size_t i = 0; i < step.after.size(); ++i) {
        const After& after = step.after[i];
        add("{}{{\"lane\": {}, \"step\": {}{}}}", i == 0 ? "" : ", ", after.lane, after.step,
            after.in_place_only ? ", \"in_place_only\": true" : "");
      }
      text_ += ']';
    }
    if (step.extent != kImplied) add(", \"extent\": {}", step.extent);
    if (step.last) add(", \"last\": true");
    text_ += '}';
  }

  void runs(std::string_view name, const std::vector<ChunkRun>& runs) {
    add(", \"{}\": [", name);
    for (size_t i = 0; i < runs.size(); ++i) {
      const ChunkRun& run = runs[i];
      add("{}{{\"space\": \"{}\", \"block\": {}, \"first\": {}, \"count\": {}{}}}", i == 0 ? "" : ", ",
          kSpaceNames[static_cast<size_t>(run.space)], run.block, run.first, run.count,
          run.partial ? ", \"partial\": true" : "");
    }
    text_ += ']';
  }

  std::string text_;
};

}  // namespace

std::string to_json(const Plan& plan) {
  return Writer().run(plan);
}

}  // namespace comity::plan
