#include "transports/shm/board.h"

#include <fmt/core.h>

#include <algorithm>

#include "src/base/arithmetic.h"
#include "src/base/hash.h"

namespace comity::shm {
namespace {

constexpr uint64_t kGroupsBegin = round_up(sizeof(BoardHead), 4096);
constexpr uint64_t kRingsBegin = kGroupsBegin + uint64_t{kMaxGroups} * sizeof(GroupArea);
static_assert(sizeof(GroupArea) % 4096 == 0 && sizeof(RingArea) % 4096 == 0);

}  // namespace

uint64_t Board::bytes_for(uint32_t peers) {
  return kRingsBegin + std::min(peers, kMaxRings) * sizeof(RingArea);
}

Board Board::create(std::byte* memory, uint32_t owner, uint32_t peers) {
  Board board(memory);
  board.head_->header =
      BoardHeader{kBoardMagic, kBoardVersion, owner, std::min(peers, kMaxRings), bytes_for(peers)};
  return board;
}

Result<Board> Board::open(std::byte* memory, uint64_t bytes, uint32_t owner) {
  const auto& header = reinterpret_cast<const BoardHead*>(memory)->header;
  if (bytes < kRingsBegin || header.magic != kBoardMagic || header.version != kBoardVersion ||
      header.owner != owner || header.rings > kMaxRings || header.bytes > bytes ||
      header.bytes < bytes_for(header.rings)) {
    return Status(
        Code::kRemoteError,
        fmt::format(
            "shm: the memory of rank {} ({} bytes) is not a board of this version of Comity; run the same "
            "version on all ranks",
            owner, bytes));
  }
  return Board(memory);
}

int Board::find_ring(uint32_t peer) const {
  for (uint32_t i = 0; i < std::min(head_->header.rings, kMaxRings); ++i) {
    const uint32_t found = head_->rings[i].peer.load(std::memory_order_acquire);
    if (found == peer + 1) return static_cast<int>(i);
    if (found == 0) break;
  }
  return -1;
}

int Board::take_ring(uint32_t peer) const {
  const int found = find_ring(peer);
  if (found >= 0) return found;
  for (uint32_t i = 0; i < head_->header.rings; ++i) {
    if (head_->rings[i].peer.load(std::memory_order_relaxed) != 0) continue;
    head_->rings[i].peer.store(peer + 1, std::memory_order_release);
    return static_cast<int>(i);
  }
  return -1;
}

RingArea& Board::ring(int index) const {
  auto* memory = reinterpret_cast<std::byte*>(head_);
  return *reinterpret_cast<RingArea*>(memory + kRingsBegin + static_cast<uint64_t>(index) * sizeof(RingArea));
}

int Board::find_group(uint64_t key) const {
  for (uint32_t i = 0; i < kMaxGroups; ++i) {
    const uint64_t found = head_->groups[i].key.load(std::memory_order_acquire);
    if (found == key) return static_cast<int>(i);
    if (found == 0) break;
  }
  return -1;
}

int Board::take_group(uint64_t key) const {
  const int found = find_group(key);
  if (found >= 0) return found;
  for (uint32_t i = 0; i < kMaxGroups; ++i) {
    if (head_->groups[i].key.load(std::memory_order_relaxed) != 0) continue;
    head_->groups[i].key.store(key, std::memory_order_release);
    return static_cast<int>(i);
  }
  return -1;
}

GroupArea& Board::group(int index) const {
  auto* memory = reinterpret_cast<std::byte*>(head_);
  return *reinterpret_cast<GroupArea*>(memory + kGroupsBegin +
                                       static_cast<uint64_t>(index) * sizeof(GroupArea));
}

uint64_t group_key(std::span<const uint32_t> members) {
  uint64_t key = mix(members.size());
  for (const uint32_t member : members) key = mix(key ^ member);
  return key == 0 ? 1 : key;
}

}  // namespace comity::shm
