#include "src/plan/plan.h"

#include <algorithm>

#include "src/base/hash.h"

namespace comity::plan {
namespace {

constexpr uint64_t kChunkAlignment = 64;

// Where each step of a lane lies once groups are expanded: begin of step i, and the end as the last entry.
std::vector<uint32_t> expanded_begins(const Part& part, const Lane& lane, const std::vector<bool>& kept) {
  std::vector<uint32_t> begins{0};
  begins.reserve(lane.steps.size() + 1);
  for (const Step& step : lane.steps) {
    const bool group = step.kind == StepKind::kGroup && step.group < part.groups.size() && !kept[step.group];
    const size_t length = group ? part.groups[step.group].definition.size() : 1;
    begins.push_back(begins.back() + static_cast<uint32_t>(length));
  }
  return begins;
}

class Expander {
 public:
  Expander(const Part& part, const std::vector<bool>& kept) : part_(part), kept_(kept) {
    for (const Lane& lane : part.lanes) begins_.push_back(expanded_begins(part, lane, kept));
  }

  Part run() const {
    Part result;
    result.rank = part_.rank;
    result.lanes.resize(part_.lanes.size());
    for (uint32_t lane = 0; lane < part_.lanes.size(); ++lane) {
      std::vector<Step>& steps = result.lanes[lane].steps;
      steps.reserve(begins_[lane].back());
      for (uint32_t index = 0; index < part_.lanes[lane].steps.size(); ++index) add(lane, index, steps);
    }
    return result;
  }

 private:
  bool is_group(const Step& step) const {
    return step.kind == StepKind::kGroup && step.group < part_.groups.size() && !kept_[step.group];
  }

  void add(uint32_t lane, uint32_t index, std::vector<Step>& steps) const {
    const Step& step = part_.lanes[lane].steps[index];
    std::vector<After> after;
    rewrite(step.after, after);
    if (!is_group(step)) {
      Step& copy = steps.emplace_back(step);
      copy.after = std::move(after);
      for (auto* runs : {&copy.src, &copy.dst}) {
        for (ChunkRun& run : *runs) {
          if (run.space == Space::kReceived && run.block < part_.lanes[lane].steps.size()) {
            run.block = begins_[lane][run.block];
          }
        }
      }
      return;
    }
    const uint32_t base = begins_[lane][index];
    for (const Step& inner : part_.groups[step.group].definition) {
      Step& copy = steps.emplace_back(inner);
      for (After& dependency : copy.after)
        dependency = {lane, base + dependency.step, dependency.in_place_only};
      if (inner.after.empty()) copy.after = after;
      for (auto* runs : {&copy.src, &copy.dst}) {
        for (ChunkRun& run : *runs) {
          if (run.space == Space::kReceived) run.block += base;
        }
      }
    }
  }

  // Names every expanded step of each dependency. A group without steps stands for what it waited for itself,
  // once.
  void rewrite(const std::vector<After>& from, std::vector<After>& to) const {
    std::vector<After> pending = from;
    for (size_t next = 0; next < pending.size(); ++next) {
      const After dependency = pending[next];
      if (dependency.lane >= part_.lanes.size() ||
          dependency.step >= part_.lanes[dependency.lane].steps.size()) {
        to.push_back(dependency);
        continue;
      }
      const uint32_t begin = begins_[dependency.lane][dependency.step];
      const uint32_t end = begins_[dependency.lane][dependency.step + 1];
      for (uint32_t step = begin; step < end; ++step) {
        to.push_back({dependency.lane, step, dependency.in_place_only});
      }
      if (begin != end) continue;
      for (After through : part_.lanes[dependency.lane].steps[dependency.step].after) {
        through.in_place_only |= dependency.in_place_only;
        if (std::find(pending.begin(), pending.end(), through) == pending.end()) pending.push_back(through);
      }
    }
  }

  const Part& part_;
  const std::vector<bool>& kept_;  // by group: stays whole
  std::vector<std::vector<uint32_t>> begins_;
};

uint64_t boundary(uint64_t tile_length, uint64_t weight_before, uint64_t weight_total) {
  const auto scaled = static_cast<unsigned __int128>(tile_length) * weight_before / weight_total;
  return static_cast<uint64_t>(scaled) / kChunkAlignment * kChunkAlignment;
}

}  // namespace

uint32_t input_blocks(const Shape& shape) {
  if (shape.collective == Collective::kBarrier) return 0;
  return has_input_blocks(shape.collective) ? shape.nranks : 1;
}

uint32_t output_blocks(const Shape& shape) {
  if (shape.collective == Collective::kBarrier) return 0;
  return has_output_blocks(shape.collective) ? shape.nranks : 1;
}

uint64_t chunk_begin(const Shape& shape, uint64_t tile_length, uint32_t chunk) {
  if (chunk >= shape.weights.size()) return tile_length;
  uint64_t before = 0;
  uint64_t total = 0;
  for (size_t i = 0; i < shape.weights.size(); ++i) {
    if (i < chunk) before += shape.weights[i];
    total += shape.weights[i];
  }
  return total == 0 ? 0 : boundary(tile_length, before, total);
}

void chunk_begins(const Shape& shape, uint64_t tile_length, std::vector<uint64_t>& begins) {
  uint64_t total = 0;
  for (const uint32_t weight : shape.weights) total += weight;
  begins.resize(shape.weights.size() + 1);
  uint64_t before = 0;
  for (size_t i = 0; i < shape.weights.size(); ++i) {
    begins[i] = total == 0 ? 0 : boundary(tile_length, before, total);
    before += shape.weights[i];
  }
  begins.back() = tile_length;
}

uint64_t tile_count(const Shape& shape, uint64_t block_bytes) {
  if (block_bytes == 0) return 0;
  if (shape.tile_bytes == 0 || shape.tile_bytes >= kWholeBlock) return 1;
  return (block_bytes - 1) / shape.tile_bytes + 1;
}

uint64_t tile_length(const Shape& shape, uint64_t block_bytes, uint64_t tile) {
  if (tile >= tile_count(shape, block_bytes)) return 0;
  if (shape.tile_bytes == 0 || shape.tile_bytes >= kWholeBlock) return block_bytes;
  return std::min(shape.tile_bytes, block_bytes - tile * shape.tile_bytes);
}

Part expand(const Part& part) {
  return expand(part, std::vector<bool>(part.groups.size(), false));
}

Part expand(const Part& part, const std::vector<bool>& kept) {
  Part expanded = Expander(part, kept).run();
  if (std::find(kept.begin(), kept.end(), true) != kept.end()) expanded.groups = part.groups;
  return expanded;
}

bool has_groups(const Part& part) {
  return std::any_of(part.lanes.begin(), part.lanes.end(), [](const Lane& lane) {
    return std::any_of(lane.steps.begin(), lane.steps.end(),
                       [](const Step& step) { return step.kind == StepKind::kGroup; });
  });
}

}  // namespace comity::plan
