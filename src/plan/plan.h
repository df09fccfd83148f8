// The Plan: what each rank sends, receives, copies and reduces, as data. One Plan describes one *tile*.
//
//   block    a contiguous part of a user's buffer: outputs of all-gather, gather and all-to-all and inputs of
//            reduce-scatter, scatter and all-to-all have one per rank, everything else has one. All blocks of
//            a call have the same length in bytes, unless the Plan is good for any lengths (extents.h).
//   tile     the piece [t * tile_bytes, (t + 1) * tile_bytes) of every block, handled by one pass of the Plan
//   chunk    a weighted part of a tile: chunk c of a tile of n bytes starts at floor(n * W(c) / W), W(c) the
//            weights before c, in 128 bits, rounded down to 64 bytes (chunk_begin()). A chunk may be empty;
//            what both ends compute as empty is not sent.
//   step     send, recv, copy, reduce, group, over a run of chunks of one block
//   lane     an ordered list of steps. A lane issues its steps in order, tile after tile; a step issues when
//            those it names in `after` are complete, and completes later. What should overlap is on different
//            lanes.
//
// Messages of one lane between two ranks match in order, and both sides name the same chunks, so that lengths
// are equal for every tile. Scratch is `scratch_slots` slots of one tile each, for each of `window` tiles in
// flight: tile t + window waits until all steps of tile t are complete. So a Plan and its scratch do not grow
// with the count.
//
// Only the root has a reduce's or gather's output and a broadcast's or scatter's input (callers may pass null
// elsewhere); no step writes to an input.
//
// A Plan is a value without pointers into anything; it is copied, printed, compared and verified freely.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"
#include "comity/plugin/types.h"

