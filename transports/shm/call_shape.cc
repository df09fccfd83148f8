#include "transports/shm/call_shape.h"

#include <algorithm>

#include "src/device/host/kernels.h"
#include "transports/shm/board.h"

namespace comity::shm {
namespace {

bool overlap(const Piece& a, const Piece& b) {
  return a.bytes != 0 && b.bytes != 0 && a.data < b.data + b.bytes && b.data < a.data + a.bytes;
}

}  // namespace

void CallShape::set(const GroupCall& new_call) {
  call = &new_call;
  length = contribution = own_contribution = longest_block = 0;
  meets = true;
  switch (call->collective) {
    case Collective::kReduce:
      meets = call->src[0].bytes > kRootedBytes;
      [[fallthrough]];
    case Collective::kAllReduce:
      length = contribution = own_contribution = call->src[0].bytes;
      return;
    case Collective::kBroadcast:
      length = contribution = call->dst[0].bytes;
      own_contribution = is_root() ? length : 0;
      meets = length > kRootedBytes;
      return;
    case Collective::kAllToAll:
    case Collective::kGather:
    case Collective::kScatter:
      return set_personal();
    case Collective::kAllToAllV:
    case Collective::kGatherV:
    case Collective::kScatterV:
      meets = false;  // or by a way of its own
      return;
    default:
      return;
    case Collective::kAllGather:
    case Collective::kReduceScatter:
      break;
  }
  const auto& blocks = call->collective == Collective::kAllGather ? call->dst : call->src;
  for (uint32_t j = 0; j < members; ++j) {
    begins[j + 1] = begins[j] + blocks[j].bytes;
    longest_block = std::max(longest_block, blocks[j].bytes);
  }
  const bool gather = call->collective == Collective::kAllGather;
  contribution = gather ? longest_block : begins[members];
  own_contribution = gather ? block_length(me) : contribution;
}

// Blocks of one length.
void CallShape::set_personal() {
  const bool gather = call->collective == Collective::kGather;
  longest_block = gather ? call->src[0].bytes : call->dst[0].bytes;
  for (uint32_t j = 0; j < members; ++j) begins[j + 1] = begins[j] + longest_block;
  contribution = gather ? longest_block : begins[members];
  own_contribution = gives() ? contribution : 0;
  meets = call->collective == Collective::kAllToAll || contribution > kRootedBytes;
}

bool CallShape::gives() const {
  if (!is_rooted(call->collective)) return has_src();
  return gives_from_root(call->collective) == is_root();
}

bool CallShape::in_place() const {
  if (!has_src() || !has_dst()) return false;
  const uint32_t from = has_input_blocks(call->collective) ? me : 0;
  const uint32_t to = has_output_blocks(call->collective) ? me : 0;
  return call->src[from].data == call->dst[to].data;
}

void CallShape::keep_own_block() const {
  if (!has_src() || !has_dst()) return;
  const Piece& from = call->src[has_input_blocks(call->collective) ? me : 0];
  const Piece& to = call->dst[has_output_blocks(call->collective) ? me : 0];
  if (from.data != to.data) copy_host(to.data, from.data, to.bytes, false);
}

bool CallShape::describable(uint64_t& stride) const {
  stride = 0;
  if (!owns_blocks()) return true;
  const bool gather = !has_input_blocks(call->collective);
  const auto& blocks = gather ? call->dst : call->src;
  const Piece& other = gather ? call->src[0] : call->dst[call->collective == Collective::kAllToAll ? me : 0];
  bool packed = true;
  for (uint32_t j = 0; j < members; ++j) {
    if (blocks[j].bytes == 0) continue;
    packed = packed && blocks[j].data == blocks[0].data + begins[j];
    if (j != me && overlap(blocks[j], other)) return false;
  }
  if (overlap(blocks[me], other) && blocks[me].data != other.data) return false;
  if (packed) return true;
  if (blocks[1].data <= blocks[0].data) return false;
  stride = static_cast<uint64_t>(blocks[1].data - blocks[0].data);
  for (uint32_t j = 0; j < members; ++j) {
    if (blocks[j].bytes != 0 && blocks[j].data != blocks[0].data + stride * j) return false;
  }
  return true;
}

Extents CallShape::extents(uint32_t member, uint64_t stride) const {
  const bool root = member == call->root;
  switch (call->collective) {
    case Collective::kAllReduce:
      return {length, length};
    case Collective::kReduce:
      return {length, root ? length : 0};
    case Collective::kBroadcast:
      return {root ? length : 0, length};
    case Collective::kAllGather:
      return {block_length(member), blocks_extent(stride)};
    case Collective::kReduceScatter:
      return {blocks_extent(stride), block_length(member)};
    case Collective::kAllToAll:
      return {blocks_extent(stride), 0};
    case Collective::kGather:
      return {0, root ? blocks_extent(stride) : 0};
    case Collective::kScatter:
      return {root ? blocks_extent(stride) : 0, 0};
    default:
      return {};
  }
}

uint64_t CallShape::blocks_extent(uint64_t stride) const {
  uint64_t blocks = begins[members];
  if (stride != 0) {
    uint64_t last = 0;
    if (__builtin_mul_overflow(stride, members - 1, &last) ||
        __builtin_add_overflow(last, block_length(members - 1), &blocks)) {
      blocks = UINT64_MAX;
    }
  }
  return blocks;
}

}  // namespace comity::shm
