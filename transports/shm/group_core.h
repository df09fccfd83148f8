// What all ways of carrying out a group call share: the members' lines, waiting for them, and telling them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "comity/plugin/transport.h"
#include "src/base/clock.h"
#include "transports/shm/board.h"
#include "transports/shm/doorbell.h"
#include "transports/shm/peer.h"

namespace comity::shm {

// Up to here everyone goes by eager slots whatever the buffers: a direct call waits for lines twice, an eager
// one about once.
inline constexpr uint64_t kAlwaysEagerBytes = 2048;
// Longest that goes by eager slots if it is plain and few read it.
inline constexpr uint64_t kPlainEagerBytes = 32 * 1024;
// A counter that stood still for half its range would read as one that is ahead.
inline constexpr uint64_t kRefreshCalls = uint64_t{1} << 16;

// One rank of the group, this one included.
struct alignas(64) Member {
  uint32_t rank = 0;
  Peer* peer = nullptr;             // null: this rank
  GroupLines* lines = nullptr;      // null: it has not opened this group yet
  GroupBuffers* buffers = nullptr;  // likewise
  Doorbell* doorbell = nullptr;
  uint64_t seen = 0;  // of its progress
};
static_assert(sizeof(Member) == 64);  // found by a shift

// Steps are numbered from 1 within a call, and posted in rising order; a path may leave numbers out. Counters
// of different calls compare by the call first, so a member that is a call ahead has done all steps of this
// one.
struct GroupCore {
  uint32_t me = 0;
  std::vector<Member> members;
  Tickets* tickets = nullptr;  // in member 0's board
  uint64_t sequence = 0;       // of the call, from 1
  bool waits_crowded = false;  // more ranks here than cores: give the core away at once, and expect sleepers
  bool members_crowded = false;  // more members than cores; equal on all members
  bool all_addressable = false;  // all members are threads of this process: plain pointers are pointers
  bool cross_memory = false;     // as far as this rank knows, all may read and write all through the kernel

  uint32_t size() const { return static_cast<uint32_t>(members.size()); }
  Member& own() { return members[me]; }
  HelloLine& own_hello() { return members[me].lines->hello[sequence & 1]; }
  const HelloLine& hello(uint32_t k) const { return members[k].lines->hello[sequence & 1]; }
  uint64_t position(uint64_t step) const { return (sequence << kStepBits) | step; }

  // Publishes the hello whose other fields are written, and now and then the steps, in case no call has any.
  void announce(uint64_t signature) {
    own_hello().signature = signature;
    publish(own_hello().sequence, sequence);
    if (sequence % kRefreshCalls == 0) [[unlikely]] {
      post(0);
    }
  }
  // Publishes that this rank did `step`: all its plain stores before are seen by who sees the step.
  void post(uint64_t step) { publish(own().lines->progress.steps, position(step)); }

  // Tells whoever waits for this rank that it gets on, where no step does; the outcome of a poll that did so.
  Progress beat() {
    std::atomic<uint64_t>& beats = own().lines->progress.beats;
    beats.store(beats.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return Progress::kAdvanced;
  }

  // Whether member k did `step` of this call. A load only where the last one seen is not enough.
  bool did(uint32_t k, uint64_t step) {
    Member& member = members[k];
    const uint64_t want = position(step);
    if (static_cast<int64_t>(member.seen - want) >= 0) return true;
    member.seen = member.lines->progress.steps.load(std::memory_order_acquire);
    return static_cast<int64_t>(member.seen - want) >= 0;
  }
  bool all_did(uint64_t step) {
    for (uint32_t k = 0; k < size(); ++k) {
      if (k != me && !did(k, step)) return false;
    }
    return true;
  }

  // The next of `count` tickets of this call, or -1: all are taken.
  int64_t take_ticket(uint64_t count) {
    uint64_t taken = tickets->taken.load(std::memory_order_relaxed);
    for (;;) {
      const uint64_t now = std::max(taken, position(0));
      if (now == position(count)) return -1;
      if (tickets->taken.compare_exchange_weak(taken, now + 1, std::memory_order_relaxed)) {
        return static_cast<int64_t>(now - position(0));
      }
    }
  }
  // The work of one of `count` tickets is done; whoever sees all done sees all stores that went into them.
  void finish_ticket(uint64_t count) {
    uint64_t finished = tickets->finished.load(std::memory_order_relaxed);
    uint64_t next = 0;
    do {
      next = std::max(finished, position(0)) + 1;
    } while (!tickets->finished.compare_exchange_weak(finished, next, std::memory_order_acq_rel));
    if (next != position(count)) return;
    if (waits_crowded) full_fence();
    for (Member& member : members) shm::ring(*member.doorbell);
  }
  bool tickets_finished(uint64_t count) const {
    return tickets->finished.load(std::memory_order_acquire) >= position(count);
  }

  // Probes `ready` for a few hundred ns; false: still not, the caller shall do something else. Bare probes
  // see a line that is just arriving soonest; after them `pause` keeps the probes from delaying its writer.
  template <typename Ready>
  bool spin(Ready ready) const {
    const int bare = waits_crowded ? 2 : 64;
    for (int i = 0; i < bare; ++i) {
      if (ready()) return true;
    }
    if (waits_crowded) return false;
    for (int i = 0; i < 16; ++i) {
      cpu_pause();
      if (ready()) return true;
    }
    return false;
  }

  // The outcome of a poll that comes to wait for `ready` last; `worked`: after it did some of the work.
  template <typename Ready>
  Progress wait_for(Ready ready, bool worked) const {
    if (spin(ready)) return Progress::kDone;
    return worked ? Progress::kAdvanced : Progress::kBusy;
  }

  // Stores a word of this rank's lines for all members to see, and wakes who sleeps.
  void publish(std::atomic<uint64_t>& word, uint64_t value) {
    word.store(value, std::memory_order_release);
    if (waits_crowded) full_fence();
    for (Member& member : members) shm::ring(*member.doorbell);
  }
};

}  // namespace comity::shm
