// One verdict after the other, whatever dies on the way to it: consensus on a log (Lamport, "The part-time
// parliament", 1998) along the tree, whose root is the leader. One slot of the log is decided at a time.
//
//   root      lead(): a ballot of its own, above all that it has seen; told down the tree
//             (not by the first root, rank 0, whose ballot 0 everybody holds from the start)
//   others    follow(): promise to hear no lower ballot, for this slot and all later ones; answer up with
//             what they have accepted for this one
//   root      more than half promised: proposes what was accepted with the highest ballot, else its own wish
//   others    accept, answer up
//   root      everyone alive accepted, or more than half and its patience is over: decided, told down
//   all       learn(): the next slot is open
//
// "Half" is of the ranks that are not known to be gone (exited, left or aborted: they refuse connections); on
// a tie the part with the lowest of them counts as more. As everyone alive accepted before anyone acts on a
// verdict, whoever is left afterwards, even alone, comes to the same one.
//
// Two that meet after one of them was elsewhere exchange their logs before their states: whoever is behind
// learns first, and what it says of a slot that is decided counts for nothing.
//
// A pure state machine: no socket, no clock. What goes up is a whole state, merged by union: sent twice, or
// along two ways, it counts once.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "src/control/messages.h"
#include "src/control/rank_set.h"

namespace comity::control {

class Decision {
 public:
  Decision(uint32_t rank, uint32_t nranks);

  // --- Every rank ---
  // What the parent says of its root. True: it is news, to be passed on to the children.
  bool follow(const Lead& lead);
  // What a child says of its part. True: the own state has changed by it.
  bool merge(const TreeState& child);
  // The verdict of `slot`. True: it is news, to be passed on; false too if earlier ones are missing here.
  bool learn(uint64_t slot, const Fault& verdict);
  // `gone` refuses connections; `left` said that it leaves, or why it ends. True: it is news.
  bool set_gone(uint32_t gone);
  bool set_left(uint32_t left);
  bool add_gone(const Gone& gone);
  // What this rank would propose as the root, after what it wished before. False: that ends nothing which an
  // earlier wish or a verdict does not end.
  bool wish(const Fault& fault);
  // Of a rank that goes: before all other wishes.
  void wish_first(const Fault& fault);
  void drop_wishes() { wishes_.clear(); }
  const std::vector<Fault>& wishes() const { return wishes_; }
  const std::vector<Fault>& log() const { return log_; }
  TreeState state() const { return state_; }
  Lead current() const { return Lead{state_.ballot, state_.slot, proposal_}; }
  Ballot ballot() const { return state_.ballot; }
  const Gone& gone() const { return state_.gone; }
  // The gone of whom nobody here knows why, and whom no verdict names.
  RankSet unexplained() const;
  // The ranks below in the tree that answered in this ballot, and perhaps some that have moved since.
  const RankSet& below() const { return state_.promised; }

  // --- The root ---
  // Takes a ballot above all seen.
  void lead();
  enum class Next {
    kWait,     // for answers
    kTell,     // current() has changed: tell the children, then call again
    kDecided,  // the proposal is the verdict of this slot: learn() it
  };
  // `patient`: whoever is alive may still answer.
  Next advance(bool patient);
  // Those whose answer is missing.
  RankSet unheard() const;
  // Whether anything is to be decided here.
  bool has_matter() const { return !wishes_.empty() || state_.accepted.has_value(); }

 private:
  bool has_quorum(const RankSet& answered) const;
  bool has_all(const RankSet& answered) const;
  void raise(Ballot ballot);
  void accept();

  const uint32_t rank_;
  const uint32_t nranks_;
  TreeState state_;
  std::optional<Fault> proposal_;  // of the ballot, for the slot
  std::vector<Fault> wishes_;
  std::vector<Fault> log_;
  Ballot highest_seen_ = 0;
};

}  // namespace comity::control
