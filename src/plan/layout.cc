#include "src/plan/layout.h"

#include <algorithm>

#include "src/plan/checks.h"

namespace comity::plan {
namespace {

void mark(const std::vector<Step>& steps, std::vector<uint32_t>& begins) {
  for (const Step& step : steps) {
    for (const auto* runs : {&step.src, &step.dst}) {
      for (const ChunkRun& run : *runs) begins[run.first] = begins[run.first + run.count] = 1;
    }
  }
}

}  // namespace

Columns columns_of(const Shape& shape, std::span<const Part> parts) {
  Columns columns;
  columns.of.assign(shape.weights.size() + 1, 0);
  columns.of.front() = columns.of.back() = 1;
  for (const Part& part : parts) {
    for (const Lane& lane : part.lanes) mark(lane.steps, columns.of);
    for (const Group& group : part.groups) mark(group.definition, columns.of);
  }
  uint32_t column = 0;
  for (uint32_t chunk = 0; chunk < columns.of.size(); ++chunk) {
    const bool begins = columns.of[chunk] != 0;
    if (begins && chunk + 1 < columns.of.size()) columns.chunk.push_back(chunk);
    columns.of[chunk] = begins ? column++ : column;
  }
  return columns;
}

Layout::Layout(const Shape& shape, const Columns& columns, const Part& part, bool aliased)
    : columns_(columns), window_(shape.window) {
  const uint64_t width = columns.count();
  const uint64_t inputs = rank_input_blocks(shape, part.rank) * width;
  const uint64_t outputs = rank_output_blocks(shape, part.rank) * width;
  output_ = inputs;
  user_ = inputs + outputs;
  // Whoever has but one of the two, as all but a root, shares nothing.
  if (aliased && inputs > 0 && outputs > 0) {
    user_ = std::max(inputs, outputs);
    output_ = has_input_blocks(shape.collective) ? part.rank * width : 0;
    input_ = has_output_blocks(shape.collective) ? part.rank * width : 0;
  }
  per_slot_ = user_ + shape.scratch_slots * width;
  landing_.resize(part.lanes.size());
  for (size_t lane = 0; lane < part.lanes.size(); ++lane) {
    landing_[lane].resize(part.lanes[lane].steps.size(), 0);
    for (size_t index = 0; index < part.lanes[lane].steps.size(); ++index) {
      const Step& step = part.lanes[lane].steps[index];
      if (step.kind != StepKind::kRecv || step.dst[0].space != Space::kReceived) continue;
      landing_[lane][index] = per_slot_;
      const ChunkRun& run = step.dst[0];
      per_slot_ += columns.of[run.first + run.count] - columns.of[run.first];
    }
  }
}

CellRange Layout::range(const ChunkRun& run, uint32_t lane, uint32_t slot) const {
  CellRange range;
  range.column = columns_.of[run.first];
  range.count = columns_.of[run.first + run.count] - range.column;
  range.begin = slot_begin(slot);
  const uint64_t in_block = uint64_t{run.block} * columns_.count() + range.column;
  switch (run.space) {
    case Space::kInput:
      range.begin += input_ + in_block;
      break;
    case Space::kOutput:
      range.begin += output_ + in_block;
      break;
    case Space::kScratch:
      range.begin += user_ + in_block;
      break;
    case Space::kReceived:
      range.begin += landing_[lane][run.block];
      break;
  }
  return range;
}

}  // namespace comity::plan
