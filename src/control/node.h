// One rank's place in the control tree: its neighbours, the verdict, and who is still here.
//
// Joining brings the neighbours; kReady climbs once a whole subtree stands, with the addresses of its ranks;
// kGo descends with those of all, and the tree is complete. Until then the meeting point says why a join
// failed; afterwards faults climb as kDeclare to the root, which makes the first one the verdict
// (decision.h).
//
//   a child is lost        it is called (Summons): it comes back, or is gone; a fault unless it said so
//   the parent is lost     the orphan looks for another (Mending); who finds none is the root of what is left
//   a fault is held        until the verdict; told again to every new parent; a parent that does not answer
// to
//                          a ping is left
//   the root misses ranks  it calls them: with a ballot above theirs they leave whom they followed
//   a process ends         its neighbours in the tree and one rank more on its machine hear of it, whoever
//                          keeps its connections open; that one tells its parent, which may be elsewhere
//
// A rank that leaves in order tells its neighbours and stays as a relay, unseen by its user, until everybody
// below it has left too, or its process ends; its neighbours then close the connection without a fault.
//
// Everything is on the control thread but what says otherwise. In four files: node.cc joins and reads
// messages, node_faults.cc decides and mends, node_processes.cc hears of ends, node_leave.cc leaves.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "comity/plugin/result.h"
#include "src/control/acceptor.h"
#include "src/control/address_book.h"
#include "src/control/call_log.h"
#include "src/control/channel.h"
#include "src/control/control.h"
#include "src/control/decision.h"
#include "src/control/gathering.h"
#include "src/control/inquest.h"
#include "src/control/joining.h"
#include "src/control/loop.h"
#include "src/control/mending.h"
#include "src/control/process_watch.h"
#include "src/control/tree_port.h"
#include "src/control/unique_id.h"

namespace comity::control {

class Node final : public TreePort, public std::enable_shared_from_this<Node> {
 public:
  struct Options {
    uint32_t rank = 0;
    uint32_t nranks = 1;
    IdContent id;
    Deadline deadline = Deadline::never();
  };
  // What the user's threads wait for; all guarded by `mutex`, every change is notified, and so is the
  // verdict.
  struct Waits {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Status> joined;
    std::map<uint64_t, GatherResult> results;  // by sequence
    bool left = false;                         // every neighbour knows that this rank left
  };

  Node(Loop& loop, Options options);  // any thread

  // --- Any thread ---
  CallLog& calls() { return calls_; }
  const Verdict* verdict() const { return verdict_.load(std::memory_order_acquire); }
  void report(uint64_t number);
  Waits& waits() { return waits_; }
  const Secret& data_secret() const { return data_secret_; }
  uint64_t communicator() const { return communicator_; }
  uint32_t rank() const override { return options_.rank; }
  uint32_t nranks() const override { return options_.nranks; }

  // --- Control thread ---
  // Begins to join; at `listeners` children find this rank, and later whoever lost its place in the tree.
  // Waits::joined tells the end.
  void start(Listeners listeners);
  // Ends the join with `why`, if it has not ended; the meeting point tells all others.
  void give_up(const Status& why);
  void leave(bool orderly);
  // See Session.
  void begin_work();
  // Finishes if its user left, all neighbours know, and nobody is below it or the process ends.
  void check_left();
  Gathering& gathering() { return gathering_; }

  bool has_parent() const override { return parent_ && parent_->channel->is_open(); }
  void to_parent(MessageType type, std::span<const std::byte> payload) override;
  void to_children(MessageType type, std::span<const std::byte> payload) override;
  void declare_fault(Code code, std::string text) override;

 private:
  struct Neighbour {
    uint32_t rank = 0;
    std::shared_ptr<Channel> channel;
    bool standing = false;  // a child that said so
    bool ready = false;     // a child whose subtree is complete
    bool leaving = false;   // told that it leaves, or that it aborts
    bool knows = false;     // acknowledged that this rank leaves
    uint64_t last_number = 0;
  };
  enum class Side { kChild, kParent, kCaller };

