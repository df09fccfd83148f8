#include "transports/shm/rooted.h"

#include <algorithm>

#include "src/device/host/kernels.h"

namespace comity::shm {
namespace {

uint64_t acknowledged(const Member& member) {
  return member.lines == nullptr ? 0 : member.lines->acknowledged.done.load(std::memory_order_acquire);
}

// How many calls a member that acknowledged so is behind `count`; less than 0: it is ahead. Half the range of
// the low word is more than members are ever apart.
int64_t calls_behind(uint64_t count, uint64_t acknowledged) {
  return static_cast<int32_t>(static_cast<uint32_t>(count) - static_cast<uint32_t>(acknowledged));
}

}  // namespace

void RootedPath::prepare() {
  parts_.resize(core_.size());
}

void RootedPath::start() {
  begin();
  if (!given_ && has_room()) give();
}

// A member that is further than it may be will be looked at again.
bool RootedPath::has_room() {
  if (count_ <= room_until_) [[likely]] {
    return true;
  }
  int64_t most_behind = 1;
  for (uint32_t k = 0; k < core_.size(); ++k) {
    if (k == core_.me) continue;
    const uint64_t done = acknowledged(core_.members[k]);
    const int64_t behind = calls_behind(count_, done);
    if (behind > static_cast<int64_t>(kRootedSlots)) return false;
    if (behind > 0 && histories_[(count_ - static_cast<uint64_t>(behind)) % kHistories] !=
                          static_cast<uint32_t>(done >> kHistoryShift)) {
      differs_ = k;
      return false;
    }
    most_behind = std::max(most_behind, behind);
  }
  room_until_ = count_ - static_cast<uint64_t>(most_behind) + kRootedSlots;
  return true;
}

void RootedPath::give() {
  pack(place(core_.me, shape_.own_contribution));
  say_given(shape_.own_contribution);
}

void RootedPath::pack(std::byte* to) const {
  for (const Piece& piece : shape_.call->src) {
    copy_host(to, piece.data, piece.bytes, false);
    to += piece.bytes;
  }
}

std::byte* RootedPath::place(uint32_t k, uint64_t bytes) const {
  GroupBuffers& buffers = *core_.members[k].buffers;
  const uint64_t index = count_ % kRootedSlots;
  if (bytes <= kRootedInlineBytes) return buffers.rooted[index].payload;
  return bytes <= kRootedShortBytes ? buffers.rooted_short[index] : buffers.rooted_long[index];
}

bool RootedPath::is_given(uint32_t k) const {
  return core_.members[k].lines != nullptr && slot(k).count.load(std::memory_order_acquire) == count_;
}

// Whether all that this member takes is there; true too where a giver differs.
bool RootedPath::see_givers() {
  if (gives(core_.me)) return true;  // and takes nothing
  for (; seen_ < to_see_; ++seen_) {
    if (seen_ == core_.me) continue;
    if (!is_given(seen_)) return false;
    if (slot(seen_).signature != announced_ || slot(seen_).bytes > kRootedBytes) {
      differs_ = seen_;
      return true;
    }
  }
  return true;
}

void RootedPath::reduce() {
  const GroupCall& call = *shape_.call;
  for (uint32_t k = 0; k < core_.size(); ++k) parts_[k] = k == core_.me ? shape_.src() : given_by(k);
  std::byte* destination = shape_.dst();
  reduce_host(ReduceWork{call.type, call.op, parts_, std::span(&destination, 1),
                         shape_.length / size_of(call.type), call.divisor, false});
}

void RootedPath::take() {
  const GroupCall& call = *shape_.call;
  if (core_.me != call.root) {
    if (!root_gives_) return;
    const uint64_t begin = call.collective == Collective::kScatter ? shape_.begins[core_.me] : 0;
    copy_host(shape_.dst(), given_by(call.root) + begin, call.dst[0].bytes, false);
    return;
  }
  if (call.collective == Collective::kReduce) return reduce();
  shape_.keep_own_block();
  for (uint32_t k = 0; call.collective == Collective::kGather && k < core_.size(); ++k) {
    if (k != core_.me) copy_host(call.dst[k].data, given_by(k), call.dst[k].bytes, false);
  }
}

Progress RootedPath::advance() {
  if (!given_) {
    if (!core_.spin([this] { return has_room() || differs_ != UINT32_MAX; })) return Progress::kBusy;
    if (differs_ != UINT32_MAX) return Progress::kMismatch;
    give();
  }
  if (!core_.spin([this] { return see_givers(); })) return Progress::kBusy;
  if (differs_ != UINT32_MAX) return Progress::kMismatch;
  take();
  if (!gives(core_.me)) acknowledge();
  return Progress::kDone;
}

bool RootedPath::waits_for(uint32_t k) const {
  if (k == core_.me) return false;
  if (held_back()) {
    return calls_behind(count_, acknowledged(core_.members[k])) > static_cast<int64_t>(kRootedSlots);
  }
  return gives(k) && !is_given(k);
}

}  // namespace comity::shm
