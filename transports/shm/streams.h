// Blocks too long for a slot, from one member to others, where only the two ends of each know its length.
//
// A giver offers its blocks to all their takers at once, in one of two ways that it alone chooses:
//
//   direct   the takers address its memory: each copies its block out and counts it as taken
//   staged   the blocks, one behind the other, are one stream of bytes, cut into windows that go through the
//            giver's slots in turn; a taker copies its part out of each window that has one, and counts it
//
//   giver                                          taker
//   window w into slot (base + w) % slots
//   filled: base + w + 1                 ------->  its part of window w out of that slot
//   slot again once all with a part     <-------   taken[giver]: counted up
//
// A giver ends when all was taken, so at the begin of a call no slot of its own is in use, whatever kind of
// call came before. Both counts go on from call to call: they are kept by pair, and both ends count alike.
// Starting with the member behind it, each giver serves another taker first. No step waits for a member that
// has no block in common with this one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "transports/shm/group_core.h"

namespace comity::shm {

class Streams {
 public:
  explicit Streams(GroupCore& core) : core_(core) {}
  // For the members; allocates.
  void prepare();
  // A new call, in which nothing is given and taken yet.
  void begin();
  // This member has a block for member k, which is another one; of bytes > 0.
  void give(uint32_t k, const Piece& block);
  // After the last give(): what takers are told, beside the place of each block (given_place()).
  StreamOffer offer();
  uint64_t given_place(size_t i) const { return gives_[i].place; }
  // In the order of give().
  size_t given() const { return gives_.size(); }
  uint32_t given_to(size_t i) const { return gives_[i].member; }
  // This member takes a block of `to.bytes` > 0 that member k offered at `place`.
  void take(uint32_t k, const StreamOffer& offer, uint64_t place, const Piece& to);
  // kDone: all is given and taken. kBusy, kAdvanced, kFailed: see failure(). Works for some 100 us at most.
  Progress advance();
  const Status& failure() const { return failure_; }
  // A descriptor of a member's memory is on its way.
  bool asks_for_memory() const { return asks_; }
  // Whether this member waits for k to take what it has for it, or to give.
  bool waits_for_taking(uint32_t k) const;
  bool waits_for_giving(uint32_t k) const;

 private:
  struct Give {
    uint32_t member = 0;
    const std::byte* data = nullptr;
    uint64_t bytes = 0;
    uint64_t place = 0;
  };
  struct Take {
    uint32_t member = 0;
    StreamOffer offer;
    uint64_t place = 0;
    Piece to;
    uint64_t done = 0;                  // bytes
    const std::byte* source = nullptr;  // direct: once it is mapped
  };

  uint64_t first_window(const Give& give) const { return direct_ ? 0 : give.place / kStreamSlotBytes; }
  uint64_t last_window(const Give& give) const {
    return direct_ ? 0 : (give.place + give.bytes - 1) / kStreamSlotBytes;
  }
  bool lies_in_memory_of_all(StreamOffer& offer);
  // Whether window w of this call was taken by the member of `give`, which has a part in it.
  bool is_taken(const Give& give, uint64_t w) const;
  bool step();
  bool see_taken();
  bool fill();
  bool take_some(Take& take);
  bool take_direct(Take& take);
  bool take_staged(Take& take);
  bool locate(Take& take);
  void count_taken(const Take& take);
  bool all_given() const { return freed_ == windows_; }
  void finish();

  GroupCore& core_;
  uint64_t slots_ = 0;
  std::vector<Give> gives_;
  std::vector<Take> takes_;      // those that are not done
  std::vector<uint64_t> given_;  // by member: windows with a part for it, in all calls before
  bool direct_ = false;
  // Windows of this call: a direct offer is one, which is filled at once.
  uint64_t windows_ = 0, filled_ = 0, freed_ = 0;
  uint64_t base_ = 0;     // windows in all calls before
  size_t next_fill_ = 0;  // the first give with a part in window filled_
  size_t next_free_ = 0;  // the same of window freed_
  uint64_t moved_ = 0;    // bytes, ever
  bool asks_ = false;
  Status failure_;
};

}  // namespace comity::shm
