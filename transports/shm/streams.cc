#include "transports/shm/streams.h"

#include <fmt/core.h>

#include <algorithm>

#include "src/base/arithmetic.h"
#include "src/device/host/kernels.h"

namespace comity::shm {
namespace {

// Slots in turn: with cores to spare few, which a core's cache holds; else all, since every wait costs a turn
// on the core.
constexpr uint64_t kSlotsInCache = 4;
static_assert(kSlotsInCache <= kStreamSlots);
// Of a direct block, copied at once.
constexpr uint64_t kPieceBytes = 256 * 1024;
// Copied per advance(); see DirectPath.
constexpr uint64_t kWorkBytes = 4 * 1024 * 1024;

}  // namespace

void Streams::prepare() {
  slots_ = core_.members_crowded ? kStreamSlots : kSlotsInCache;
  given_.assign(core_.size(), 0);
  gives_.reserve(core_.size());
  takes_.reserve(core_.size());
}

void Streams::begin() {
  gives_.clear();
  takes_.clear();
  direct_ = asks_ = false;
  windows_ = filled_ = freed_ = 0;
  next_fill_ = next_free_ = 0;
}

// --- giving

void Streams::give(uint32_t k, const Piece& block) {
  gives_.push_back({k, block.data, block.bytes, 0});
}

StreamOffer Streams::offer() {
  StreamOffer offer{0, 0, base_};
  if (gives_.empty()) return offer;
  direct_ = lies_in_memory_of_all(offer);
  if (direct_) {
    windows_ = filled_ = 1;
    return offer;
  }
  uint64_t place = 0;
  for (Give& give : gives_) {
    give.place = place;
    place += give.bytes;
  }
  windows_ = divide_up(place, kStreamSlotBytes);
  return offer;
}

// All blocks in one arena, or all members in this process.
bool Streams::lies_in_memory_of_all(StreamOffer& offer) {
  const std::byte* begin = gives_[0].data;
  const std::byte* end = begin;
  for (const Give& give : gives_) {
    begin = std::min(begin, give.data);
    end = std::max(end, give.data + give.bytes);
  }
  const auto handle = RegionTable::instance().handle_of(begin, static_cast<uint64_t>(end - begin));
  if (!handle && !core_.all_addressable) return false;
  offer.flags = kOfferDirect;
  if (handle) {
    offer.flags |= kOfferArena;
    offer.arena = handle->arena;
  }
  const uint64_t first = handle ? handle->offset : reinterpret_cast<uint64_t>(begin);
  for (Give& give : gives_) give.place = first + static_cast<uint64_t>(give.data - begin);
  return true;
}

bool Streams::is_taken(const Give& give, uint64_t w) const {
  const GroupBuffers* buffers = core_.members[give.member].buffers;
  if (buffers == nullptr) return false;
  const uint64_t taken = buffers->streams.taken[core_.me].load(std::memory_order_acquire);
  const uint64_t wanted = given_[give.member] + (w - first_window(give)) + 1;
  return static_cast<int64_t>(taken - wanted) >= 0;
}

// Gives back the next window that is filled, once all that have a part in it took that.
bool Streams::see_taken() {
  if (freed_ == filled_) return false;
  for (size_t i = next_free_; i < gives_.size() && first_window(gives_[i]) <= freed_; ++i) {
    if (!is_taken(gives_[i], freed_)) return false;
  }
  ++freed_;
  while (next_free_ < gives_.size() && last_window(gives_[next_free_]) < freed_) ++next_free_;
  return true;
}

// Fills the next window, if its slot is free.
bool Streams::fill() {
  if (filled_ == windows_ || filled_ - freed_ == slots_) return false;
  StreamArea& area = core_.own().buffers->streams;
  std::byte* slot = area.slots[(base_ + filled_) % slots_];
  const uint64_t begin = filled_ * kStreamSlotBytes, end = begin + kStreamSlotBytes;
  size_t i = next_fill_;
  for (; i < gives_.size() && gives_[i].place < end; ++i) {
    const Give& give = gives_[i];
    const uint64_t from = std::max(begin, give.place), to = std::min(end, give.place + give.bytes);
    copy_host(slot + (from - begin), give.data + (from - give.place), to - from, false);
    moved_ += to - from;
  }
  ++filled_;
  area.filled.store(base_ + filled_, std::memory_order_release);
  if (core_.waits_crowded) full_fence();
  for (size_t told = next_fill_; told < i; ++told) shm::ring(*core_.members[gives_[told].member].doorbell);
  while (next_fill_ < gives_.size() && gives_[next_fill_].place + gives_[next_fill_].bytes <= end)
    ++next_fill_;
  return true;
}

// --- taking

void Streams::take(uint32_t k, const StreamOffer& offer, uint64_t place, const Piece& to) {
  takes_.push_back({k, offer, place, to, 0, nullptr});
}

void Streams::count_taken(const Take& take) {
  std::atomic<uint64_t>& taken = core_.own().buffers->streams.taken[take.member];
  taken.store(taken.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  if (core_.waits_crowded) full_fence();
  shm::ring(*core_.members[take.member].doorbell);
}

bool Streams::locate(Take& take) {
  if (take.source != nullptr) return true;
  const bool in_arena = (take.offer.flags & kOfferArena) != 0;
  Peer& peer = *core_.members[take.member].peer;
  if (in_arena) {
    take.source = peer.memory.at(take.offer.arena, take.place, take.to.bytes);
  } else if (peer.plain_addressable) {
    take.source = reinterpret_cast<const std::byte*>(take.place);
  }
  if (take.source != nullptr) return true;
  if (in_arena && peer.memory.pending()) {
    asks_ = true;
  } else {
    failure_ = in_arena ? peer.memory.failure()
                        : Status(Code::kRemoteError, fmt::format("rank {} offered memory that is not shared",
                                                                 core_.members[take.member].rank));
  }
  return false;
}

bool Streams::take_direct(Take& take) {
  if (!locate(take)) return !failure_.ok();
  const uint64_t bytes = std::min(kPieceBytes, take.to.bytes - take.done);
  copy_host(take.to.data + take.done, take.source + take.done, bytes, false);
  take.done += bytes;
  moved_ += bytes;
  if (take.done == take.to.bytes) count_taken(take);
  return true;
}

bool Streams::take_staged(Take& take) {
  const StreamArea& area = core_.members[take.member].buffers->streams;
  const uint64_t at = take.place + take.done;
  const uint64_t window = take.offer.base + at / kStreamSlotBytes;
  if (static_cast<int64_t>(area.filled.load(std::memory_order_acquire) - window) <= 0) return false;
  const uint64_t in_slot = at % kStreamSlotBytes;
  const uint64_t bytes = std::min(kStreamSlotBytes - in_slot, take.to.bytes - take.done);
  copy_host(take.to.data + take.done, area.slots[window % slots_] + in_slot, bytes, false);
  take.done += bytes;
  moved_ += bytes;
  count_taken(take);
  return true;
}

bool Streams::take_some(Take& take) {
  return (take.offer.flags & kOfferDirect) != 0 ? take_direct(take) : take_staged(take);
}

// --- both

// One turn: what can be given and taken now. True if anything was, or failed.
bool Streams::step() {
  bool moved = false;
  while (see_taken()) moved = true;
  moved = fill() || moved;
  asks_ = false;
  for (size_t i = 0; i < takes_.size();) {
    moved = take_some(takes_[i]) || moved;
    if (takes_[i].done == takes_[i].to.bytes) {
      takes_[i] = takes_.back();
      takes_.pop_back();
    } else {
      ++i;
    }
  }
  return moved;
}

void Streams::finish() {
  for (const Give& give : gives_) given_[give.member] += last_window(give) - first_window(give) + 1;
  if (!direct_) base_ += windows_;
  begin();
}

Progress Streams::advance() {
  const uint64_t before = moved_;
  while (!all_given() || !takes_.empty()) {
    if (moved_ - before >= kWorkBytes) return core_.beat();
    if (!core_.spin([this] { return step(); })) return moved_ == before ? Progress::kBusy : core_.beat();
    if (!failure_.ok()) return Progress::kFailed;
  }
  finish();
  return Progress::kDone;
}

bool Streams::waits_for_taking(uint32_t k) const {
  return std::any_of(gives_.begin(), gives_.end(), [&](const Give& give) {
    return give.member == k && filled_ > first_window(give) &&
           !is_taken(give, std::min(filled_ - 1, last_window(give)));
  });
}

bool Streams::waits_for_giving(uint32_t k) const {
  return std::any_of(takes_.begin(), takes_.end(), [&](const Take& take) { return take.member == k; });
}

}  // namespace comity::shm
