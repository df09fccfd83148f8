#include "transports/shm/memory.h"

#include <fmt/core.h>

#include "src/base/unique_fd.h"

namespace comity::shm {

Result<MappedRegion> map_region(PeerArenas& arenas, DescriptorSource* descriptors, uint64_t process,
                                const std::string& socket_name, uint32_t arena) {
  std::byte* data = arenas.find(process, arena);
  if (data == nullptr) {
    UniqueFd descriptor;
    if (process != process_nonce()) {
      if (descriptors == nullptr) {
        return Status(Code::kInternalError, "there is no way to ask another process for its memory");
      }
      COMITY_ASSIGN_OR_RETURN(const int fd, descriptors->fetch(socket_name, arena));
      descriptor.reset(fd);
    }
    COMITY_ASSIGN_OR_RETURN(data, arenas.map(process, arena, descriptor.get()));
  }
  return MappedRegion{data, arenas.bytes_of(process, arena)};
}

std::byte* PeerMemory::look_up(uint32_t arena, uint64_t offset, uint64_t bytes) {
  auto mapped = map_region(*arenas_, descriptors_, process_, socket_name_, arena);
  if (!mapped.ok()) {
    failure_ = mapped.status().in(fmt::format("mapping memory {} of rank {}", arena, peer_));
    return nullptr;
  }
  windows_[arena % kWindows] = Window{arena, mapped->data, mapped->bytes};
  if (bytes > mapped->bytes || offset > mapped->bytes - bytes) {
    failure_ = Status(Code::kRemoteError,
                      fmt::format("rank {} announced {} bytes at {} of its memory {}, which has {}", peer_,
                                  bytes, offset, arena, mapped->bytes));
    return nullptr;
  }
  return mapped->data + offset;
}

}  // namespace comity::shm
