// Carries out short calls in which one member gives or takes (broadcast, scatter, reduce, gather) without a
// meeting: who only gives leaves before the others came, at most kRootedSlots such calls ahead of anyone.
//
//   giver                                     taker
//   slot count % 64: bytes, signature,        waits for that count in the slot of every giver;
//   count                            ------>  other signature -> mismatch; takes the bytes
//   acknowledged: history, count              acknowledged: history, count
//
// Givers are the root of a broadcast or scatter, and all but the root of a reduce or gather. These calls are
// counted apart from those that meet, so neither disturbs what the other reuses. Before a giver writes call c
// into its slot every member has acknowledged call c - 64, so a late taker finds its bytes whole, and no two
// members are ever further apart. A giver looks at the counts only when those that it knows are not enough:
// once in 64 calls if all keep up.
//
// The history is a hash over the signatures of all these calls. It is mixed into what members compare in
// every later call, and acknowledged with the count: members that called different things, and never waited
// for each other in them, learn it where they meet next, or 64 such calls later at most.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "src/base/hash.h"
#include "transports/shm/call_shape.h"
#include "transports/shm/group_core.h"

namespace comity::shm {

class RootedPath {
 public:
  RootedPath(GroupCore& core, const CallShape& shape) : core_(core), shape_(shape) {}
  // For the members; allocates.
  void prepare();
  // The next call of this kind. Gives at once where there is room. Never blocks.
  void start();
  // For such calls whose blocks have lengths of their own (varying.h), which are counted with these: the
  // first half of start(), and the words that this member and others say in it.
  void begin();
  bool has_room();
  RootedSlot& slot(uint32_t k) const { return core_.members[k].buffers->rooted[count_ % kRootedSlots]; }
  // Where member k puts so many bytes of the call at hand.
  std::byte* place(uint32_t k, uint64_t bytes) const;
  void say_given(uint64_t bytes);
  // Either the root gives, or all others.
  bool gives(uint32_t k) const { return root_gives_ == (k == shape_.call->root); }
  bool is_given(uint32_t k) const;
  bool is_this_call(uint32_t k) const { return slot(k).signature == announced_; }
  void acknowledge() { core_.publish(core_.own().lines->acknowledged.done, acknowledgement()); }
  // kDone, kBusy, or kMismatch: see differs(). All members' lines need not be known yet.
  Progress advance();
  // Of the calls so far; what members compare of a call is its signature mixed with it.
  uint64_t history() const { return history_; }
  // The member that announced another call, after kMismatch.
  uint32_t differs() const { return differs_; }
  uint64_t count() const { return count_; }
  // Whether this member waits for room, and not for a giver; for whom then.
  bool held_back() const { return !given_; }
  bool waits_for(uint32_t k) const;

 private:
  static constexpr uint64_t kHistories = 2 * kRootedSlots;
  static constexpr int kHistoryShift = 32;
  const std::byte* given_by(uint32_t k) const { return place(k, slot(k).bytes); }
  void give();
  void pack(std::byte* to) const;
  bool see_givers();
  void take();
  void reduce();
  uint64_t acknowledgement() const { return (history_ >> 32) << 32 | static_cast<uint32_t>(count_); }

  GroupCore& core_;
  const CallShape& shape_;
  uint64_t count_ = 0;
  uint64_t room_until_ = kRootedSlots;  // the last call for which there is room, as far as this member knows
  uint64_t history_ = 0;
  uint64_t announced_ = 0;                        // of the call at hand: signature and the history before it
  std::array<uint32_t, kHistories> histories_{};  // by count: as acknowledged
  std::vector<const std::byte*> parts_;
  bool root_gives_ = false;
  bool given_ = true;
  uint32_t seen_ = 0;    // the giver that is looked at next
  uint32_t to_see_ = 0;  // behind the last one
  uint32_t differs_ = UINT32_MAX;
};

inline void RootedPath::begin() {
  ++count_;
  announced_ = shape_.call->signature ^ history_;
  history_ = mix(history_, shape_.call->signature);
  histories_[count_ % kHistories] = static_cast<uint32_t>(history_ >> kHistoryShift);
  root_gives_ = gives_from_root(shape_.call->collective);
  seen_ = root_gives_ ? shape_.call->root : 0;
  to_see_ = root_gives_ ? seen_ + 1 : core_.size();
  given_ = !gives(core_.me);
}

inline void RootedPath::say_given(uint64_t bytes) {
  RootedSlot& own = slot(core_.me);
  own.bytes = bytes;
  own.signature = announced_;
  // Nothing more of this call concerns others, so one ring of the bells serves both.
  core_.own().lines->acknowledged.done.store(acknowledgement(), std::memory_order_release);
  core_.publish(own.count, count_);
  given_ = true;
}

}  // namespace comity::shm
