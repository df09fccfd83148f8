// Call: what a communicator is asked to do, and KeptCall, a call that outlives its maker's arguments.
//
// A Call is a value that points to what its maker owns until it ended: the user's buffers, and the lists of
// an exchange and of blocks. Plain to copy; making one allocates nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comity/plugin/types.h"

namespace comity::engine {

// Messages that this rank exchanged with one peer, by Sends and Recvs that ended.
struct PairCounts {
  uint64_t sends = 0;
  uint64_t receives = 0;
};

// A Send or a Recv.
struct PointToPoint {
  bool sends = false;
  uint32_t peer = 0;  // may be this rank itself
  DataType type = DataType::kInt8;
  uint64_t count = 0;      // elements
  void* buffer = nullptr;  // only read if `sends`
};

// Where the blocks of a buffer lie that have lengths of their own: in bytes, by rank. Both empty where the
// collective's buffer has no such blocks on this rank.
struct BlockTable {
  std::span<const uint64_t> lengths;
  std::span<const uint64_t> offsets;  // from the buffer's begin
  bool empty() const { return lengths.empty(); }
};

// What premulsum multiplies each element of this rank's input by: one element of the call's type.
struct Scalar {
  bool used = false;  // the call's op is kSum, and this comes before it
  std::array<std::byte, 8> value{};
  // If not null it lies there, in memory of the host or of a device, and is read when the call starts.
  const void* pointer = nullptr;
};

struct Call {
  Collective collective = Collective::kBarrier;
  DataType type = DataType::kInt8;
  RedOp op = RedOp::kSum;
  // Elements as the C API counts them: of a block where input or output has one for every rank, else of the
  // buffer. Where blocks have lengths of their own: of the buffer that is one block.
  uint64_t count = 0;
  uint32_t root = 0;
  const void* input = nullptr;
  void* output = nullptr;
  // kExchange, which has none of the above: all Sends and Recvs of one group on one communicator. They are
  // carried out together, in any order; those to one rank match the peer's in the order in which they stand
  // here. A lone one is an exchange of one.
  std::span<const PointToPoint> exchange = {};
  // is_varying(collective): all_gather_v and gather_v (on the root) have output blocks, reduce_scatter_v and
  // scatter_v (on the root) input blocks, all_to_all_v both.
  BlockTable input_blocks = {}, output_blocks = {};
  Scalar scalar = {};
};

// A call that waits in a group or on a stream: owns copies of all that its Call points to but the user's
// memory.
class KeptCall {
 public:
  explicit KeptCall(const Call& call);
  KeptCall(KeptCall&&) noexcept = default;
  KeptCall& operator=(KeptCall&&) noexcept = default;
  // Valid as long as this object, also where it is moved to.
  const Call& call() const { return call_; }

 private:
  BlockTable keep(const BlockTable& table, std::vector<uint64_t>& numbers);

  Call call_;
  std::vector<PointToPoint> exchange_;
  std::vector<uint64_t> input_numbers_, output_numbers_;
};

}  // namespace comity::engine