  // node.cc
  void on_proven(UniqueFd fd, const HandshakeHello& hello);
  Neighbour& new_child(uint32_t rank, UniqueFd fd);
  void on_parent_proven(uint32_t parent, UniqueFd fd);
  std::shared_ptr<Channel> open_channel(UniqueFd fd, uint32_t peer, Side side);
  void on_message(uint32_t peer, Side side, uint16_t type, std::span<const std::byte> payload);
  bool on_child_message(Neighbour& child, MessageType type, std::span<const std::byte> payload);
  bool on_parent_message(MessageType type, std::span<const std::byte> payload);
  bool on_any_message(Neighbour& neighbour, MessageType type, std::span<const std::byte> payload);
  bool on_ready(Neighbour& child, std::span<const std::byte> payload);
  bool on_go(std::span<const std::byte> payload);
  void check_ready();
  void go();
  void set_joined(const Status& status);
  template <typename Visitor>
  void for_each_neighbour(Visitor visitor) {
    if (parent_) visitor(*parent_);
    for (auto& child : children_) visitor(child.second);
  }

  // node_faults.cc
  bool is_root() const { return joined_ && !parent_ && !mending_; }
  TreeCall tree_call() const;
  void hold(const Fault& fault);
  void press();
  void watch_parent();
  void advance();
  void mind_the_time();
  void tell_state_soon();
  void adopt(Fault fault, const Channel* except = nullptr);
  void on_closed(uint32_t peer, Side side, const std::string& why, bool silent);
  void on_child_lost(const Neighbour& gone);
  void on_parent_lost(const Neighbour& gone, bool silent);
  void mend(uint32_t lost_parent, bool is_fault);
  void on_child_failed(uint32_t child, bool refused);
  void hold_death_of(uint32_t rank, bool refused);
  void become_root();
  void drop_parent();
  bool on_lead(std::span<const std::byte> payload);
  bool on_state(std::span<const std::byte> payload);
  bool on_farewell(Neighbour& neighbour, std::span<const std::byte> payload);
  void on_called(uint32_t caller, UniqueFd fd);
  void on_call(MessageType type, std::span<const std::byte> payload);
  Summons& summons();
  void greet(Neighbour& child);

  // node_processes.cc
  void watch_processes();
  void watch_process(uint32_t rank);
  void on_process_ended(uint32_t rank);
  bool on_ended(std::span<const std::byte> payload);
  Neighbour* neighbour(uint32_t rank);

  // node_leave.cc
  bool on_leaving(Neighbour& neighbour, std::span<const std::byte> payload);
  void depart(const Fault& why);
  void hold_loop();
  void release_loop();
  void finish();
  void stop_timers();

  Loop& loop_;
  const Options options_;
  const uint64_t communicator_;
  const Secret data_secret_;
  CallLog calls_;
  Waits waits_;
  std::atomic<const Verdict*> verdict_{nullptr};
  std::array<std::atomic<uint64_t>, 16> reports_on_the_way_{};

  // Control thread only:
  std::unique_ptr<const Verdict> verdict_storage_;
  std::shared_ptr<Acceptor> acceptor_;
  std::shared_ptr<Joining> joining_;
  std::optional<Neighbour> parent_;
  std::map<uint32_t, Neighbour> children_;
  AddressBook book_;  // of this subtree until all have joined, then of all
  Gathering gathering_;
  Inquest inquest_;
  Decision decision_;
  std::shared_ptr<Mending> mending_;
  std::shared_ptr<Summons> summons_;
  std::shared_ptr<ProcessWatch> processes_;
  RankSet ended_;                    // whose process has ended
  RankSet lost_;                     // children whose connection broke, and that are being called
  std::optional<Neighbour> caller_;  // a root that calls, and did not yet say with which ballot
  struct Timers {
    uint64_t pong = 0;      // the parent must have answered by then
    uint64_t state = 0;     // what changed goes up then, in one message
    uint64_t summon = 0;    // the root looks who is missing
    uint64_t patience = 0;  // the root goes on without those who are silent
    uint64_t cut_off = 0;   // the root gives up to find more than half
    uint64_t stuck = 0;     // whoever holds a fault for so long leads itself
    uint64_t known = 0;     // the process may end though not everybody knows that this rank left
  } timers_;
  bool patient_ = true;
  bool pinged_ = false;   // and no answer yet
  bool working_ = false;  // begin_work() was called
  bool ready_sent_ = false;
  bool joined_ = false;
  bool left_ = false;
  bool departing_ = false;  // left at once, and sees to it that somebody hears why
  bool holds_loop_ = false;
  bool finished_ = false;
};

}  // namespace comity::control
