// Vector clocks: for an event, how many steps of each lane of each rank have surely been issued before it.
// Private to this folder.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace comity::plan {

using Clock = std::vector<uint32_t>;

inline void join(Clock& into, const Clock& from) {
  for (size_t i = 0; i < into.size(); ++i) into[i] = std::max(into[i], from[i]);
}

// Clocks kept for a while, by number; memory is reused.
class ClockPool {
 public:
  explicit ClockPool(size_t lanes) : lanes_(lanes) {}
  uint32_t keep(const Clock& clock) {
    if (free_.empty()) {
      clocks_.emplace_back(lanes_);
      free_.push_back(static_cast<uint32_t>(clocks_.size() - 1));
    }
    const uint32_t id = free_.back();
    free_.pop_back();
    clocks_[id] = clock;
    return id;
  }
  Clock& operator[](uint32_t id) { return clocks_[id]; }
  void release(uint32_t id) { free_.push_back(id); }

 private:
  size_t lanes_;
  std::vector<Clock> clocks_;
  std::vector<uint32_t> free_;
};

}  // namespace comity::plan
