#include "transports/shm/board.h"

#include <fmt/core.h>

#include <algorithm>

#include "src/base/arithmetic.h"
#include "src/base/hash.h"

namespace comity::shm {
namespace {

static_assert(sizeof(GroupBuffers) % 4096 == 0 && sizeof(RingArea) % 4096 == 0);

// Where the kinds begin in a region for so many boards.
struct Plan {
  explicit Plan(uint32_t nranks) : boards(std::min(nranks, kMaxBoards)) {
    rings = boards == 0 ? 0 : std::min(boards - 1, kMaxRings);
    heads = 4096;
    lines = round_up(heads + uint64_t{boards} * sizeof(BoardHead), 4096);
    lines_stride = uint64_t{boards} * sizeof(GroupLines);
    controls = round_up(lines + kMaxGroups * lines_stride, 4096);
    buffers = round_up(controls + uint64_t{boards} * kMaxRings * sizeof(RingControl), 4096);
    buffers_stride = kMaxGroups * sizeof(GroupBuffers) + rings * sizeof(RingArea);
    end = buffers + boards * buffers_stride;
  }
  uint32_t boards, rings;
  uint64_t heads, lines, lines_stride, controls, buffers, buffers_stride, end;
};

}  // namespace

uint32_t board_place(uint32_t rank) {
  return rank % kMaxBoards;
}

uint64_t BoardRegion::bytes_for(uint32_t nranks) {
  return Plan(nranks).end;
}

BoardRegion BoardRegion::create(std::byte* memory, uint32_t owner, uint32_t nranks) {
  *reinterpret_cast<RegionHeader*>(memory) =
      RegionHeader{kBoardMagic, kBoardVersion, owner, nranks, bytes_for(nranks)};
  return BoardRegion(memory, nranks);
}

Result<BoardRegion> BoardRegion::open(std::byte* memory, uint64_t bytes, uint32_t owner, uint32_t nranks) {
  const auto& header = *reinterpret_cast<const RegionHeader*>(memory);
  if (bytes < bytes_for(nranks) || header.magic != kBoardMagic || header.version != kBoardVersion ||
      header.owner != owner || header.nranks != nranks || header.bytes != bytes_for(nranks)) {
    return Status(
        Code::kRemoteError,
        fmt::format("shm: the memory of rank {} ({} bytes) holds no boards for {} ranks of this version of "
                    "Comity; run the same version on all ranks",
                    owner, bytes, nranks));
  }
  return BoardRegion(memory, nranks);
}

Board BoardRegion::board(uint32_t rank) const {
  const Plan plan(nranks_);
  const uint64_t place = board_place(rank);
  Board board;
  board.head_ = reinterpret_cast<BoardHead*>(memory_ + plan.heads) + place;
  board.lines_ = memory_ + plan.lines + place * sizeof(GroupLines);
  board.lines_stride_ = plan.lines_stride;
  board.controls_ = reinterpret_cast<RingControl*>(memory_ + plan.controls) + place * kMaxRings;
  board.buffers_ = memory_ + plan.buffers + place * plan.buffers_stride;
  board.rings_ = plan.rings;
  return board;
}

int Board::find_ring(uint32_t peer) const {
  for (uint32_t i = 0; i < rings_; ++i) {
    const uint32_t found = controls_[i].peer.load(std::memory_order_acquire);
    if (found == peer + 1) return static_cast<int>(i);
    if (found == 0) break;
  }
  return -1;
}

int Board::take_ring(uint32_t peer) const {
  const int found = find_ring(peer);
  if (found >= 0) return found;
  for (uint32_t i = 0; i < rings_; ++i) {
    if (controls_[i].peer.load(std::memory_order_relaxed) != 0) continue;
    controls_[i].peer.store(peer + 1, std::memory_order_release);
    return static_cast<int>(i);
  }
  return -1;
}

RingArea& Board::ring(int index) const {
  std::byte* begin = buffers_ + kMaxGroups * sizeof(GroupBuffers);
  return reinterpret_cast<RingArea*>(begin)[index];
}

int Board::find_group(uint64_t key) const {
  for (uint32_t i = 0; i < kMaxGroups; ++i) {
    const uint64_t found = head_->groups[i].load(std::memory_order_acquire);
    if (found == key) return static_cast<int>(i);
    if (found == 0) break;
  }
  return -1;
}

int Board::take_group(uint64_t key) const {
  const int found = find_group(key);
  if (found >= 0) return found;
  for (uint32_t i = 0; i < kMaxGroups; ++i) {
    if (head_->groups[i].load(std::memory_order_relaxed) != 0) continue;
    head_->groups[i].store(key, std::memory_order_release);
    return static_cast<int>(i);
  }
  return -1;
}

GroupLines& Board::group_lines(int index) const {
  return *reinterpret_cast<GroupLines*>(lines_ + static_cast<uint64_t>(index) * lines_stride_);
}

GroupBuffers& Board::group_buffers(int index) const {
  return reinterpret_cast<GroupBuffers*>(buffers_)[index];
}

uint64_t group_key(std::span<const uint32_t> members) {
  uint64_t key = mix(members.size());
  for (const uint32_t member : members) key = mix(key ^ member);
  return key == 0 ? 1 : key;
}

}  // namespace comity::shm
