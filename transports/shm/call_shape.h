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

// Blocks, one per member: all_gather's outputs, reduce_scatter's and all_to_all's inputs, and the root's
// outputs in a gather, inputs in a scatter. Other collectives have none.
struct CallShape {
  const GroupCall* call = nullptr;
  uint32_t me = 0;
  uint32_t members = 0;
  uint64_t length = 0;            // of the one piece, where there are no blocks
  uint64_t contribution = 0;      // most bytes that any member gives; equal on all members
  uint64_t own_contribution = 0;  // bytes that this member gives
  uint64_t longest_block = 0;
  bool meets = true;  // all members come to the call before any leaves; else: see rooted.h, varying.h
  std::vector<uint64_t>
      begins;  // of block j if blocks were packed; members + 1 values, for collectives with blocks

  // Reads a call's pieces. Allocates nothing after construction with the same number of members.
  void set(const GroupCall& new_call);

  // Only the two ends of a block are told its length: nothing else here is of such a call.
  bool varies() const { return is_varying(call->collective); }
  bool has_blocks() const {
    return has_input_blocks(call->collective) || has_output_blocks(call->collective);
  }
  // Moves blocks between pairs of members, none of which a third one reads.
  bool is_personal() const {
    return call->collective == Collective::kAllToAll || call->collective == Collective::kGather ||
           call->collective == Collective::kScatter;
  }
  // Whether this member has the blocks of has_blocks(): in a gather or scatter only the root does.
  bool owns_blocks() const { return has_blocks() && (is_root() || !is_rooted(call->collective)); }
  uint64_t block_length(uint32_t member) const { return begins[member + 1] - begins[member]; }
  bool is_root() const { return me == call->root; }
  // Whether this member has an input (output) at all.
  bool has_src() const { return !call->src.empty(); }
  bool has_dst() const { return !call->dst.empty(); }
  const std::byte* src() const { return call->src[0].data; }
  std::byte* dst() const { return call->dst[0].data; }
  // Whether others get something of this member.
  bool gives() const;
  // Of the piece that this member alone reads and writes: all_gather's src against its own block, and so on.
  bool in_place() const;
  // Copies the block that this member has for itself, if it has one and it does not lie there already.
  void keep_own_block() const;
  // True if a peer can find this member's blocks from the first one's start and `stride` (as in
  // HelloBuffers), and no block overlaps this member's other buffer except as in-place calls do. (In an
  // all_to_all, which has blocks on both sides, the inputs are meant: outputs are their owner's affair.)
  bool describable(uint64_t& stride) const;
  // What others need of `member`, its blocks lying at `stride`, which may be a stranger's number: sums that
  // overflow become UINT64_MAX.
  Extents extents(uint32_t member, uint64_t stride) const;

 private:
  void set_personal();
  uint64_t blocks_extent(uint64_t stride) const;
};

// Where block j of a member lies, from the start of its block 0.
inline uint64_t block_offset(const CallShape& shape, uint64_t stride, uint32_t j) {
  return stride == 0 ? shape.begins[j] : stride * j;
}

}  // namespace comity::shm
