// An orphan's way back into the tree: the nearest ancestor that is alive, else the lowest rank that is; who
// finds nobody below its own number is the root of what is left.
//
//   parent -> grandparent -> ... -> rank 0     one after the other: the tree stays shallow
//   all other lower ranks                      in rounds of 64 at a time, of which the lowest counts
//
// A parent is always the lower of two ranks here, so that no circle comes of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "src/base/handshake.h"
#include "src/base/stream.h"
#include "src/control/address_book.h"
#include "src/control/connector.h"
#include "src/control/loop.h"
#include "src/control/rank_set.h"

namespace comity::control {

// A call from one rank of a communicator to another's listener.
struct TreeCall {
  uint32_t rank = 0;  // the caller
  Secret secret{};
  uint64_t communicator = 0;
  uint64_t answer_within_ms = 400;           // of each address
  std::shared_ptr<const Settings> settings;  // of the communicator; null: the process's
};
// HandshakeHello::detail of a call in the tree.
enum class TreePurpose : uint64_t {
  kBeMyParent = 0,
  kBeMyChild = 1,
};
ConnectTarget target_of(const TreeCall& call, const AddressBook& book, uint32_t to, TreePurpose purpose);

class Mending : public std::enable_shared_from_this<Mending> {
 public:
  struct Events {
    // The end: a proven connection to a rank that is to be the parent.
    std::function<void(uint32_t parent, StreamPtr stream)> found;
    // The end: all lower ranks are gone or silent.
    std::function<void()> alone;
    // On the way: `rank` refuses connections (true), or does not answer (false).
    std::function<void(uint32_t rank, bool refused)> failed;
  };
  // Control thread only. `parent` was lost; ranks in `not_these` are never asked. `book` stays the caller's
  // and outlives this. An event may cancel().
  static std::shared_ptr<Mending> start(Loop& loop, const TreeCall& call, const AddressBook& book,
                                        uint32_t parent, const RankSet& not_these, Events events);
  // No event any more.
  void cancel();

 private:
  Mending(Loop& loop, const TreeCall& call, const AddressBook& book, Events events);
  void next_round();
  void on_end(uint32_t rank, Result<StreamPtr> stream, Connector::Answer answer);
  void settle_round();

  Loop& loop_;
  TreeCall call_;
  const AddressBook& book_;
  Events events_;
  std::vector<std::vector<uint32_t>> rounds_;  // the next one last
  std::map<uint32_t, std::shared_ptr<Connector>> asked_;
  std::map<uint32_t, StreamPtr> answered_;
};

// Calls ranks that are missing in the tree, until told that they are not: each becomes a child, or is gone.
class Summons : public std::enable_shared_from_this<Summons> {
 public:
  struct Events {
    std::function<void(uint32_t child, StreamPtr stream)> came;
    std::function<void(uint32_t rank, bool refused)> failed;  // false: silent, and called again later
  };
  static std::shared_ptr<Summons> start(Loop& loop, const TreeCall& call, const AddressBook& book,
                                        Events events);
  // These, and no others, are wanted from now on.
  void want(const RankSet& ranks);
  // This one came, and is wanted no longer.
  void met(uint32_t rank) { wanted_.remove(rank); }
  // Also this one, once.
  void call_once(uint32_t rank);
  void cancel();

 private:
  static constexpr size_t kAtOnce = 64;
  static constexpr uint64_t kAgainAfterMs = 300;
  Summons(Loop& loop, const TreeCall& call, const AddressBook& book, Events events);
  void call_next();
  void call(uint32_t rank);
  void on_end(uint32_t rank, Result<StreamPtr> stream, Connector::Answer answer);

  Loop& loop_;
  TreeCall call_;
  const AddressBook& book_;
  Events events_;
  RankSet wanted_;
  uint32_t next_ = 0;  // of wanted_
  uint64_t timer_ = 0;
  std::map<uint32_t, std::shared_ptr<Connector>> called_;
};

}  // namespace comity::control
