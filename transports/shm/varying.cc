#include "transports/shm/varying.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "src/base/arithmetic.h"
#include "src/device/host/kernels.h"

namespace comity::shm {
namespace {

static_assert(kMostVarying * sizeof(PairLengths) + kPlainEagerBytes <= kEagerBytes);

// Behind the words of a rooted slot whose bytes are more than it holds.
struct LongGift {
  StreamOffer offer;
  uint64_t place;  // of a gather's one block
};
static_assert(sizeof(LongGift) <= kRootedInlineBytes);

// Of all blocks but one's own; UINT64_MAX where that overflows.
uint64_t bytes_for_others(const CallShape& shape) {
  uint64_t bytes = 0;
  for (uint32_t k = 0; k < shape.members; ++k) {
    if (k != shape.me && __builtin_add_overflow(bytes, shape.call->src[k].bytes, &bytes)) return UINT64_MAX;
  }
  return bytes;
}

}  // namespace

void VaryingPath::start() {
  streams_.begin();
  if (meets()) return say_hello();
  rooted_.begin();
  seen_ = 0;
  stage_ = rooted_.gives(core_.me) ? Stage::kRoom : Stage::kSee;
  if (stage_ == Stage::kRoom && rooted_.has_room()) give();
}

// --- all_to_all_v

void VaryingPath::say_hello() {
  ++core_.sequence;
  announced_ = shape_.call->signature ^ rooted_.history();
  seen_ = 0;
  stage_ = Stage::kSee;
  core_.own_hello().buffers = HelloBuffers{};
  pack_hello();
  core_.announce(announced_);
}

void VaryingPath::pack_hello() {
  PairLengths* own = table(core_.me);
  const GroupCall& call = *shape_.call;
  uint64_t place = core_.size() * sizeof(PairLengths);
  for (uint32_t k = 0; k < core_.size(); ++k) {
    own[k] = {call.src[k].bytes, place, call.dst[k].bytes};
    if (k != core_.me) place += call.src[k].bytes;
  }
  const uint64_t bytes = bytes_for_others(shape_);
  if (bytes > kAlwaysEagerBytes) offer_blocks();
  if (streams_.given() != 0) return;
  core_.own_hello().buffers.flags = kHelloEager;
  for (uint32_t k = 0; k < core_.size(); ++k) {
    if (k != core_.me) copy_host(slot(core_.me) + own[k].place, call.src[k].data, call.src[k].bytes, false);
  }
}

// Gives nothing if a copy into the eager slot is better.
void VaryingPath::offer_blocks() {
  const uint32_t p = core_.size();
  for (uint32_t distance = 1; distance < p; ++distance) {
    const uint32_t k = (core_.me + distance) % p;
    if (shape_.call->src[k].bytes != 0) streams_.give(k, shape_.call->src[k]);
  }
  const StreamOffer offer = streams_.offer();
  if ((offer.flags & kOfferDirect) == 0 && bytes_for_others(shape_) <= kPlainEagerBytes)
    return streams_.begin();
  HelloBuffers& hello = core_.own_hello().buffers;
  hello.variant = offer.flags;
  hello.src_arena = offer.arena;
  hello.stride = offer.base;
  for (size_t i = 0; i < streams_.given(); ++i)
    table(core_.me)[streams_.given_to(i)].place = streams_.given_place(i);
}

// True once all hellos were seen, and where one of them differs.
bool VaryingPath::see_hellos() {
  for (; seen_ < core_.size(); ++seen_) {
    const HelloLine& hello = core_.hello(seen_);
    if (hello.sequence.load(std::memory_order_acquire) != core_.sequence) return false;
    if (hello.signature != announced_) {
      differs_ = seen_;
      return true;
    }
    if (seen_ != core_.me && !take_from_table(seen_)) return true;
  }
  shape_.keep_own_block();
  return true;
}

bool VaryingPath::take_from_table(uint32_t k) {
  const HelloBuffers& hello = core_.hello(k).buffers;
  const PairLengths pair = table(k)[core_.me];
  const Piece& to = shape_.call->dst[k];
  const uint64_t sent = shape_.call->src[k].bytes;
  if (pair.given != to.bytes) return differ(k, core_.me, pair.given, to.bytes);
  if (pair.expected != sent) return differ(core_.me, k, sent, pair.expected);
  if (to.bytes == 0) return true;
  if ((hello.flags & kHelloEager) != 0) return take_packed(slot(k), pair.place, kEagerBytes, k, to);
  streams_.take(k, {hello.variant, hello.src_arena, hello.stride}, pair.place, to);
  return true;
}

bool VaryingPath::take_packed(std::byte* from, uint64_t place, uint64_t room, uint32_t k, const Piece& to) {
  if (to.bytes > room || place > room - to.bytes) return break_off(k, "put a block outside its slot");
  copy_host(to.data, from + place, to.bytes, false);
  return true;
}

// --- gather_v and scatter_v

void VaryingPath::give() {
  if (shape_.call->collective == Collective::kGatherV) {
    give_to_root();
  } else {
    give_from_root();
    shape_.keep_own_block();
  }
  stage_ = Stage::kStreams;
}

void VaryingPath::give_to_root() {
  const Piece& block = shape_.call->src[0];
  if (block.bytes <= kRootedBytes) {
    copy_host(rooted_.place(core_.me, block.bytes), block.data, block.bytes, false);
  } else {
    streams_.give(shape_.call->root, block);
    const StreamOffer offer = streams_.offer();
    const LongGift gift{offer, streams_.given_place(0)};
    std::memcpy(rooted_.slot(core_.me).payload, &gift, sizeof(gift));
  }
  rooted_.say_given(block.bytes);
}

void VaryingPath::give_from_root() {
  const uint64_t bytes = bytes_for_others(shape_), table_bytes = core_.size() * sizeof(SlotBlock);
  if (bytes <= kRootedBytes && table_bytes + bytes <= kRootedBytes) {
    pack_blocks(rooted_.place(core_.me, table_bytes + bytes), table_bytes);
    return rooted_.say_given(table_bytes + bytes);
  }
  offer_table();
  rooted_.say_given(UINT64_MAX);
}

void VaryingPath::pack_blocks(std::byte* to, uint64_t place) const {
  for (uint32_t k = 0; k < core_.size(); ++k) {
    const Piece& block = shape_.call->src[k];
    const uint64_t bytes = k == core_.me ? 0 : block.bytes;
    const SlotBlock entry{static_cast<uint32_t>(bytes), static_cast<uint32_t>(place)};
    std::memcpy(to + k * sizeof(entry), &entry, sizeof(entry));
    copy_host(to + place, block.data, bytes, false);
    place += bytes;
  }
}

void VaryingPath::offer_table() {
  const uint32_t p = core_.size();
  std::byte* entries = rooted_.place(core_.me, kRootedBytes);
  std::memset(entries, 0, p * sizeof(OfferedBlock));
  for (uint32_t distance = 1; distance < p; ++distance) {
    const uint32_t k = (core_.me + distance) % p;
    if (shape_.call->src[k].bytes != 0) streams_.give(k, shape_.call->src[k]);
  }
  const LongGift gift{streams_.offer(), 0};
  for (size_t i = 0; i < streams_.given(); ++i) {
    const uint32_t k = streams_.given_to(i);
    const OfferedBlock entry{shape_.call->src[k].bytes, streams_.given_place(i)};
    std::memcpy(entries + k * sizeof(entry), &entry, sizeof(entry));
  }
  std::memcpy(rooted_.slot(core_.me).payload, &gift, sizeof(gift));
}

// True once all that give to this member were seen, and where one of them differs.
bool VaryingPath::see_givers() {
  for (; seen_ < core_.size(); ++seen_) {
    if (seen_ == core_.me || !rooted_.gives(seen_)) continue;
    if (!rooted_.is_given(seen_)) return false;
    if (!rooted_.is_this_call(seen_)) {
      differs_ = seen_;
      return true;
    }
    if (!(seen_ == shape_.call->root ? take_from_root() : take_from(seen_))) return true;
  }
  if (shape_.is_root()) shape_.keep_own_block();
  return true;
}

bool VaryingPath::take_from(uint32_t k) {
  const Piece& to = shape_.call->dst[k];
  const RootedSlot& slot = rooted_.slot(k);
  const uint64_t given = slot.bytes;
  if (given != to.bytes) return differ(k, core_.me, given, to.bytes);
  if (given <= kRootedBytes) {
    copy_host(to.data, rooted_.place(k, given), given, false);
    return true;
  }
  LongGift gift;
  std::memcpy(&gift, slot.payload, sizeof(gift));
  streams_.take(k, gift.offer, gift.place, to);
  return true;
}

bool VaryingPath::take_from_root() {
  const uint32_t root = shape_.call->root;
  const Piece& to = shape_.call->dst[0];
  const RootedSlot& slot = rooted_.slot(root);
  const uint64_t bytes = slot.bytes;
  if (bytes <= kRootedBytes) {
    if (bytes < core_.size() * sizeof(SlotBlock)) return break_off(root, "gave a table that is too short");
    std::byte* from = rooted_.place(root, bytes);
    SlotBlock entry;
    std::memcpy(&entry, from + core_.me * sizeof(entry), sizeof(entry));
    if (entry.bytes != to.bytes) return differ(root, core_.me, entry.bytes, to.bytes);
    return take_packed(from, entry.place, bytes, root, to);
  }
  OfferedBlock entry;
  std::memcpy(&entry, rooted_.place(root, kRootedBytes) + core_.me * sizeof(entry), sizeof(entry));
  if (entry.bytes != to.bytes) return differ(root, core_.me, entry.bytes, to.bytes);
  if (to.bytes == 0) return true;
  LongGift gift;
  std::memcpy(&gift, slot.payload, sizeof(gift));
  streams_.take(root, gift.offer, entry.place, to);
  return true;
}

// --- both

bool VaryingPath::differ(uint32_t giver, uint32_t taker, uint64_t given, uint64_t expected) {
  differs_ = giver == core_.me ? taker : giver;
  lengths_ = {core_.members[giver].rank, core_.members[taker].rank, given, expected};
  return false;
}

bool VaryingPath::break_off(uint32_t k, const char* what) {
  failure_ = Status(Code::kRemoteError, fmt::format("rank {} {}", core_.members[k].rank, what));
  return false;
}

Progress VaryingPath::advance(bool complete) {
  if (stage_ == Stage::kRoom) {
    if (!core_.spin([this] { return rooted_.has_room() || rooted_.differs() != UINT32_MAX; }))
      return Progress::kBusy;
    differs_ = rooted_.differs();
    if (differs_ != UINT32_MAX) return Progress::kMismatch;
    give();
  }
  if (stage_ == Stage::kSee) {
    if (meets() && !complete) return Progress::kBusy;
    if (!core_.spin([this] { return meets() ? see_hellos() : see_givers(); })) return Progress::kBusy;
    if (differs_ != UINT32_MAX) return Progress::kMismatch;
    if (!failure_.ok()) return Progress::kFailed;
    stage_ = Stage::kStreams;
  }
  const Progress progress = streams_.advance();
  if (progress == Progress::kFailed) failure_ = streams_.failure();
  if (progress == Progress::kDone && !meets() && !rooted_.gives(core_.me)) rooted_.acknowledge();
  return progress;
}

std::string_view VaryingPath::awaits() const {
  if (stage_ == Stage::kRoom) return "to come within 64 calls";
  return stage_ == Stage::kSee ? "to enter the call" : "to do its part";
}

bool VaryingPath::waits_for(uint32_t k) const {
  if (stage_ == Stage::kStreams) return streams_.waits_for_giving(k) || streams_.waits_for_taking(k);
  if (!meets()) return rooted_.waits_for(k);
  return core_.members[k].lines == nullptr ||
         core_.hello(k).sequence.load(std::memory_order_acquire) != core_.sequence;
}

}  // namespace comity::shm
