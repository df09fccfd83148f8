// Leaving: in order, as a relay for those below until they left too; or at once, which is a fault for all.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "src/control/descriptors.h"
#include "src/control/node.h"
#include "src/control/standing_nodes.h"

namespace comity::control {
namespace {

// For others to hear that this rank leaves, when the process ends.
constexpr uint64_t kKnownWithinMs = 10'000;
constexpr uint64_t kAnotherAfterMs = 2'000;  // a parent that does not answer
constexpr uint64_t kNewsAfterMs = 1;         // what many say goes on as one

// Of one process.
struct StandingNodes {
  std::set<std::shared_ptr<Node>> nodes;
  bool told_of_end = false;
};

// Relays that their user has left go when the process does, and lose nothing of what they passed on.
void end_relays(Loop& loop) {
  const auto standing = standing_nodes(loop);
  for (const auto& node : standing) node->check_left();
}

}  // namespace

std::set<std::shared_ptr<Node>>& standing_nodes(Loop& loop) {
  return loop.part<StandingNodes>().nodes;
}

bool Node::on_leaving(Neighbour& neighbour, std::span<const std::byte> payload) {
  const auto leaving = decode_leaving(payload);
  if (!leaving) return false;
  neighbour.leaving = true;
  neighbour.last_words = *leaving;
  const bool news = decision_.set_left(neighbour.rank);
  if (news) on_news_of_left(&neighbour);
  const bool is_parent = parent_ && &neighbour == &*parent_;
  if (left_ && !departing_ && !is_parent && !over()) {
    ++neighbour.owed;  // it may go when somebody knows who stays
    pay_owed();
  } else {
    neighbour.channel->send(static_cast<uint16_t>(MessageType::kLeavingAck), {});
  }
  if (!news) return true;
  tell_state_soon();
  advance();
  return true;
}

// The user has left the last communicator.
void Node::leave_tree(const std::shared_ptr<Scope>& last, bool orderly) {
  left_ = true;
  if (joined_) unregister_communicator(communicator_);
  const bool has_verdict = last->verdict_storage != nullptr;
  note_left(*last);
  scopes_.clear();
  last_ = last;
  if (joined_ && !over() && (orderly || has_verdict)) return leave_in_order();
  if (!over()) {
    Fault why = fault_of(Code::kRemoteError, "aborted");
    why.rank = options_.rank;
    why.left = left_by(options_.rank);
    std::erase(why.left, last->id);
    if (joined_ && !is_root()) return depart(why);
    leave_wishes();
    to_children(MessageType::kFarewell, encode(why));
    set_joined(Status(why.code, sentence_for(why, *base_)));
  }
  finish();
}

void Node::leave_in_order() {
  decision_.set_left(options_.rank);
  for_each_neighbour([this](Neighbour& neighbour) { tell_leaving(neighbour); });
  hold_loop();
  timers_.slow =
      loop_.after_ms(kAnotherAfterMs, [self = shared_from_this()] { self->look_for_better_parent(); });
  check_left();
}

// A root that goes has not decided what it held: an abort of another communicator of the family, a moment
// ago.
void Node::leave_wishes() {
  for (const Fault& wish : decision_.wishes()) to_children(MessageType::kFarewell, encode(wish));
}

// With all that this rank knows of the gone, so that the answer is to that too.
void Node::tell_leaving(Neighbour& neighbour) {
  if (parent_ && &*parent_ == &neighbour) {
    to_parent(MessageType::kState, encode(decision_.state()));
  } else {
    neighbour.channel->send(static_cast<uint16_t>(MessageType::kGone), encode(decision_.gone()));
  }
  ++neighbour.told;
  hold_loop();
  Leaving leaving;
  for (const LeftScope& left : left_scopes_) leaving.left.push_back({left.id, left.rank, left.last_number});
  neighbour.channel->send(static_cast<uint16_t>(MessageType::kLeaving), encode(leaving));
}

// One that leaves, too, may rely on this rank, unless it was called: then it answers when somebody knows.
void Node::on_leaving_known(const Neighbour& neighbour) {
  if (!neighbour.knows()) return;
  const bool stays = !neighbour.leaving && !decision_.gone().left.contains(neighbour.rank);
  if (stays) left_known_ = true;
  if (left_known_ && summons_ && !decision_.has_matter()) summons_->want({});
  if (neighbour.is_witness) {  // its place is elsewhere
    const std::shared_ptr<Channel> channel = neighbour.channel;
    children_.erase(neighbour.rank);
    channel->close_after_flush();
  }
  check_left();
}

// Others left. If this rank leaves itself, it acknowledges that, and ends, only when whoever it tells knows
// of them too.
void Node::on_news_of_left(const Neighbour* from) {
  if (!left_ || finished_ || departing_ || (parent_ && from == &*parent_)) return;
  if (from == nullptr || from->leaving || decision_.gone().left.contains(from->rank)) left_known_ = false;
  untold_ = true;
  hold_loop();
  if (timers_.news != 0) return;
  timers_.news = loop_.after_ms(kNewsAfterMs, [self = shared_from_this()] {
    self->timers_.news = 0;
    self->tell_news_of_left();
  });
}

void Node::tell_news_of_left() {
  if (finished_ || over()) return;
  untold_ = false;
  if (parent_) {
    tell_leaving(*parent_);
  } else {
    for (auto& child : children_) {
      if (!child.second.leaving) tell_leaving(child.second);
    }
  }
  check_left();
}

// That this rank leaves, and who else did, as far as it knows.
bool Node::is_known() const {
  if (untold_ || mending_) return over();
  return parent_ ? parent_->knows() : left_known_ || over() || others().empty();
}

// Who may still be there.
RankSet Node::others() const {
  RankSet others = RankSet(0, options_.nranks).without(decision_.gone().all);
  others.remove(options_.rank);
  return others;
}

void Node::pay_owed() {
  if (!is_known()) return;
  const auto pay = [](Neighbour& neighbour) {
    for (; neighbour.owed > 0; --neighbour.owed)
      neighbour.channel->send(static_cast<uint16_t>(MessageType::kLeavingAck), {});
  };
  for_each_neighbour(pay);
  if (caller_) pay(*caller_);
}

// The parent may be stopped, or on a host that is gone.
void Node::look_for_better_parent() {
  timers_.slow = 0;
  if (finished_ || departing_ || over()) return;
  if (!parent_) return check_left();
  if (parent_->knows()) return;
  const uint32_t slow = parent_->rank;
  drop_parent();
  mend(slow, false);
}

// A parent passes on what it has acknowledged, before it goes. Without one, others are called until one of
// them knows that does not leave itself, unless a child is such a one.
bool Node::seeks_a_witness() {
  if (parent_ || left_known_ || over()) return false;
  const RankSet called = others();
  if (called.empty()) return false;
  if (!shared_ && !decision_.log().empty()) return false;  // to the others all is over
  const bool is_told = std::any_of(children_.begin(), children_.end(), [this](const auto& child) {
    return !child.second.leaving && !decision_.gone().left.contains(child.first);
  });
  if (is_told && timers_.slow != 0) return true;  // it will answer
  summons().want(called);
  return true;
}

// What only this rank may know of those that left is known above it and below it when it is gone.
void Node::pass_on_the_gone() {
  if (!joined_ || over()) return;
  to_parent(MessageType::kState, encode(decision_.state()));
  to_children(MessageType::kGone, encode(decision_.gone()));
}

void Node::set_gone_from_all() {
  const std::lock_guard<std::mutex> lock(waits_.mutex);
  if (last_) last_->gone = true;
  waits_.changed.notify_all();
}

// Stays until a parent has read why, or the verdict is there; without a parent it looks for one first.
void Node::depart(const Fault& why) {
  departing_ = true;
  hold_loop();
  to_children(MessageType::kFarewell, encode(why));
  decision_.set_left(options_.rank);
  decision_.wish_first(why);
  press();
}

// The process does not end before others know that this rank left, or why: they would take it for dead.
void Node::hold_loop() {
  if (std::exchange(holds_loop_, true)) return;
  if (!std::exchange(loop_.part<StandingNodes>().told_of_end, true))
    loop_.at_end([&loop = loop_] { end_relays(loop); });
  loop_.hold();
  timers_.known = loop_.after_ms(kKnownWithinMs, [self = shared_from_this()] {
    self->release_loop();
    self->left_known_ = true;
    if (self->summons_ && !self->decision_.has_matter()) self->summons_->want({});
    self->check_left();
  });
}

void Node::release_loop() {
  loop_.cancel(std::exchange(timers_.known, 0));
  if (std::exchange(holds_loop_, false)) loop_.release();
}

void Node::check_left() {
  if (!left_ || finished_ || departing_) return;
  pay_owed();
  bool all_know = !mending_;  // a rank without a place is not known to have left
  for_each_neighbour([&](Neighbour& neighbour) { all_know &= neighbour.knows(); });
  if (!all_know || untold_ || seeks_a_witness()) return;
  release_loop();
  set_gone_from_all();
  const bool relays = !children_.empty() && !loop_.ending() && (parent_ || options_.rank == 0);
  if (relays) return;
  if (!parent_) leave_wishes();
  finish();  // those below find others
}

void Node::stop_timers() {
  for (uint64_t* timer : {&timers_.pong, &timers_.state, &timers_.summon, &timers_.patience, &timers_.cut_off,
                          &timers_.stuck, &timers_.roll, &timers_.news, &timers_.slow}) {
    loop_.cancel(std::exchange(*timer, 0));
  }
}

void Node::finish() {
  if (finished_) return;
  const auto self = shared_from_this();
  finished_ = true;
  pass_on_the_gone();
  stop_timers();
  release_loop();
  inquest_.stop();
  ring_search_.stop();
  scoped_gathering_.stop();
  if (joining_) std::exchange(joining_, nullptr)->stop(Status(Code::kRemoteError, "left"), false);
  if (acceptor_) std::exchange(acceptor_, nullptr)->close();
  if (mending_) std::exchange(mending_, nullptr)->cancel();
  if (summons_) std::exchange(summons_, nullptr)->cancel();
  if (processes_) std::exchange(processes_, nullptr)->stop();
  if (caller_) caller_->channel->close();
  caller_.reset();
  for_each_neighbour([](Neighbour& neighbour) { neighbour.channel->close_after_flush(); });
  parent_.reset();
  children_.clear();
  turned_away_.clear();
  standing_nodes(loop_).erase(self);
  set_gone_from_all();
}

}  // namespace comity::control
