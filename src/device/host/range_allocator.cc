#include "src/device/host/range_allocator.h"

#include <cassert>
#include <iterator>

#include "src/base/arithmetic.h"

namespace comity {

std::optional<uint64_t> RangeAllocator::take(uint64_t bytes, uint64_t alignment) {
  auto best = free_.end();
  for (auto piece = free_.begin(); piece != free_.end(); ++piece) {
    const uint64_t padding = -piece->first & (alignment - 1);
    if (piece->second < padding || piece->second - padding < bytes) continue;
    if (best == free_.end() || piece->second < best->second) best = piece;
  }
  if (best == free_.end()) return std::nullopt;
  const uint64_t begin = best->first;
  const uint64_t end = begin + best->second;
  const uint64_t offset = round_up(begin, alignment);
  free_.erase(best);
  if (offset > begin) free_[begin] = offset - begin;
  if (offset + bytes < end) free_[offset + bytes] = end - offset - bytes;
  return offset;
}

void RangeAllocator::give(uint64_t offset, uint64_t bytes) {
  auto next = free_.lower_bound(offset);
  assert(next == free_.end() || offset + bytes <= next->first);
  if (next != free_.end() && next->first == offset + bytes) {
    bytes += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    auto previous = std::prev(next);
    assert(previous->first + previous->second <= offset);
    if (previous->first + previous->second == offset) {
      previous->second += bytes;
      return;
    }
  }
  free_[offset] = bytes;
}

}  // namespace comity
