#include "transports/shm/memory.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "src/base/unique_fd.h"

namespace comity::shm {

PeerMemory::PeerMemory(uint32_t peer, uint64_t process, std::string socket_name, PeerRegions& regions)
    : peer_(peer), process_(process), socket_name_(std::move(socket_name)), regions_(regions) {
  regions_.users_.push_back(this);
}

PeerMemory::~PeerMemory() {
  std::erase(regions_.users_, this);
}

Result<std::byte*> PeerMemory::map(uint32_t arena) {
  if (process_ == process_nonce()) return regions_.arenas_.map(process_, arena, -1);
  if (regions_.descriptors_ == nullptr)
    return Status(Code::kInternalError, "there is no way to ask another process for its memory");
  if (fetch_ == nullptr || fetched_ != arena) {
    fetch_ = regions_.descriptors_->fetch(socket_name_, arena, regions_.arenas_.held_of(process_));
    fetched_ = arena;
  }
  const Result<int> fetched = fetch_->poll();
  if (fetched.ok() && *fetched < 0) return nullptr;
  const std::unique_ptr<DescriptorFetch> over = std::exchange(fetch_, nullptr);
  COMITY_RETURN_IF_ERROR(fetched.status());
  const UniqueFd descriptor = own_fd(*fetched);
  forget(over->gone());
  return regions_.arenas_.map(process_, arena, descriptor.get());
}

// No call uses memory that its owner gave back; should a peer name it again, it is looked up again, and
// refused.
void PeerMemory::forget(const std::vector<uint32_t>& gone) {
  if (gone.empty()) return;
  for (PeerMemory* user : regions_.users_) {
    if (user->process_ != process_) continue;
    for (Window& window : user->windows_) {
      if (std::find(gone.begin(), gone.end(), window.arena) != gone.end()) window = Window{};
    }
  }
  regions_.arenas_.forget(process_, gone);
}

std::byte* PeerMemory::look_up(uint32_t arena, uint64_t offset, uint64_t bytes) {
  std::byte* base = regions_.arenas_.find(process_, arena);
  if (base == nullptr) {
    const Result<std::byte*> mapped = map(arena);
    if (!mapped.ok()) {
      failure_ = mapped.status().in(fmt::format("mapping memory {} of rank {}", arena, peer_));
      return nullptr;
    }
    if (*mapped == nullptr) return nullptr;
    base = *mapped;
  }
  const uint64_t size = regions_.arenas_.bytes_of(process_, arena);
  windows_[arena % kWindows] = Window{arena, base, size};
  if (bytes > size || offset > size - bytes) {
    failure_ = Status(Code::kRemoteError,
                      fmt::format("rank {} announced {} bytes at {} of its memory {}, which has {}", peer_,
                                  bytes, offset, arena, size));
    return nullptr;
  }
  return base + offset;
}

}  // namespace comity::shm
