// Where in this process is that offset of that arena of a peer's? What direct addressing asks for every
// buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "src/device/host/arena.h"

namespace comity::shm {

// Maps region `arena` of the process `process` through its descriptor, or finds it mapped; of this process
// itself it is the region's own mapping. Blocks as long as fetching a descriptor does. Errors say what
// failed, not whose region it is.
struct MappedRegion {
  std::byte* data = nullptr;
  uint64_t bytes = 0;
};
Result<MappedRegion> map_region(PeerArenas& arenas, DescriptorSource* descriptors, uint64_t process,
                                const std::string& socket_name, uint32_t arena);

// A peer's arenas, mapped when first needed and kept.
class PeerMemory {
 public:
  // `peer` for messages. `process` and `socket_name` say whose arenas and where their descriptors are.
  PeerMemory(uint32_t peer, uint64_t process, std::string socket_name, PeerArenas* arenas,
             DescriptorSource* descriptors)
      : peer_(peer),
        process_(process),
        socket_name_(std::move(socket_name)),
        arenas_(arenas),
        descriptors_(descriptors) {}
  // Bytes [offset, offset + bytes) of an arena, here. Null: they do not exist or cannot be mapped, failure()
  // says why. Blocks at the first sight of an arena, for as long as the descriptor takes (bounded); a compare
  // and an add afterwards.
  std::byte* at(uint32_t arena, uint64_t offset, uint64_t bytes) {
    const Window& last = windows_[arena % kWindows];
    if (last.arena == arena && bytes <= last.bytes && offset <= last.bytes - bytes) [[likely]] {
      return last.base + offset;
    }
    return look_up(arena, offset, bytes);
  }
  const Status& failure() const { return failure_; }

 private:
  static constexpr uint32_t kWindows = 8;
  struct Window {
    uint32_t arena = 0;  // 0: none
    std::byte* base = nullptr;
    uint64_t bytes = 0;
  };
  std::byte* look_up(uint32_t arena, uint64_t offset, uint64_t bytes);

  uint32_t peer_;
  uint64_t process_;
  std::string socket_name_;
  PeerArenas* arenas_;
  DescriptorSource* descriptors_;
  Window windows_[kWindows];
  Status failure_;
};

}  // namespace comity::shm
