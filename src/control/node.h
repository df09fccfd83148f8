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
//   somebody is in nobody's sight, because its parent went and it found no other yet
//                          the root calls the roll (node_roll.cc): whoever is neither below it nor known to
//                          have left is called, and if it is gone, that is a fault
//   a process ends         its neighbours in the tree and one rank more on its machine hear of it, whoever
//                          keeps its connections open; that one tells its parent, which may be elsewhere
//
// The communicators of the family share the node; each rank's part in one is a Scope. Verdicts are a log that
// is the same everywhere (decision.h): one that names a communicator ends that, the end of a process ends all
// that it was in and had not left. In a family of one communicator nothing follows the first verdict; where
// there are more (kShared) the tree goes on, and is mended, for those that are left.
//
// A rank that leaves its last communicator in order tells its neighbours and stays as a relay, unseen by its
// user, until everybody below it has left too, or its process ends; its neighbours then close the connection
// without a fault.
//
// Everything is on the control thread but what says otherwise. In eight files: node.cc joins and reads
// messages, node_mail.cc passes letters on, node_faults.cc holds faults and mends, node_verdicts.cc decides,
// node_roll.cc misses ranks, node_scopes.cc has the communicators, node_processes.cc hears of ends,
// node_leave.cc leaves.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "src/control/acceptor.h"
#include "src/control/address_book.h"
#include "src/control/channel.h"
#include "src/control/control.h"
#include "src/control/decision.h"
#include "src/control/gathering.h"
#include "src/control/inquest.h"
#include "src/control/joining.h"
#include "src/control/loop.h"
#include "src/control/mail.h"
#include "src/control/mending.h"
#include "src/control/process_watch.h"
#include "src/control/ring_search.h"
#include "src/control/scope.h"
#include "src/control/scoped_gathering.h"
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
    std::string name;                          // of the communicator, for the log; may be empty
    std::shared_ptr<const Settings> settings;  // of the communicator; null: the process's
  };
  // What the user's threads wait for, with what a Scope has of it; all guarded by `mutex`, every change is
  // notified, and so are verdicts.
  struct Waits {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Status> joined;
  };

  Node(Loop& loop, Options options);  // any thread

  // --- Any thread ---
  const std::shared_ptr<Scope>& base() const { return base_; }
  // This rank suspects the calls [first, last] of `scope`.
  void report(const std::shared_ptr<Scope>& scope, uint64_t first, uint64_t last);
  Waits& waits() { return waits_; }
  const std::shared_ptr<Letterboxes>& letterboxes() const { return letterboxes_; }
  const Secret& data_secret() const { return data_secret_; }
  uint64_t communicator() const override { return communicator_; }
  uint32_t rank() const override { return options_.rank; }
  uint32_t nranks() const override { return options_.nranks; }

  // --- Control thread ---
  // Begins to join; at `listeners` children find this rank, and later whoever lost its place in the tree.
  // Waits::joined tells the end.
  void start(Listeners listeners);
  // Ends the join with `why`, if it has not ended; the meeting point tells all others.
  void give_up(const Status& why);
  // A communicator of the family begins on this rank, or ends: with its last one the rank leaves.
  void open_scope(const std::shared_ptr<Scope>& scope);
  void leave(const std::shared_ptr<Scope>& scope, bool orderly);
  // See Session.
  void begin_work();
  // Finishes if its user left, all neighbours know, and nobody is below it or the process ends.
  void check_left();
  void post_letter(uint32_t to, uint8_t box, Bytes content);
  Gathering& gathering() { return gathering_; }
  ScopedGathering& scoped_gathering() { return scoped_gathering_; }
  RingSearch& ring_search() { return ring_search_; }
  // Of the book of all addresses; 0 before all have joined.
  size_t book_bytes() const { return book_ ? book_->memory_bytes() : 0; }

  bool has_parent() const override { return parent_ && parent_->channel->is_open(); }
  void to_parent(MessageType type, std::span<const std::byte> payload) override;
  void to_children(MessageType type, std::span<const std::byte> payload) override;
  void to_child(uint32_t child, MessageType type, std::span<const std::byte> payload) override;
  void declare_fault(uint64_t communicator, Code code, std::string text) override;
  std::vector<Opinion> opinions_on(const Inquiry& inquiry) const override;
  std::optional<Waiting> waits_in(uint64_t communicator) const override;

 private:
  struct Neighbour {
    uint32_t rank = 0;
    std::shared_ptr<Channel> channel;
    bool standing = false;    // a child that said so
    bool ready = false;       // a child whose subtree is complete
    bool leaving = false;     // told that it leaves, or that it aborts
    uint32_t told = 0;        // how often that this rank leaves
    uint32_t answered = 0;    // of these
    uint32_t owed = 0;        // acknowledgements of its leaving, until this rank's is known
    bool is_witness = false;  // was called to hear that this rank leaves, and stays where it is
    Leaving last_words;       // with leaving
    bool knows() const { return told > 0 && answered == told; }
  };
  enum class Side { kChild, kParent, kCaller };

  // node.cc
  void on_proven(StreamPtr stream, const HandshakeHello& hello);
  Neighbour& new_child(uint32_t rank, StreamPtr stream);
  void on_parent_proven(uint32_t parent, StreamPtr stream);
  std::shared_ptr<Channel> open_channel(StreamPtr stream, uint32_t peer, Side side);
  void on_message(uint32_t peer, Side side, uint16_t type, std::span<const std::byte> payload);
  bool on_child_message(Neighbour& child, MessageType type, std::span<const std::byte> payload);
  bool on_parent_message(MessageType type, std::span<const std::byte> payload);
  bool on_any_message(Neighbour& neighbour, MessageType type, std::span<const std::byte> payload);
  bool on_ready(Neighbour& child, std::span<const std::byte> payload);
  bool on_go(std::span<const std::byte> payload);
  void check_ready();
  void go_as_root();
  void go(std::span<const std::byte> book);
  void set_joined(const Status& status);
  void finish_operation(uint64_t communicator, uint64_t sequence, GatherResult result);
  template <typename Visitor>
  void for_each_neighbour(Visitor visitor) {
    if (parent_) visitor(*parent_);
    for (auto& child : children_) visitor(child.second);
  }

  // node_faults.cc
  bool is_root() const { return joined_ && !parent_ && !mending_; }
  bool over() const;
  bool is_own_end(const Fault& fault) const { return fault.communicator == 0 && fault.rank == options_.rank; }
  TreeCall tree_call() const;
  bool on_declare(std::span<const std::byte> payload);
  void hold(const Fault& fault);
  void press();
  void watch_parent();
  void on_closed(uint32_t peer, Side side, const std::string& why, bool silent);
  void on_child_lost(const Neighbour& gone);
  void on_parent_lost(const Neighbour& gone, bool silent);
  void mend(uint32_t lost_parent, bool is_fault);
  void on_child_failed(uint32_t child, bool refused);
  void hold_death_of(uint32_t rank, bool refused);
  void become_root();
  void drop_parent();
  bool on_farewell(Neighbour& neighbour, std::span<const std::byte> payload);
  void on_called(uint32_t caller, StreamPtr stream);
  void on_call(MessageType type, std::span<const std::byte> payload);
  Summons& summons();
  void greet(Neighbour& child, bool called = false);
  void tell_verdicts(Neighbour& neighbour);

  // node_verdicts.cc
  void advance();
  void mind_the_time();
  RankSet missed() const;
  bool on_lead(std::span<const std::byte> payload);
  bool on_state(const Neighbour& child, std::span<const std::byte> payload);
  void tell_state_soon();
  bool on_verdict(std::span<const std::byte> payload, const Channel* from);
  void adopt(uint64_t slot, const Fault& fault, const Channel* except = nullptr);
  void end_all(const Fault& fault, const Channel* except = nullptr);
  void go_on();
  std::string name_of_communicator(uint64_t id) const;

  // node_roll.cc
  void call_roll_soon();
  bool has_unasked_suspects() const;
  void look_at_roll_in(uint64_t ms);
  void look_at_roll();
  void open_roll();
  void close_roll();
  void call_from_the_top(const RankSet& missing);
  void pass_on_roll_call();
  void on_news_of_gone();

  // node_scopes.cc
  void end_scopes(const Fault& fault);
  void end_scope(Scope& scope, const Fault& fault);
  void part_with_scope(const std::shared_ptr<Scope>& scope, bool orderly);
  void note_left(Scope& scope);
  void tell_standing(Neighbour& neighbour);
  bool on_parted(uint32_t member, std::span<const std::byte> payload);
  bool on_shared(const Channel* from, std::span<const std::byte> payload);
  void share(const Channel* except);
  std::vector<uint64_t> left_by(uint32_t member) const;

  // node_processes.cc
  void watch_processes();
  void watch_process(uint32_t rank);
  void on_watched_ended(uint32_t rank);
  void on_process_ended(uint32_t rank);
  bool on_gone(const Neighbour& from, std::span<const std::byte> payload);
  bool on_ended(std::span<const std::byte> payload);
  Neighbour* neighbour(uint32_t rank);

  // node_mail.cc
  bool on_letter(const Channel* from, std::span<const std::byte> payload);
  void pass_on(Letter letter, const Channel* from);

  // node_leave.cc
  void leave_tree(const std::shared_ptr<Scope>& last, bool orderly);
  void leave_in_order();
  void leave_wishes();
  void tell_leaving(Neighbour& neighbour);
  void on_leaving_known(const Neighbour& neighbour);
  bool seeks_a_witness();
  void on_news_of_left(const Neighbour* from);
  void tell_news_of_left();
  bool is_known() const;
  RankSet others() const;
  void pay_owed();
  void look_for_better_parent();
  void pass_on_the_gone();
  void set_gone_from_all();
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
  const std::shared_ptr<Scope> base_;
  const std::shared_ptr<Letterboxes> letterboxes_ = std::make_shared<Letterboxes>();
  Waits waits_;

  // Control thread only:
  std::map<uint64_t, std::shared_ptr<Scope>> scopes_;  // open ones, the first communicator's too
  std::shared_ptr<Scope> last_;                        // with which this rank left
  std::deque<LeftScope> left_scopes_;                  // the last kLeftKept that this rank left
  std::map<uint32_t, std::set<uint64_t>> left_by_;     // what this rank and others left, as they told
  std::shared_ptr<Acceptor> acceptor_;
  std::shared_ptr<Joining> joining_;
  std::optional<Neighbour> parent_;
  std::map<uint32_t, Neighbour> children_;
  AddressBook below_;                        // of this subtree, until all have joined
  std::shared_ptr<const AddressBook> book_;  // then of all
  Gathering gathering_;
  ScopedGathering scoped_gathering_;
  Inquest inquest_;
  RingSearch ring_search_;
  Decision decision_;
  std::shared_ptr<Mending> mending_;
  std::shared_ptr<Summons> summons_;
  std::shared_ptr<ProcessWatch> processes_;
  RankSet ended_;                         // whose process has ended
  std::optional<uint32_t> watched_next_;  // the next one on this machine
  RankSet lost_;                          // children whose connection broke, and that are being called
  std::optional<Neighbour> caller_;       // a root that calls, and did not yet say with which ballot
  struct Timers {
    uint64_t pong = 0;      // the parent must have answered by then
    uint64_t state = 0;     // what changed goes up then, in one message
    uint64_t summon = 0;    // the root looks who is missing
    uint64_t patience = 0;  // the root goes on without those who are silent
    uint64_t cut_off = 0;   // the root gives up to find more than half
    uint64_t stuck = 0;     // whoever holds a fault for so long leads itself
    uint64_t roll = 0;      // the root calls the roll, or looks who has answered
    uint64_t news = 0;      // others left, too: who must know is told then, in one message
    uint64_t slow = 0;      // the parent does not acknowledge that this rank leaves: another one may
    uint64_t known = 0;     // the process may end though not everybody knows that this rank left
  } timers_;
  bool patient_ = true;
  bool roll_wanted_ = false;  // something happened since the last one began
  bool roll_open_ = false;    // called, and not everybody has answered
  uint64_t roll_called_ns_ = 0;
  uint64_t roll_wait_ms_ = 0;  // of timers_.roll
  RankSet suspects_;           // that were gone without a word when the last one began
  bool untold_ = false;        // news of others that left
  uint64_t suspects_since_ns_ = 0;
  std::vector<StreamPtr> turned_away_;  // orphans that came while this rank ends
  bool left_known_ = false;             // one that stays has acknowledged who left, as far as this rank knows
  bool pinged_ = false;                 // and no answer yet
  bool working_ = false;                // begin_work() was called
  std::optional<Fault> end_of_all_;     // by a verdict that is not of the log
  bool shared_ = false;                 // the family has more communicators than the first
  bool ready_sent_ = false;
  bool joined_ = false;
  bool left_ = false;
  bool departing_ = false;  // left at once, and sees to it that somebody hears why
  bool holds_loop_ = false;
  bool finished_ = false;
};

}  // namespace comity::control
