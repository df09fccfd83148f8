// Collective operations among the members of one communicator of the family, along the family's tree:
// all-gather of bytes, and comparison of a hash, a least number and sums.
//
// No rank knows who is a member but the members. What comes from below goes up merged, once per turn of the
// loop; the root answers when all members came, down to where something came from. If the tree is mended
// meanwhile, contributions may be lost: then the communicator's verdict says so. A member whose deadline has
// passed tells the root, which knows who has not come: these are named, and the operation is over for all,
// unless its answer is on its way already.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <utility>

#include "src/control/gathering.h"
#include "src/control/loop.h"
#include "src/control/messages.h"
#include "src/control/tree_port.h"

namespace comity::control {

class ScopedGathering {
 public:
  using Done = std::function<void(uint64_t communicator, uint64_t sequence, GatherResult result)>;
  // `done` is called once for each operation that completes. Control thread only.
  ScopedGathering(Loop& loop, TreePort& port, Done done) : loop_(loop), port_(port), done_(std::move(done)) {}
  ~ScopedGathering() { stop(); }

  // This rank's part in an operation, in which it alone came.
  void begin(ScopePart mine);
  // The deadline of this rank has passed in an operation that it began. Its answer may still come; else the
  // communicator's verdict does.
  void late(const LateScope& late);
  // This rank waits no longer for anything of `communicator`.
  void give_up(uint64_t communicator);
  // Nobody does.
  void forget(uint64_t communicator);
  // The node has another parent, or became the root.
  void on_tree_mended();
  void stop();

  // Messages of neighbours; false: malformed.
  bool on_up(uint32_t child, std::span<const std::byte> payload);
  bool on_late(std::span<const std::byte> payload);
  bool on_down(std::span<const std::byte> payload);

 private:
  using Key = std::pair<uint64_t, uint64_t>;  // communicator, sequence
  struct Operation {
    ScopePart part;  // what came and was not passed on
    std::map<uint32_t, Bytes> items;
    uint64_t bytes = 0;
    std::set<uint32_t> children;  // who contributed
    bool mine = false;
    bool passed_on = false;  // who came is known further up
    uint64_t timer = 0;
  };
  void take(const Key& key, Operation& operation, ScopePart part);
  void pass_on(const Key& key);
  void finish(const Key& key, const ScopePart& whole);
  ScopePart drain(Operation& operation);
  void erase(std::map<Key, Operation>::iterator operation);

  Loop& loop_;
  TreePort& port_;
  Done done_;
  std::map<Key, Operation> open_;
};

}  // namespace comity::control
