// One rank's place in the control tree: its neighbours, the verdict, and who is still here.
//
// Joining brings the neighbours; kReady climbs once a whole subtree stands, kGo descends, and the tree is
// complete. Faults climb as kDeclare to the root of this part of the tree, which makes the first one the
// verdict and sends it down; so all ranks hold the same one. A dead inner node cuts the tree: each part has
// its own root, and as both sides name the dead rank alike, the verdicts agree. A rank that leaves in order
// tells its neighbours and stays as a relay, unseen by its user, until everybody below it has left too, or
// its process ends; its neighbours then close the connection without a fault.
//
// Everything is on the control thread but what says otherwise.
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
#include "src/control/call_log.h"
#include "src/control/channel.h"
#include "src/control/control.h"
#include "src/control/gathering.h"
#include "src/control/inquest.h"
#include "src/control/joining.h"
#include "src/control/loop.h"
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
  // Begins to join; `listeners` are for the children (none for a leaf). Waits::joined tells the end.
  void start(Listeners listeners);
  // Ends the join with `why`, if it has not ended; all others get the same error.
  void give_up(const Status& why);
  void leave(bool orderly);
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
    bool leaving = false;   // told that it leaves
    bool knows = false;     // acknowledged that this rank leaves
    uint64_t last_number = 0;
  };

  void on_child_proven(UniqueFd fd, const HandshakeHello& hello);
  void on_parent_proven(UniqueFd fd);
  std::shared_ptr<Channel> open_channel(UniqueFd fd, uint32_t peer, bool is_parent);
  void on_message(uint32_t peer, bool is_parent, uint16_t type, std::span<const std::byte> payload);
  bool on_child_message(Neighbour& child, MessageType type, std::span<const std::byte> payload);
  bool on_parent_message(MessageType type, std::span<const std::byte> payload);
  bool on_leaving(Neighbour& neighbour, std::span<const std::byte> payload);
  void on_closed(uint32_t peer, bool is_parent, const std::string& why);
  void check_ready();
  void go();
  void set_joined(const Status& status);
  void adopt(Fault fault);
  void abort_with(Code code, std::string text);
  void check_left();
  void finish();
  template <typename Visitor>
  void for_each_neighbour(Visitor visitor);

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
  Gathering gathering_;
  Inquest inquest_;
  std::optional<Fault> pending_;  // declared, and not yet the verdict
  uint64_t pending_timer_ = 0;
  bool ready_sent_ = false;
  bool joined_ = false;
  bool left_ = false;
  bool finished_ = false;
};

}  // namespace comity::control
