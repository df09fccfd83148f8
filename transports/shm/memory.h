// Where in this process is that offset of that arena of a peer's? What direct addressing asks for every
// buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "src/device/host/arena.h"

namespace comity::shm {

class PeerMemory;

// The arenas of other processes that one rank maps, and how it comes by them. An arena that its owner gave
// back is unmapped when the next one of that process is mapped: so there are never more than their owners
// have, and those that they gave back since.
class PeerRegions {
 public:
  explicit PeerRegions(DescriptorSource* descriptors) : descriptors_(descriptors) {}
  PeerRegions(const PeerRegions&) = delete;
  PeerRegions& operator=(const PeerRegions&) = delete;

 private:
  friend class PeerMemory;
  PeerArenas arenas_;
  DescriptorSource* descriptors_;
  std::vector<PeerMemory*> users_;
};

// A peer's arenas, mapped when first needed.
class PeerMemory {
 public:
  // `peer` for messages. `process` and `socket_name` say whose arenas and where their descriptors are.
  PeerMemory(uint32_t peer, uint64_t process, std::string socket_name, PeerRegions& regions);
  ~PeerMemory();
  PeerMemory(const PeerMemory&) = delete;
  PeerMemory& operator=(const PeerMemory&) = delete;

  // Bytes [offset, offset + bytes) of an arena, here. Null and pending(): its descriptor is on its way, ask
  // again. Null otherwise: they do not exist or cannot be mapped, failure() says why. Never blocks; a compare
  // and an add but at the first sight of an arena.
  std::byte* at(uint32_t arena, uint64_t offset, uint64_t bytes) {
    const Window& last = windows_[arena % kWindows];
    if (last.arena == arena && bytes <= last.bytes && offset <= last.bytes - bytes) [[likely]] {
      return last.base + offset;
    }
    return look_up(arena, offset, bytes);
  }
  bool pending() const { return fetch_ != nullptr; }
  const Status& failure() const { return failure_; }

 private:
  static constexpr uint32_t kWindows = 8;
  struct Window {
    uint32_t arena = 0;  // 0: none
    std::byte* base = nullptr;
    uint64_t bytes = 0;
  };
  std::byte* look_up(uint32_t arena, uint64_t offset, uint64_t bytes);
  // Null: not yet, if pending().
  Result<std::byte*> map(uint32_t arena);
  void forget(const std::vector<uint32_t>& gone);

  uint32_t peer_;
  uint64_t process_;
  std::string socket_name_;
  PeerRegions& regions_;
  std::unique_ptr<DescriptorFetch> fetch_;
  uint32_t fetched_ = 0;  // the arena that is fetched
  Window windows_[kWindows];
  Status failure_;
};

}  // namespace comity::shm
