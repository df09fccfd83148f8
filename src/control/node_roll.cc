// The roll call: ranks that are in nobody's sight.
//
// A rank whose parent went looks for another one; if it ends before it has found one, nobody loses a
// neighbour. So whoever loses one tells the root, and the root sees who is there, with a new ballot, which
// all answer (decision.h). Whoever does not is called, from the top of the tree down, so that a rank that is
// merely stopped costs nobody below it their place. Whoever refuses is gone.
//
// Who is gone and did not leave in order has died. The last to whom a leaver said so may not yet have passed
// that on; but it does before it goes itself (node_leave.cc). So the root waits until all who are alive have
// answered a roll call that began after the rank was found gone: if nobody knows that it left, it did not.
#include <algorithm>
#include <utility>

#include "src/control/node.h"
#include "src/control/tree_shape.h"

namespace comity::control {
namespace {

constexpr uint64_t kCallAfterMs = 100;       // so that many losses are one call
constexpr uint64_t kCallEveryMs = 1000;      // but where somebody is known to be gone
constexpr uint64_t kAnswersWithinMs = 400;   // then whoever is missing is called; and again after twice that
constexpr uint64_t kLongestWaitMs = 30'000;  // between two such calls
constexpr uint64_t kSilentCountMs = 5000;    // a rank that is stopped keeps no death from the others longer
constexpr size_t kCalledAtOnce = 64;

// A silent rank may know that one below it left.
bool is_below_any(uint32_t rank, const RankSet& ranks) {
  while (rank > 0) {
    rank = parent_of(rank);
    if (ranks.contains(rank)) return true;
  }
  return false;
}

}  // namespace

// Somebody may be in nobody's sight, or be gone without a word.
void Node::call_roll_soon() {
  if (!joined_ || finished_ || over()) return;
  roll_wanted_ = true;
  if (!is_root()) return tell_state_soon();
  if (timers_.roll != 0 && roll_wait_ms_ <= kAnswersWithinMs) return;
  loop_.cancel(timers_.roll);
  const uint64_t since_ms = (loop_.now_ns() - roll_called_ns_) / 1'000'000;
  const bool at_once = roll_called_ns_ == 0 || since_ms >= kCallEveryMs || has_unasked_suspects();
  look_at_roll_in(at_once ? kCallAfterMs : std::max(kCallAfterMs, kCallEveryMs - since_ms));
}

bool Node::has_unasked_suspects() const {
  return !decision_.unexplained().without(suspects_).empty();
}

void Node::look_at_roll_in(uint64_t ms) {
  roll_wait_ms_ = ms;
  timers_.roll = loop_.after_ms(ms, [self = shared_from_this()] {
    self->timers_.roll = 0;
    self->look_at_roll();
  });
}

void Node::look_at_roll() {
  if (!is_root() || over() || finished_) return;
  if (decision_.has_matter()) return look_at_roll_in(kCallAfterMs);  // that calls everybody by itself
  if (roll_open_) {
    close_roll();
    if (roll_open_) call_from_the_top(decision_.unheard());
    if (roll_open_ && !roll_wanted_) return look_at_roll_in(std::min(2 * roll_wait_ms_, kLongestWaitMs));
  }
  if (!roll_wanted_ || timers_.roll != 0 || decision_.has_matter()) return;
  decision_.lead();
  to_children(MessageType::kLead, encode(decision_.current()));
  open_roll();
}

// The ballot is new.
void Node::open_roll() {
  roll_wanted_ = false;
  roll_open_ = true;
  roll_called_ns_ = loop_.now_ns();
  const bool had_suspects = !suspects_.empty();
  suspects_ = decision_.unexplained();
  if (!had_suspects) suspects_since_ns_ = roll_called_ns_;
  loop_.cancel(timers_.roll);
  look_at_roll_in(kAnswersWithinMs);
  close_roll();
}

// Once everybody has answered, whoever was gone before, and of whom nobody said that it left, has died.
void Node::close_roll() {
  if (!roll_open_ || decision_.has_matter()) return;
  const RankSet missing = decision_.unheard();
  const bool complete = missing.empty();
  if (!complete && (suspects_.empty() || loop_.now_ns() - suspects_since_ns_ < kSilentCountMs * 1'000'000u))
    return;
  roll_open_ = !complete;
  if (complete) loop_.cancel(std::exchange(timers_.roll, 0));
  RankSet died = decision_.unexplained();
  died = died.without(died.without(suspects_));
  for (; !died.empty(); died.remove(died.first())) {
    if (!is_below_any(died.first(), missing)) hold_death_of(died.first(), true);
  }
  if (has_unasked_suspects() || roll_wanted_) call_roll_soon();
}

void Node::call_from_the_top(const RankSet& missing) {
  size_t called = 0;
  for (RankSet left = missing; !left.empty() && called < kCalledAtOnce; left.remove(left.first())) {
    const uint32_t rank = left.first();
    const auto child = children_.find(rank);
    if (child != children_.end() && child->second.channel->is_open()) continue;  // merely slow
    if (rank == options_.rank || (rank > 0 && missing.contains(parent_of(rank)))) continue;
    summons().call_once(rank);
    ++called;
  }
}

// To the parent, once there is one.
void Node::pass_on_roll_call() {
  if (std::exchange(roll_open_, false)) roll_wanted_ = true;  // it was the root
  if (!roll_wanted_ || !has_parent()) return;
  to_parent(MessageType::kRollCall, {});
  roll_wanted_ = false;
}

// Of the gone, here or among those below.
void Node::on_news_of_gone() {
  if (is_root() && has_unasked_suspects()) call_roll_soon();
}

}  // namespace comity::control
