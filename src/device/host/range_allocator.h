// Offsets of a fixed range, given out and taken back: the bookkeeping of arenas and of the sim device's
// memory.
//
// Best fit over the free pieces, in time proportional to their number; neighbours are joined when one comes
// back. Knows no memory. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace comity {

class RangeAllocator {
 public:
  // The range [0, bytes).
  explicit RangeAllocator(uint64_t bytes) : bytes_(bytes) { free_[0] = bytes; }

  // The offset of `bytes` > 0 at a multiple of `alignment` (a power of two); nothing if no free piece holds
  // them.
  std::optional<uint64_t> take(uint64_t bytes, uint64_t alignment);
  // Returns what take() gave, with the same size.
  void give(uint64_t offset, uint64_t bytes);

  bool all_free() const { return free_.size() == 1 && free_.begin()->second == bytes_; }
  uint64_t free_pieces() const { return free_.size(); }

 private:
  uint64_t bytes_;
  std::map<uint64_t, uint64_t> free_;  // offset -> bytes; never touching each other
};

}  // namespace comity
