#include "transports/shm/group.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "src/device/host/kernels.h"

namespace comity::shm {
namespace {

// How a path is carried out, in HelloBuffers::variant: first of the paths for plain buffers, then of the
// direct one.
enum Way : uint32_t {
  kWayPlain = 0,
  kWayStream = 1,  // stores around the caches
  kWayCross = 2,   // the kernel's copies instead of staging
};
constexpr uint32_t kWayBits = 4;
constexpr uint32_t kWayMask = (1u << kWayBits) - 1;

// From here on ways are chosen by the time they take.
constexpr uint64_t kTunedBytes = 512 * 1024;

// Longest contribution that goes by eager slots if it is plain: everyone reads what everyone gave, p times p
// reads, where staging waits once more but shares the work. Blocks that one member alone reads are as cheap
// among many.
uint64_t plain_eager_bytes(const CallShape& shape) {
  if (shape.members <= 2 || shape.is_personal()) return kPlainEagerBytes;
  return std::max<uint64_t>(kAlwaysEagerBytes, kPlainEagerBytes / shape.members);
}

}  // namespace

ShmGroup::ShmGroup(GroupCore core, uint64_t key, Board mine, int area)
    : core_(std::move(core)),
      direct_(core_, shape_),
      cross_(core_, shape_),
      staged_(core_, shape_),
      rooted_(core_, shape_),
      varying_(core_, shape_, rooted_),
      key_(key),
      mine_(mine),
      area_(area) {
  const uint32_t p = core_.size();
  shape_.me = core_.me;
  shape_.members = p;
  shape_.begins.assign(p + 1, 0);
  parts_.resize(p);
  mapped_.resize(p);
  crossed_.resize(p);
  core_.all_addressable = core_.cross_memory = true;
  for (Member& member : core_.members) {
    const Peer* peer = member.peer;
    member.doorbell = peer == nullptr ? &mine.doorbell() : &peer->board.doorbell();
    core_.all_addressable = core_.all_addressable && (peer == nullptr || peer->plain_addressable);
    core_.cross_memory =
        core_.cross_memory && (peer == nullptr || peer->plain_addressable || peer->cross_memory);
  }
  direct_.prepare();
  staged_.prepare();
  cross_.prepare();
  rooted_.prepare();
  varying_.prepare();
  found_ = find_peers();
}

bool ShmGroup::find_peers() {
  bool all = true;
  for (uint32_t k = 0; k < core_.size(); ++k) {
    Member& member = core_.members[k];
    if (member.lines != nullptr) continue;
    const Board& board = k == core_.me ? mine_ : member.peer->board;
    const int index = k == core_.me ? area_ : board.find_group(key_);
    if (index < 0) {
      all = false;  // it has not opened this group yet; this member's own area is there
      continue;
    }
    member.lines = &board.group_lines(index);
    member.buffers = &board.group_buffers(index);
    if (k == 0) core_.tickets = &member.lines->tickets;
  }
  return all;
}

void ShmGroup::start(const GroupCall& call) {
  if (stage_ == Stage::kDead) return;
  call_ = &call;
  shape_.set(call);
  if (!shape_.meets) {
    if (shape_.varies()) [[unlikely]]
      return start_varying();
    rooted_.start();
    stage_ = Stage::kRooted;
    return;
  }
  ++core_.sequence;
  announced_ = call.signature ^ rooted_.history();
  seen_ = 0;
  say_hello();
  stage_ = Stage::kHello;
}

void ShmGroup::say_hello() {
  HelloLine& hello = core_.own_hello();
  if (shape_.contribution <= kInlineBytes) {
    pack(hello.payload);
  } else {
    describe_buffers(hello.buffers);
  }
  core_.announce(announced_);
}

bool ShmGroup::describe_place(const std::byte* data, uint64_t bytes, uint32_t& arena,
                              uint64_t& offset) const {
  if (const auto handle = RegionTable::instance().handle_of(data, bytes)) {
    arena = handle->arena;
    offset = handle->offset;
    return true;
  }
  arena = 0;
  offset = reinterpret_cast<uint64_t>(data);
  return false;
}

void ShmGroup::describe_buffers(HelloBuffers& hello) {
  hello = HelloBuffers{};
  eager_said_ = false;
  if (!core_.cross_memory) hello.flags |= kHelloNoCross;
  if (shape_.contribution > kAlwaysEagerBytes && shape_.describable(hello.stride)) {
    if (shape_.in_place()) hello.flags |= kHelloInPlace;
    bool arenas = true;
    const Extents extents = shape_.extents(core_.me, hello.stride);
    if (extents.src != 0) {
      const bool in_arena = describe_place(shape_.src(), extents.src, hello.src_arena, hello.src_offset);
      if (in_arena) hello.flags |= kHelloSrcArena;
      arenas = arenas && in_arena;
    }
    if (extents.dst != 0) {
      const bool in_arena = describe_place(shape_.dst(), extents.dst, hello.dst_arena, hello.dst_offset);
      if (in_arena) hello.flags |= kHelloDstArena;
      arenas = arenas && in_arena;
    }
    if (arenas || core_.all_addressable) hello.flags |= kHelloDirect;
    if (core_.cross_memory) hello.flags |= kHelloCross;
  }
  hello.variant = choose_ways();
  if ((hello.flags & kHelloDirect) != 0) return;
  if (shape_.contribution <= plain_eager_bytes(shape_)) {
    pack(eager_slot(core_.me));
    eager_said_ = true;
    hello.flags |= kHelloEager;
  } else if (!cross_may_pay() || (hello.flags & kHelloCross) == 0) {
    staged_.start();
    staged_.copy_in_early();
    staged_started_ = true;
  }
}

// The candidates of this call as member 0 sees it, in `ways`; the first is taken where nothing is known.
uint32_t ShmGroup::list_ways(uint32_t* ways, bool direct) const {
  uint32_t count = 0;
  ways[count++] = kWayPlain;
  if (core_.members_crowded || shape_.contribution < kTunedBytes) return count;
  if (!is_reduction(call_->collective) || !shape_.in_place()) ways[count++] = kWayStream;
  if (!direct && cross_may_pay()) ways[count++] = kWayCross;
  return count;
}

// Whether the kernel's copies are a candidate; no member takes them otherwise.
bool ShmGroup::cross_may_pay() const {
  return core_.cross_memory && !core_.members_crowded && shape_.contribution >= kTunedBytes;
}

// Member 0 chooses for all, before it knows whether the call will be direct.
uint32_t ShmGroup::choose_ways() {
  if (core_.me != 0) return 0;
  uint32_t ways[Tuner::kCandidates];
  for (const bool direct : {false, true}) {
    const uint32_t count = list_ways(ways, direct);
    chosen_[direct] = tuner_.pick(tuned_kind(direct), shape_.contribution, count);
    chosen_way_[direct] = ways[chosen_[direct]];
  }
  return chosen_way_[0] | chosen_way_[1] << kWayBits;
}

uint32_t ShmGroup::tuned_kind(bool direct) const {
  return static_cast<uint32_t>(call_->collective) * 4 + (direct ? 2 : 0) + (shape_.in_place() ? 1 : 0);
}

std::byte* ShmGroup::eager_slot(uint32_t k) const {
  return core_.members[k].buffers->eager[core_.sequence % kEagerSlots];
}

// kDone: all seen; kBusy: not yet; kMismatch.
Progress ShmGroup::see_hellos() {
  if (!found_ && !(found_ = find_peers())) return Progress::kBusy;
  bool differs = false;
  const bool all = core_.spin([&] {
    for (; seen_ < core_.size(); ++seen_) {
      const HelloLine& hello = core_.hello(seen_);
      if (hello.sequence.load(std::memory_order_acquire) != core_.sequence) return false;
      if (hello.signature != announced_) {
        differs = true;
        return true;
      }
    }
    return true;
  });
  if (differs) [[unlikely]] {
    return mismatch(seen_, core_.sequence);
  }
  return all ? Progress::kDone : Progress::kBusy;
}

Progress ShmGroup::advance_rooted() {
  if (!found_) found_ = find_peers();
  const Progress progress = rooted_.advance();
  if (progress == Progress::kMismatch) return mismatch(rooted_.differs(), rooted_.count());
  if (progress == Progress::kDone) stage_ = Stage::kIdle;
  return progress;
}

Progress ShmGroup::mismatch(uint32_t member, uint64_t number) {
  stage_ = Stage::kDead;
  error_ = Status(
      Code::kInvalidUsage,
      fmt::format("shm: rank {} announced another call than rank {} did as number {} of those of their group "
                  "that {}, or before; all ranks must make the same calls in the same order",
                  core_.members[member].rank, core_.own().rank, number,
                  shape_.meets || (shape_.varies() && varying_.meets()) ? "meet" : "do not meet"));
  return Progress::kMismatch;
}

Progress ShmGroup::poll() {
  if (stage_ == Stage::kHello) {
    const Progress hellos = see_hellos();
    if (hellos != Progress::kDone) return hellos;
    if (shape_.contribution <= kInlineBytes) {
      for (uint32_t k = 0; k < core_.size(); ++k) parts_[k] = core_.hello(k).payload;
      finish_packed();
      return finish();
    }
    choose_path();
  }
  return follow();
}

void ShmGroup::choose_path() {
  uint32_t all = ~0u;
  for (uint32_t k = 0; k < core_.size(); ++k) all &= core_.hello(k).buffers.flags;
  const bool direct = (all & kHelloDirect) != 0;
  const uint32_t variant = core_.hello(0).buffers.variant;
  const uint32_t way = (direct ? variant >> kWayBits : variant) & kWayMask;
  if (shape_.contribution >= kTunedBytes) {
    hear_refusals();
    tuned_direct_ = direct;
    tuned_since_ns_ = now_ns();
  }
  stream_ = way == kWayStream;
  if (direct) {
    stage_ = Stage::kMapDirect;
  } else if (shape_.contribution <= plain_eager_bytes(shape_)) {
    if (!eager_said_) {
      pack(eager_slot(core_.me));
      core_.post(1);
    }
    stage_ = Stage::kEager;
  } else if (way == kWayCross && cross_may_pay() && (all & kHelloCross) != 0) {
    stage_ = Stage::kMapCross;
  } else {
    if (!staged_started_) staged_.start();
    staged_started_ = false;
    staged_.set_stream(stream_);
    stage_ = Stage::kStaged;
  }
}

// Whom the kernel refuses stays refused, and takes the others with it: all hear it from the same hellos.
void ShmGroup::hear_refusals() {
  for (uint32_t k = 0; k < core_.size(); ++k) {
    if ((core_.hello(k).buffers.flags & kHelloNoCross) != 0) core_.cross_memory = false;
  }
}

// Once everyone's buffers are mapped goes on by the path that needs them.
Progress ShmGroup::map_and_follow() {
  const Progress mapped = map_buffers();
  if (mapped != Progress::kDone) return mapped;
  if (stage_ == Stage::kMapDirect) {
    direct_.start(mapped_, stream_);
    stage_ = Stage::kDirect;
  } else {
    cross_.start(crossed_);
    stage_ = Stage::kCross;
  }
  return follow();
}

// Fills mapped_ and crossed_: where everyone's buffers are. kBusy: a descriptor is on its way, others may be
// too.
Progress ShmGroup::map_buffers() {
  bool pending = false;
  for (uint32_t k = 0; k < core_.size(); ++k) {
    const HelloBuffers& hello = core_.hello(k).buffers;
    const Extents extents = shape_.extents(k, hello.stride);
    CrossBuffers& member = crossed_[k];
    member = CrossBuffers{};
    member.at.stride = hello.stride;
    member.at.in_place = (hello.flags & kHelloInPlace) != 0;
    if (k == core_.me) {
      if (extents.src != 0) member.at.src = call_->src[0].data;
      if (extents.dst != 0) member.at.dst = call_->dst[0].data;
    } else if (!map_member(k, hello, extents)) {
      if (stage_ == Stage::kDead) return Progress::kFailed;
      pending = true;
    }
    mapped_[k] = member.at;
  }
  return pending ? Progress::kBusy : Progress::kDone;
}

// False: not yet, or failed.
bool ShmGroup::map_member(uint32_t k, const HelloBuffers& hello, const Extents& extents) {
  CrossBuffers& member = crossed_[k];
  const bool here = core_.members[k].peer->plain_addressable;
  const bool src_in_arena = (hello.flags & kHelloSrcArena) != 0;
  const bool dst_in_arena = (hello.flags & kHelloDstArena) != 0;
  member.src_remote = extents.src != 0 && !src_in_arena && !here;
  member.dst_remote = extents.dst != 0 && !dst_in_arena && !here;
  const auto locate = [&](bool in_arena, uint32_t arena, uint64_t offset, uint64_t bytes, std::byte*& place) {
    if (bytes == 0) return true;
    PeerMemory& memory = core_.members[k].peer->memory;
    place = in_arena ? memory.at(arena, offset, bytes) : reinterpret_cast<std::byte*>(offset);
    if (place != nullptr) return true;
    if (!in_arena)
      static_cast<void>(fail(Code::kRemoteError, "a member announced no buffer"));
    else if (!memory.pending())
      static_cast<void>(fail(memory.failure().code(), std::string(memory.failure().message())));
    return false;
  };
  return locate(src_in_arena, hello.src_arena, hello.src_offset, extents.src, member.at.src) &&
         locate(dst_in_arena, hello.dst_arena, hello.dst_offset, extents.dst, member.at.dst);
}

Progress ShmGroup::follow() {
  switch (stage_) {
    case Stage::kRooted:
      return advance_rooted();
    case Stage::kVarying:
      return advance_varying();
    case Stage::kEager:
      if (!core_.spin([this] { return eager_ready(); })) return Progress::kBusy;
      for (uint32_t k = 0; k < core_.size(); ++k) parts_[k] = eager_slot(k);
      finish_packed();
      return finish();
    case Stage::kMapDirect:
    case Stage::kMapCross:
      return map_and_follow();
    case Stage::kDirect:
      return finish_when_done(direct_.advance());
    case Stage::kStaged:
      return finish_when_done(staged_.advance());
    case Stage::kCross:
      return finish_when_done(cross_.advance());
    case Stage::kIdle:
      return Progress::kDone;
    default:
      return error_.code() == Code::kInvalidUsage ? Progress::kMismatch : Progress::kFailed;
  }
}

Progress ShmGroup::finish_when_done(Progress progress) {
  if (progress == Progress::kDone) return finish();
  if (progress == Progress::kFailed) return fail(Code::kSystemError, cross_.failure());
  return progress;
}

// Whether every contribution is in its slot: it was before the hello, or its owner learnt only from the
// hellos to put it there.
bool ShmGroup::eager_ready() {
  for (uint32_t k = 0; k < core_.size(); ++k) {
    if (k != core_.me && (core_.hello(k).buffers.flags & kHelloEager) == 0 && !core_.did(k, 1)) return false;
  }
  return true;
}

Progress ShmGroup::finish() {
  if (tuned_since_ns_ != 0) {
    if (core_.me == 0) {
      tuner_.record(tuned_kind(tuned_direct_), shape_.contribution, chosen_[tuned_direct_],
                    now_ns() - tuned_since_ns_);
    }
    tuned_since_ns_ = 0;
  }
  stage_ = Stage::kIdle;
  return Progress::kDone;
}

Progress ShmGroup::fail(Code code, std::string message) {
  stage_ = Stage::kDead;
  error_ = Status(
      code, fmt::format("shm: group call {} of rank {}: {}", core_.sequence, core_.own().rank, message));
  return Progress::kFailed;
}

}  // namespace comity::shm
