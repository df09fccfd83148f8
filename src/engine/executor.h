// Executor: runs one call through a binding, as a pollable state machine.
//
// A lane issues its steps in order, tile after tile; a step issues once those it waits for are complete; tile
// t + window begins once every step of tile t is complete. The same code runs on the caller's thread, on a
// progress thread and in simulation: whoever calls poll(). Nothing here allocates after begin() has seen a
// binding once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comity/plugin/device.h"
#include "comity/plugin/result.h"
#include "src/base/hash.h"
#include "src/engine/binding.h"
#include "src/engine/images.h"
#include "src/engine/link.h"
#include "src/engine/varying.h"

namespace comity::engine {

// A call's own arguments, laid over a binding.
struct Arguments {
  DataType type = DataType::kInt8;
  RedOp op = RedOp::kSum;
  uint64_t block_bytes = 0;
  uint64_t signature = 0;
  uint32_t divisor = 0;  // avg: ranks
  std::byte* input = nullptr;
  std::byte* output = nullptr;
  Device* device = nullptr;      // owns input, output and scratch; its copies and reductions
  std::byte* scratch = nullptr;  // window * binding.scratch_bytes of that device's memory
  std::byte* bounce = nullptr;   // window * binding.bounce_bytes of host memory, if binding.on_device
  // Of a binding in fp32 `type` and lengths are those of its images, `device` is the host, and the caller's
  // buffers are here.
  const ImageSource* images = nullptr;
  // Blocks have lengths of their own, and block_bytes is the longest's. Stays valid as long as the call.
  const VaryingBlocks* varying = nullptr;
};

// What members of a group compare: the call, and which of its group steps this is, by its place in the order
// that they share (they number their own groups differently).
inline uint64_t group_signature(uint64_t call, uint64_t tile, uint32_t order) {
  return mix(call, tile << 32 | order);
}

class Executor final : public CompletionSink {
 public:
  // Grows its tables to the binding's needs. Not on the hot path; called once per new binding.
  void prepare(const Binding& binding);
  // Starts a call. Both must stay valid until poll() returned something other than kBusy. block_bytes > 0.
  void begin(const Binding& binding, const Arguments& arguments);
  // Advances; never blocks. kFailed: see error(). kMismatch: keep polling or give up, it will not finish.
  Progress poll();
  const Status& error() const { return error_; }
  // Of the call begun last: its signature, and whether the lengths of its messages are compared.
  uint64_t signature() const { return args_.signature; }
  bool compares_lengths() const { return args_.varying != nullptr && args_.varying->compares; }
  // Gives up the call: posted receives deliver nothing any more. The links are unusable afterwards.
  void abandon();
  // Whom the call waits for, in words: "rank 3 to send". Allocates.
  std::string awaited() const;
  // Work that it gave to a device is not done.
  bool awaits_device() const;

  void completed(uint32_t tag) override;

 private:
  struct TileSlot {
    uint64_t tile = UINT64_MAX;
    uint64_t offset = 0;     // of the tile in its block; of its image in scratch
    uint32_t remaining = 0;  // steps not complete
    const uint64_t* begins = nullptr;
  };
  struct LaneState {
    uint64_t tile = 0;
    uint32_t next = 0;
    bool staged = false;  // a device copy for the next step was issued; it goes on when that completes
    Token token = 0;
  };
  struct PendingToken {
    uint32_t tag = 0;
    uint32_t queue = 0;
    Token token = 0;
  };

  static uint32_t tag_of(uint32_t slot, uint32_t id) { return slot << 24 | id; }
  bool enter_tile(LaneState& lane);
  bool load_image(uint32_t slot, uint64_t tile);
  bool store_image(uint32_t slot);
  void finish_tile(uint32_t slot);
  bool advance_lane(uint32_t index);
  bool ready(uint32_t slot, const BoundStep& step) const;
  bool issue(uint32_t lane_index, LaneState& lane, uint32_t slot, uint32_t id);
  bool issue_send(uint32_t lane_index, LaneState& lane, uint32_t slot, uint32_t id, const BoundStep& step);
  bool issue_recv(uint32_t lane_index, uint32_t slot, uint32_t id, const BoundStep& step);
  void issue_copy(uint32_t lane_index, uint32_t slot, uint32_t id, const BoundStep& step);
  void issue_reduce(uint32_t lane_index, uint32_t slot, uint32_t id, const BoundStep& step);
  bool groups_turn(uint64_t tile, uint32_t group) const;
  bool issue_group(uint32_t lane_index, LaneState& lane, uint32_t slot, uint32_t id, const BoundStep& step);
  void start_group(uint32_t slot, const BoundStep& step);
  Progress poll_group();
  bool finish_group();
  bool poll_tokens();
  void wait_for(uint32_t lane_index, Result<Token> token, uint32_t tag);
  void set_complete(uint32_t slot, uint32_t id);
  Progress outcome(bool advanced);

  // `extent`: of the step, or of the piece of a group; looked at where blocks have lengths of their own.
  std::byte* at(uint32_t slot, const plan::ChunkRun& run, uint32_t extent) const;
  std::byte* at_varying(uint32_t slot, const plan::ChunkRun& run, uint32_t extent) const;
  uint64_t bytes_of(uint32_t slot, const plan::ChunkRun& run, uint32_t extent) const {
    if (args_.varying != nullptr) [[unlikely]]
      return bytes_of_varying(slot, run, extent);
    const uint64_t* begins = slots_[slot].begins;
    return begins[run.first + run.count] - begins[run.first];
  }
  uint64_t bytes_of_varying(uint32_t slot, const plan::ChunkRun& run, uint32_t extent) const;
  uint64_t tile_bytes_of(uint32_t slot, uint32_t extent) const;
  // Whether a message is not sent.
  bool skips(uint32_t slot, uint64_t bytes) const {
    return bytes == 0 && !(compares_lengths() && slots_[slot].tile == 0);
  }
  uint64_t signature_of(const BoundStep& step) const {
    return compares_lengths() ? signature_with_length(args_.signature, args_.varying->length(step.extent))
                              : args_.signature;
  }
  std::byte* bounce_of(uint32_t slot, const BoundStep& step) const {
    return args_.bounce + slot * binding_->bounce_bytes + step.bounce;
  }
  uint32_t queue_of(uint32_t lane) const { return lane % args_.device->queue_count(); }

  const Binding* binding_ = nullptr;
  Arguments args_;
  std::byte* input_ = nullptr;  // block 0 of what the plan takes for the caller's buffers
  std::byte* output_ = nullptr;
  uint64_t stride_ = 0;  // from a block to the next
  uint64_t tiles_ = 0;
  uint64_t tiles_complete_ = 0;
  std::vector<uint64_t> full_begins_, last_begins_;
  std::vector<TileSlot> slots_;
  std::vector<uint8_t> complete_;  // window x steps
  std::vector<LaneState> lanes_;
  std::vector<PendingToken> tokens_;
  // By group, the tile that is next.
  std::vector<uint64_t> group_next_;
  // The one group call in flight.
  GroupProvider* provider_ = nullptr;
  uint32_t group_tag_ = 0;
  bool group_copy_out_ = false;
  Token group_token_ = 0;
  uint32_t group_queue_ = 0;
  GroupCall group_call_;
  std::vector<Piece> pieces_;
  std::vector<const std::byte*> sources_;
  Images images_;
  Status error_;
};

}  // namespace comity::engine
