// Writing steps without repeating their plumbing: runs of chunks by name, and a list that steps are appended
// to.
//
// Every dependency is named: a lane orders what is issued, not what is complete. Pure; nothing here fails.
#pragma once

#include <cstdint>
#include <vector>

#include "src/plan/plan.h"

namespace comity::algorithms {

using plan::After;
using plan::ChunkRun;
using plan::Part;
using plan::Shape;
using plan::Space;
using plan::Step;
using plan::StepKind;

// Runs of chunks [first, first + count) of one block.
inline ChunkRun input(uint32_t block, uint32_t first, uint32_t count) {
  return {Space::kInput, block, first, count};
}
inline ChunkRun output(uint32_t block, uint32_t first, uint32_t count) {
  return {Space::kOutput, block, first, count};
}
inline ChunkRun scratch(uint32_t slot, uint32_t first, uint32_t count) {
  return {Space::kScratch, slot, first, count};
}
// Chunk 0 of every block of one space, where that is the whole tile.
inline std::vector<ChunkRun> whole_blocks(Space space, uint32_t blocks) {
  std::vector<ChunkRun> runs;
  for (uint32_t block = 0; block < blocks; ++block) runs.push_back({space, block, 0, 1});
  return runs;
}
// The same chunks of another space or block.
inline ChunkRun moved_to(Space space, uint32_t block, const ChunkRun& run) {
  return {space, block, run.first, run.count};
}

// As a reduction's source: a partial result, or one rank's contribution.
inline ChunkRun marked(ChunkRun run, bool partial) {
  run.partial = partial;
  return run;
}

// Whose operand comes first. Where several ranks compute one chunk, it is the lower rank's.
enum class Order { kOwnFirst, kReceivedFirst };
inline Order order_of(uint32_t own, uint32_t peer) {
  return own < peer ? Order::kOwnFirst : Order::kReceivedFirst;
}

// Appends steps to one lane, or to a group's definition (whose lane is ignored). Each method returns the
// step's index. Holds a reference to `steps`: lanes must all exist before the first is written to.
class Steps {
 public:
  explicit Steps(std::vector<Step>& steps, uint32_t lane = 0) : steps_(steps), lane_(lane) {}

  uint32_t send(uint32_t peer, const ChunkRun& from, std::vector<After> after = {});
  uint32_t recv(uint32_t peer, const ChunkRun& into, std::vector<After> after = {});
  // A recv left where it lands; landed() names it as an operand.
  uint32_t land(uint32_t peer, const ChunkRun& like, std::vector<After> after = {});
  uint32_t copy(const ChunkRun& from, const ChunkRun& into, std::vector<After> after = {});
  // The own part of a gathered or broadcast result. In place it is a copy onto itself, which nothing may be
  // reading: `sends` are the steps that read `from`.
  uint32_t copy_own(const ChunkRun& from, const ChunkRun& into, const std::vector<uint32_t>& sends);
  uint32_t reduce(std::vector<ChunkRun> sources, const ChunkRun& into, std::vector<After> after, bool last);
  // land() and the reduce that consumes it, as neighbours and with the same `after`, so that an engine may
  // reduce on arrival: into = own (op) received, in `order`. `in_place` are steps that only the reduce waits
  // for, in place.
  struct Fold {
    uint32_t peer = 0;
    ChunkRun own = {};
    ChunkRun into = {};
    Order order = Order::kOwnFirst;
    bool last = false;
    std::vector<After> after = {};
    std::vector<After> in_place = {};
    bool own_partial = false;  // as plan::ChunkRun::partial
    bool received_partial = false;
  };
  uint32_t fold(const Fold& fold);
  // When a group's call starts among a rank's others: see plan::Group.
  struct Turn {
    uint32_t order = 0;
    uint32_t lag = 0;
  };
  uint32_t group(uint32_t index, std::vector<ChunkRun> src, std::vector<ChunkRun> dst, Turn turn,
                 std::vector<After> after = {});

  // Whose length the steps have that are added from here on and touch none of the caller's blocks, where
  // blocks have lengths of their own (plan/extents.h).
  void set_extent(uint32_t extent) { extent_ = extent; }

  ChunkRun landed(uint32_t recv) const { return {Space::kReceived, recv, run(recv).first, run(recv).count}; }
  After done(uint32_t step) const { return {lane_, step, false}; }
  After done_in_place(uint32_t step) const { return {lane_, step, true}; }
  uint32_t size() const { return static_cast<uint32_t>(steps_.size()); }

 private:
  const ChunkRun& run(uint32_t recv) const { return steps_[recv].dst[0]; }
  uint32_t add(Step step);

  std::vector<Step>& steps_;
  uint32_t lane_;
  uint32_t extent_ = plan::kImplied;
};

// A part of this many empty lanes.
Part empty_part(uint32_t rank, uint32_t lanes);
// What one rank alone does in every collective with data: input copied to output, nothing in place.
Part lone_part(const Shape& shape);

}  // namespace comity::algorithms
