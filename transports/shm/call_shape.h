// A group call seen as bytes: what each member gives, how long the blocks are, and whether buffers can be
// described to peers in a few words.
#pragma once

#include <cstdint>
#include <vector>

#include "comity/plugin/transport.h"

namespace comity::shm {

// Bytes that a member's buffers span from the start of piece 0; 0: it has none.
struct Extents {
  uint64_t src = 0;
  uint64_t dst = 0;
};

// Blocks: all_gather's outputs and reduce_scatter's inputs, one per member; other collectives have none.
struct CallShape {
  const GroupCall* call = nullptr;
  uint32_t me = 0;
  uint32_t members = 0;
  uint64_t length = 0;            // of the one piece, where there are no blocks
  uint64_t contribution = 0;      // most bytes that any member gives; equal on all members
  uint64_t own_contribution = 0;  // bytes that this member gives
  uint64_t longest_block = 0;
  std::vector<uint64_t>
      begins;  // of block j if blocks were packed; members + 1 values, for collectives with blocks

  // Reads a call's pieces. Allocates nothing after construction with the same number of members.
  void set(const GroupCall& new_call);

  bool has_blocks() const {
    return call->collective == Collective::kAllGather || call->collective == Collective::kReduceScatter;
  }
  uint64_t block_length(uint32_t member) const { return begins[member + 1] - begins[member]; }
  bool is_root() const { return me == call->root; }
  // Whether this member has an input (output) at all; the pieces are empty where not.
  bool has_src() const;
  bool has_dst() const;
  const std::byte* src() const { return call->src[0].data; }
  std::byte* dst() const { return call->dst[0].data; }
  // Of the piece that this member alone reads and writes: all_gather's src against its own block, and so on.
  bool in_place() const;
  // True if a peer can find this member's blocks from the first one's start and `stride` (as in
  // HelloBuffers), and no block overlaps this member's other buffer except as in-place calls do.
  bool describable(uint64_t& stride) const;
  // What `member` has, its blocks lying at `stride`, which may be a stranger's number: sums that overflow
  // become UINT64_MAX.
  Extents extents(uint32_t member, uint64_t stride) const;
};

// Where block j of a member lies, from the start of its block 0.
inline uint64_t block_offset(const CallShape& shape, uint64_t stride, uint32_t j) {
  return stride == 0 ? shape.begins[j] : stride * j;
}

}  // namespace comity::shm
