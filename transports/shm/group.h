// The provider of group calls among ranks on one host: says hello, chooses a path from everyone's hellos,
// follows it.
//
//   start: write hello -----> poll: all hellos seen, signatures equal? ----> follow the path ----> kDone
//
// Paths, by the largest contribution of any member:
//   inline   up to 48 bytes: the contributions lie in the hellos' own lines. One exchange.
//   eager    short, or medium and plain: every member copied its contribution into an eager slot before its
//            hello
//   direct   all buffers are addressable by all: DirectPath
//   cross    plain and long, where the kernel lets every member into every other: CrossPath
//   staged   everything else: StagedPath
// Up to eager the path depends on the size alone; beyond, on flags in the hellos, which all members read
// alike. Every such call makes every member see all hellos, so when a rank starts call n + 1, all have
// finished call n - 1: that is what lets hello lines, eager slots and staging be reused without further
// counters. Short calls in which only one member gives or takes say no hello, and have numbers and slots of
// their own: RootedPath. Of calls whose lengths not all members know each giver chooses the way: VaryingPath.
#pragma once

#include <string>
#include <vector>

#include "transports/shm/call_shape.h"
#include "transports/shm/cross.h"
#include "transports/shm/direct.h"
#include "transports/shm/group_core.h"
#include "transports/shm/rooted.h"
#include "transports/shm/staged.h"
#include "transports/shm/tuner.h"
#include "transports/shm/varying.h"

namespace comity::shm {

class ShmGroup final : public GroupProvider {
 public:
  // `core` has its members' ranks and peers; `mine` is this rank's board, in which the group has area `area`.
  ShmGroup(GroupCore core, uint64_t key, Board mine, int area);
  void start(const GroupCall& call) override;
  Progress poll() override;
  Status error() const override { return error_; }
  uint32_t most_varying() const override { return kMostVarying; }
  std::optional<DifferingLengths> differing() const override { return varying_.lengths(); }
  Awaited awaited() const override;
  uint64_t mark() const override;
  // It waits for descriptors of members' memory.
  bool asks_for_memory() const {
    return stage_ == Stage::kMapDirect || stage_ == Stage::kMapCross ||
           (stage_ == Stage::kVarying && varying_.asks_for_memory());
  }
  void tell_progress() override { static_cast<void>(core_.beat()); }

 private:
  enum class Stage : uint8_t {
    kIdle,
    kHello,
    kRooted,
    kVarying,
    kEager,
    kMapDirect,
    kMapCross,
    kDirect,
    kCross,
    kStaged,
    kDead
  };

  // Whether all members' areas are found: a member's is there once it made its provider.
  bool find_peers();
  void say_hello();
  void describe_buffers(HelloBuffers& hello);
  // True: in an arena; else `offset` is its address.
  bool describe_place(const std::byte* data, uint64_t bytes, uint32_t& arena, uint64_t& offset) const;
  uint32_t list_ways(uint32_t* ways, bool direct) const;
  bool cross_may_pay() const;
  uint32_t choose_ways();
  uint32_t tuned_kind(bool direct) const;
  std::byte* eager_slot(uint32_t k) const;
  Progress see_hellos();
  void start_varying();
  Progress advance_rooted();
  Progress advance_varying();
  Progress mismatch(uint32_t member, uint64_t number);
  // Of a call that is not inline, after all hellos.
  void choose_path();
  void hear_refusals();
  Progress map_and_follow();
  Progress map_buffers();
  bool map_member(uint32_t k, const HelloBuffers& hello, const Extents& extents);
  Progress follow();
  void pack(std::byte* to) const;
  bool eager_ready();
  // Carries out a call whose contributions lie packed at `parts_`.
  void finish_packed();
  void finish_personal();
  Progress fail(Code code, std::string message);
  Progress finish();
  Progress finish_when_done(Progress progress);

  GroupCore core_;
  CallShape shape_;
  DirectPath direct_;
  CrossPath cross_;
  StagedPath staged_;
  RootedPath rooted_;
  VaryingPath varying_;
  uint64_t key_;
  Board mine_;
  int area_;

  const GroupCall* call_ = nullptr;
  uint64_t announced_ = 0;  // what members compare: the call's signature, and that of those that did not meet
  Stage stage_ = Stage::kIdle;
  bool found_ = false;
  bool eager_said_ = false;      // this rank's contribution was there before its hello
  bool stream_ = false;          // store around the caches, in this call
  bool staged_started_ = false;  // staged_ was, before the hello
  uint32_t seen_ = 0;            // members whose hello was seen
  // Of member 0: the tuner, and what it took for this call if plain [0] or direct [1].
  Tuner tuner_;
  uint32_t chosen_[2] = {};
  uint32_t chosen_way_[2] = {};
  bool tuned_direct_ = false;
  uint64_t tuned_since_ns_ = 0;  // 0: the call is not timed
  std::vector<const std::byte*> parts_;
  std::vector<MappedBuffers> mapped_;
  std::vector<CrossBuffers> crossed_;
  Status error_;
};

}  // namespace comity::shm