namespace comity::plan {

enum class StepKind : uint8_t { kSend, kRecv, kCopy, kReduce, kGroup };

enum class Space : uint8_t {
  kInput,     // block: of the caller's input
  kOutput,    // block: of the caller's output
  kScratch,   // block: a scratch slot; a chunk lies in it where it lies in its tile
  kReceived,  // block: index of an earlier recv of the same lane whose dst is kReceived ("left where it
              // landed"); first and count equal that recv's
};

// Chunks [first, first + count) of one block of one space, of the tile at hand.
struct ChunkRun {
  Space space = Space::kInput;
  uint32_t block = 0;
  uint32_t first = 0;
  uint32_t count = 1;
  // Of a reduction's source: it holds a partial result, not one rank's contribution alone. Where partial
  // results are rounded, avg divides each contribution as it enters its first (fold_depths() checks it).
  bool partial = false;
  bool operator==(const ChunkRun&) const = default;
};

// A step that must be complete before another issues, on the same rank and tile.
struct After {
  uint32_t lane = 0;
  uint32_t step = 0;
  bool in_place_only = false;  // needed only where input is output; a binding out of place drops it
  bool operator==(const After&) const = default;
};

inline constexpr uint32_t kImplied = UINT32_MAX;

struct Step {
  StepKind kind = StepKind::kCopy;
  uint32_t peer = 0;          // send, recv: the other rank
  std::vector<ChunkRun> src;  // send, copy: one; reduce: n >= 1, folded from the left; group: see Group
  std::vector<ChunkRun> dst;  // recv, copy, reduce: one (recv: kReceived with block = its own index leaves
                              // the message where it lands); group: see Group
  std::vector<After> after;
  bool last = false;   // reduce: the result holds every rank's contribution; avg divides here, exactly once
  uint32_t group = 0;  // group: index into Part::groups
  uint32_t order = 0;  // group: its place among the Plan's, see Group
  uint32_t lag = 0;    // group: how many tiles it runs behind, below the window
  // Where blocks have lengths of their own: whose length it has, of a step that touches none of the caller's
  // blocks (extents.h). Else it is implied, and not looked at.
  uint32_t extent = kImplied;
  bool operator==(const Step&) const = default;
};

// A sub-collective over an ordered set of ranks, carried out whole by a provider where one reaches every
// member's memory, else by its definition. Pieces that meet cover the same chunks; all follow a shape:
//   all_reduce      src {x}            dst {y}            y = reduction of all members' x
//   reduce          src {x}            dst {y} on root, {} elsewhere
//   broadcast       src {x} on root, {} elsewhere         dst {y} (root's too)
//   all_gather      src {x}            dst {y_0 .. y_m-1}   y_i = member i's x
//   reduce_scatter  src {x_0 .. x_m-1} dst {y}            y = reduction of all members' x_i, i this member
//   all_to_all      src {x_0 .. x_m-1} dst {y_0 .. y_m-1}   y_i = member i's x_j, j this member
//   gather          src {x}            dst {y_0 .. y_m-1} on root, {} elsewhere   y_i = member i's x
//   scatter         src {x_0 .. x_m-1} on root, {} elsewhere   dst {y}   y = the root's x_i, i this member
//   barrier         src {}             dst {}
// Where blocks have lengths of their own (extents.h), each piece has that of its own block. A dst may be
// exactly a src (in place by plan); user placement aliases further as described at Placement.
//
// Calls of groups start one after the other: on each rank by ascending (tile + lag, order) of their steps,
// each once the one before is complete, whatever is ready first. All members of a call state the same two
// numbers, and no rank has one `order` twice, so all ranks start what they share in one order. A lag lets
// tile t of one group run beside tile t + lag of another, for what lies between to overlap with both.
struct Group {
  Collective collective = Collective::kAllReduce;
  std::vector<uint32_t> members;  // ranks, in the order that folds and blocks follow
  uint32_t root = 0;              // index into members
  bool last = false;              // its reduction completes all ranks' contributions: avg divides here
  std::vector<Step> definition;   // the same as primitive steps of the same lane, in the outer Plan's chunks;
                                  // `after` and kReceived indexes count within the definition (lane ignored)
  bool partial = false;           // all its sources are partial results, as ChunkRun says
  bool operator==(const Group&) const = default;
};

struct Lane {
  std::vector<Step> steps;
  bool operator==(const Lane&) const = default;
};

// One rank's share.
struct Part {
  uint32_t rank = 0;
  std::vector<Lane> lanes;
  std::vector<Group> groups;
  bool operator==(const Part&) const = default;
};

// How the caller's input and output may relate. In place is NCCL's: all_reduce, reduce, broadcast: input ==
// output; all_gather and, on its root, gather: input is the rank's own block of the output; reduce_scatter
// and, on its root, scatter: output is the rank's own block of the input.
enum class Placement : uint8_t { kBoth = 0, kOutOfPlaceOnly = 1, kInPlaceOnly = 2 };

// What the engine carries out, and so what every Plan keeps: check_part() refuses more, and verify() proves
// that no more is needed.
inline constexpr uint32_t kMaxLanes = 64;
inline constexpr uint32_t kMaxWindow = 64;
inline constexpr uint32_t kMaxPosted = 64;       // receives of one lane from one rank that wait at once
inline constexpr uint32_t kMaxSteps = 1u << 24;  // of one part, groups expanded

// What all ranks of a Plan share.
struct Shape {
  std::string algorithm;  // its name: "ring"
  Collective collective = Collective::kAllReduce;
  uint32_t nranks = 1;
  uint32_t root = 0;                    // of a rooted collective
  std::vector<uint32_t> weights = {1};  // of the chunks of a tile; each 1..2^16, at most 2^16 of them
  uint32_t scratch_slots = 0;
  uint32_t window = 1;             // tiles in flight, 1..kMaxWindow
  uint64_t tile_bytes = 1u << 20;  // multiple of 64; kWholeBlock: one tile however long the block
  Placement placement = Placement::kBoth;
  bool any_lengths = false;  // serves blocks that each have a length of their own too, see extents.h
  bool operator==(const Shape&) const = default;
};
inline constexpr uint64_t kWholeBlock = uint64_t{1} << 62;

struct Plan {
  Shape shape;
  std::vector<Part> parts;  // by rank; parts.size() == nranks
  bool operator==(const Plan&) const = default;
};

// Blocks of the caller's buffers. A barrier has neither; its messages carry a token of kBarrierBytes from
// scratch slot 0, and its block length is kBarrierBytes.
uint32_t input_blocks(const Shape& shape);
uint32_t output_blocks(const Shape& shape);
inline constexpr uint64_t kBarrierBytes = 8;

// Byte at which chunk c (0..weights.size(); the last is the end) of a tile of `tile_length` bytes starts.
// O(weights).
uint64_t chunk_begin(const Shape& shape, uint64_t tile_length, uint32_t chunk);
// All boundaries at once: weights.size() + 1 values into `begins` (resized). For bindings.
void chunk_begins(const Shape& shape, uint64_t tile_length, std::vector<uint64_t>& begins);
// Tiles of a block of `block_bytes`; 0 for an empty block.
uint64_t tile_count(const Shape& shape, uint64_t block_bytes);
uint64_t tile_length(const Shape& shape, uint64_t block_bytes, uint64_t tile);

// The Part with every group replaced by its definition: only primitive steps remain, indexes rewritten. Steps
// that named the group name all steps of its definition; its steps that wait for nothing inherit what the
// group waited for. Pure; indexes out of range stay as they are.
Part expand(const Part& part);
// The same for some: the i-th of part.groups stays whole if kept[i].
Part expand(const Part& part, const std::vector<bool>& kept);
// True if the part has a group step.
bool has_groups(const Part& part);
}  // namespace comity::plan
