// Chooses among ways to do the same by the time that each took, where no threshold holds on all machines:
// whether stores around the caches pay, or the kernel's copies, depends on cache sizes, page tables and who
// used the buffers last.
//
// Per kind of call and power of two of its length the first calls try each candidate a few times, in turn;
// from then on the fastest is taken, and now and then another one is looked at again, less and less often. A
// candidate is judged by the least of its times, which noise does not lower; the value grows slowly when it
// is not reached any more.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>

namespace comity::shm {

class Tuner {
 public:
  static constexpr uint32_t kCandidates = 4;
  static constexpr uint32_t kKinds = 36;

  // The candidate to take, below `candidates`, for the next call of this kind and length. 0 is what is likely
  // best.
  uint32_t pick(uint32_t kind, uint64_t bytes, uint32_t candidates) {
    Entry& entry = at(kind, bytes);
    const uint32_t call = entry.calls++;
    if (candidates == 1) return 0;
    // The very first call pays for first touches: what it took is forgotten.
    const uint32_t rounds = bytes < kLongBytes ? 4 : 2;
    if (call <= rounds * candidates) return call % candidates;
    const uint32_t again = call < 64 ? 8 : call < 256 ? 16 : 64;
    if (call % again == 0) return call / again % candidates;
    const auto* first = entry.best_ns.begin();
    const auto* best = std::min_element(first, first + candidates);
    return *best < kClearlyBetter * *first ? static_cast<uint32_t>(best - first) : 0;
  }

  void record(uint32_t kind, uint64_t bytes, uint32_t candidate, uint64_t took_ns) {
    Entry& entry = at(kind, bytes);
    if (entry.calls <= 1) return;
    float& best = entry.best_ns[candidate];
    const auto took = static_cast<float>(took_ns);
    best = took < best ? took : best + std::min(took - best, best) / 64;
  }

 private:
  static constexpr uint64_t kLongBytes = 8 << 20;  // calls this long are steadier, and dearer to try
  static constexpr float kClearlyBetter = 0.96F;
  struct Entry {
    Entry() { best_ns.fill(std::numeric_limits<float>::max()); }
    uint32_t calls = 0;
    std::array<float, kCandidates> best_ns;
  };
  Entry& at(uint32_t kind, uint64_t bytes) { return entries_[kind % kKinds][std::bit_width(bytes) % 64]; }
  std::array<std::array<Entry, 64>, kKinds> entries_;
};

}  // namespace comity::shm
