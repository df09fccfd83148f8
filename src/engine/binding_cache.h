// The bindings of one communicator, so many and no more: the least recently used is let go for a new one.
//
// A small table in front answers nearly every call, and costs no bookkeeping: what is in it counts as just
// used. Behind it lie at most kMostBindings or kMostBytes. One thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "src/engine/binding.h"

namespace comity::engine {

class BindingCache {
 public:
  // More than a program has that uses every collective at twenty sizes in both placements.
  static constexpr size_t kMostBindings = 256;
  static constexpr uint64_t kMostBytes = uint64_t{16} << 20;
  static constexpr uint32_t kFront = 64;

  // Null if it was never added, or let go. `slot` is the key's place in front, equal for equal keys.
  const Binding* find(uint64_t key, uint32_t slot) {
    const FrontEntry& front = front_[slot % kFront];
    return front.key == key ? front.binding : find_behind(key, slot);
  }
  // Adds one that find() did not find, and lets others go: none may be in use. Stays until it is let go.
  const Binding* add(uint64_t key, uint32_t slot, std::unique_ptr<Binding> binding);
  void clear();

  size_t size() const { return bindings_.size(); }
  uint64_t bytes() const { return bytes_; }

 private:
  struct FrontEntry {
    uint64_t key = UINT64_MAX;
    const Binding* binding = nullptr;
  };
  struct Entry {
    std::unique_ptr<Binding> binding;
    uint64_t used = 0;  // when it came to the front last
    uint32_t slot = 0;
  };

  const Binding* find_behind(uint64_t key, uint32_t slot);
  void let_one_go();

  std::array<FrontEntry, kFront> front_;
  std::unordered_map<uint64_t, Entry> bindings_;
  uint64_t bytes_ = 0;
  uint64_t time_ = 0;
};

}  // namespace comity::engine
