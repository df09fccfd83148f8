// Binding: a Part made ready for one communicator: flat, indexes resolved, user addresses left open.
//
// A binding serves every count and type of its size class. Making it may allocate; executing it does not.
// Lowerings decided here: each group goes to its provider or, if none reaches all its members, is expanded
// (all members decide alike); a recv whose only consumer is the reduce behind it is fused with it (each
// segment is reduced as it arrives); dependencies that only in-place calls need are dropped. A plan in fp32
// is bound out of place and for host memory, wherever the caller's buffers are: it touches none of them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "src/engine/link.h"
#include "src/engine/plan_source.h"
#include "src/plan/plan.h"

namespace comity::engine {

enum class BoundKind : uint8_t { kSend, kRecv, kRecvReduce, kCopy, kReduce, kGroup };

struct BoundStep {
  BoundKind kind = BoundKind::kCopy;
  bool last = false;            // divide here for avg
  bool mixed = false;           // and only the sources that Binding::partial does not mark
  bool received_first = false;  // kRecvReduce: the received operand is folded first
  bool lands = false;           // kRecv: stays where it landed (landing memory)
  Link* link = nullptr;         // kSend, kRecv, kRecvReduce
  plan::ChunkRun dst;           // kRecv (not lands), kRecvReduce, kCopy, kReduce
  uint32_t src = 0;             // index of the first source run in Binding::runs; kRecvReduce: the operand
  uint32_t src_count = 0;
  uint32_t dst_runs = 0;  // kGroup: index of the first destination run in Binding::runs
  uint32_t dst_count = 0;
  uint32_t after = 0;  // index in Binding::after
  uint32_t after_count = 0;
  uint64_t landing = 0;  // kRecv with lands: byte offset in a window slot's landing memory
  uint64_t bounce = 0;   // device memory only: byte offset of its host copy in a window slot's bounce memory
  uint32_t group = 0;    // kGroup: index in Binding::groups
  uint32_t extent = plan::kImplied;  // whose length it has where blocks have lengths of their own; not kGroup
};

struct BoundGroup {
  Collective collective;
  uint32_t root = 0;
  bool last = false;
  uint32_t order = 0;  // calls start by ascending (tile + lag, order)
  uint32_t lag = 0;
  GroupProvider* provider = nullptr;
};

struct Binding {
  plan::Shape shape;  // tile_bytes already limited to what the engine executes at once
  uint64_t plan_hash = 0;
  bool in_place = false;
  bool on_device = false;  // buffers that the CPU cannot address: sends and receives go through bounce memory
  std::vector<std::vector<uint32_t>> lanes;  // step ids in order of issue
  std::vector<BoundStep> steps;              // by id
  std::vector<plan::ChunkRun> runs;
  std::vector<uint32_t> extents;   // by index in runs: of pieces of groups
  std::vector<uint8_t> partial;    // by index in runs: holds a partial result, which avg divided before
  std::vector<uint32_t> after;     // ids
  std::vector<BoundGroup> groups;  // by ascending order
  bool group_alone = false;    // all there is is one group step over whole blocks of the caller's host memory
  std::vector<Link*> links;    // every link used, once
  uint32_t transports = 0;     // bit i: transport i is used
  uint64_t scratch_bytes = 0;  // per window slot: scratch slots of the plan, then landings
  uint64_t landing_base = 0;   // where landings start in it
  uint64_t bounce_bytes = 0;   // per window slot; 0 of whole blocks, which take what a call needs
  // The plan works on fp32 images of the caller's blocks (images.h), which lie in scratch.
  bool in_fp32 = false;
  uint32_t image_inputs = 0, image_outputs = 0;  // blocks
  uint64_t image_base = 0;                       // in a window slot's scratch
  uint64_t image_stride = 0;                     // from a block to the next
  uint64_t max_group_runs = 0;

  // Memory that it takes.
  uint64_t bytes() const;
};

// What binding needs to know of the communicator.
class BindingContext {
 public:
  virtual ~BindingContext() = default;
  virtual uint32_t rank() const = 0;
  // The link to a peer with at least `lanes` lanes, connecting if it is new.
  virtual Result<Link*> link_to(uint32_t peer, uint32_t lanes) = 0;
  // Null if no provider reaches all members.
  virtual GroupProvider* provider_of(const std::vector<uint32_t>& members) = 0;
  // Bit of the transport that joins this rank to the peer.
  virtual uint32_t transport_bit(uint32_t peer) const = 0;
};

// Most bytes of a block that one tile may have when executed; where the plan's tile is the whole block, only
// if a provider carries out a group of all ranks (which all ranks have and know), else kMaxTile. With lengths
// that not every rank is given that provider gets whole blocks: ranks would not agree on the number of tiles.
inline constexpr uint64_t kMaxGroupTile = uint64_t{64} << 20;
inline constexpr uint64_t kMaxTile = uint64_t{1} << 20;
// Most bytes of fp32 images, of all blocks and tiles in flight.
inline constexpr uint64_t kMaxImages = uint64_t{32} << 20;
inline constexpr uint64_t kLeastImageTile = 4096;

// Errors: kInternalError (a part that fails plan::check_part: names step and rule), those of the context.
Result<std::unique_ptr<Binding>> bind(const PlannedPart& planned, bool in_place, bool on_device,
                                      BindingContext& context);

}  // namespace comity::engine
