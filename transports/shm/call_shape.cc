#include "transports/shm/call_shape.h"

#include <algorithm>

namespace comity::shm {
namespace {

bool overlap(const Piece& a, const Piece& b) {
  return a.bytes != 0 && b.bytes != 0 && a.data < b.data + b.bytes && b.data < a.data + a.bytes;
}

}  // namespace

void CallShape::set(const GroupCall& new_call) {
  call = &new_call;
  length = contribution = own_contribution = longest_block = 0;
  switch (call->collective) {
    case Collective::kAllReduce:
    case Collective::kReduce:
      length = contribution = own_contribution = call->src[0].bytes;
      return;
    case Collective::kBroadcast:
      length = contribution = call->dst[0].bytes;
      own_contribution = is_root() ? length : 0;
      return;
    case Collective::kBarrier:
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

bool CallShape::has_src() const {
  return call->collective != Collective::kBarrier &&
         (call->collective != Collective::kBroadcast || is_root());
}

bool CallShape::has_dst() const {
  return call->collective != Collective::kBarrier && (call->collective != Collective::kReduce || is_root());
}

bool CallShape::in_place() const {
  if (!has_src() || !has_dst()) return false;
  if (call->collective == Collective::kAllGather) return call->src[0].data == call->dst[me].data;
  if (call->collective == Collective::kReduceScatter) return call->src[me].data == call->dst[0].data;
  return call->src[0].data == call->dst[0].data;
}

bool CallShape::describable(uint64_t& stride) const {
  stride = 0;
  if (!has_blocks()) return true;
  const bool gather = call->collective == Collective::kAllGather;
  const auto& blocks = gather ? call->dst : call->src;
  const Piece& other = gather ? call->src[0] : call->dst[0];
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
    case Collective::kBarrier:
      return {};
    case Collective::kAllGather:
    case Collective::kReduceScatter:
      break;
  }
  uint64_t blocks = begins[members];
  if (stride != 0) {
    uint64_t last = 0;
    if (__builtin_mul_overflow(stride, members - 1, &last) ||
        __builtin_add_overflow(last, block_length(members - 1), &blocks)) {
      blocks = UINT64_MAX;
    }
  }
  const uint64_t one = block_length(member);
  return call->collective == Collective::kAllGather ? Extents{one, blocks} : Extents{blocks, one};
}

}  // namespace comity::shm
