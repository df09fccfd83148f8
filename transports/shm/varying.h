// Carries out calls whose blocks have lengths that only their giver and their taker are told: all_to_all_v,
// gather_v, scatter_v. Lengths travel with the call, and each end compares what it can see to its own.
//
//   all_to_all_v   everybody says hello, and has laid out a table before: what it gives each member, where
//                  that lies, and what it expects of it. Short blocks lie behind the table, in the eager
//                  slot. All see all hellos; each looks at its entry of each table, so both ends see a length
//                  that differs.
//   gather_v       counted with the calls that do not meet (rooted.h). A giver's slot says its length; up to
//                  kRootedBytes its block lies there, and it leaves at once.
//   scatter_v      likewise the root's slot: a table of the blocks, and, if both fit into it, the blocks. A
//                  taker sees what the root gives it; the root does not see what is expected.
//
// What is longer goes by Streams, each giver choosing alone, since nobody knows how much others have: a giver
// then leaves when all of it was taken. A block of no bytes is waited for by nobody.
#pragma once

#include <optional>
#include <string>

#include "transports/shm/call_shape.h"
#include "transports/shm/group_core.h"
#include "transports/shm/rooted.h"
#include "transports/shm/streams.h"

namespace comity::shm {

class VaryingPath {
 public:
  VaryingPath(GroupCore& core, const CallShape& shape, RootedPath& rooted)
      : core_(core), shape_(shape), rooted_(rooted), streams_(core) {}
  // For the members; allocates.
  void prepare() { streams_.prepare(); }
  // The next call, of shape_.varies(). Gives at once where there is room. Never blocks.
  void start();
  // kDone, kBusy, kAdvanced; kMismatch: see differs(); kFailed: see failure(). `complete`: the lines of all
  // members are known.
  Progress advance(bool complete);
  // The member that announced another call, or another length: then `lengths` has them.
  uint32_t differs() const { return differs_; }
  const std::optional<DifferingLengths>& lengths() const { return lengths_; }
  const Status& failure() const { return failure_; }
  bool asks_for_memory() const { return streams_.asks_for_memory(); }
  // What is waited for at present, and of whom.
  std::string_view awaits() const;
  bool waits_for(uint32_t k) const;
  bool meets() const { return shape_.call->collective == Collective::kAllToAllV; }

 private:
  enum class Stage : uint8_t { kRoom, kSee, kStreams };

  // The eager slot of an all_to_all_v: a table, blocks behind it.
  std::byte* slot(uint32_t k) const { return core_.members[k].buffers->eager[core_.sequence % kEagerSlots]; }
  PairLengths* table(uint32_t k) const { return reinterpret_cast<PairLengths*>(slot(k)); }
  void say_hello();
  void pack_hello();
  void offer_blocks();
  bool see_hellos();
  bool take_from_table(uint32_t k);
  void give();
  void give_to_root();
  void give_from_root();
  void pack_blocks(std::byte* to, uint64_t place) const;
  void offer_table();
  bool see_givers();
  bool take_from(uint32_t k);
  bool take_from_root();
  bool take_packed(std::byte* from, uint64_t place, uint64_t room, uint32_t k, const Piece& to);
  bool differ(uint32_t giver, uint32_t taker, uint64_t given, uint64_t expected);
  bool break_off(uint32_t k, const char* what);

  GroupCore& core_;
  const CallShape& shape_;
  RootedPath& rooted_;
  Streams streams_;
  Stage stage_ = Stage::kSee;
  uint64_t announced_ = 0;  // of an all_to_all_v
  uint32_t seen_ = 0;       // the member that is looked at next
  uint32_t differs_ = UINT32_MAX;
  std::optional<DifferingLengths> lengths_;
  Status failure_;
};

}  // namespace comity::shm
