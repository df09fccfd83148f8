// Faults: who holds one, and how the tree is mended so that one rank can decide.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "src/base/log.h"
#include "src/control/node.h"

namespace comity::control {
namespace {

constexpr uint64_t kAnswerWithinMs = 400;  // of a parent that is asked whether it is there
constexpr uint64_t kStuckAfterMs = 2000;   // and up to half as much again, by rank

void send(const std::shared_ptr<Channel>& channel, MessageType type, std::span<const std::byte> payload) {
  channel->send(static_cast<uint16_t>(type), payload);
}

}  // namespace

TreeCall Node::tree_call() const {
  return TreeCall{options_.rank, options_.id.secret, communicator_, kAnswerWithinMs, options_.settings};
}

// --- Holding a fault -------------------------------------------------------------------------------------

void Node::report(const std::shared_ptr<Scope>& scope, uint64_t first, uint64_t last) {
  if (first == 0 || scope->verdict.load(std::memory_order_acquire) != nullptr) return;
  {
    const std::lock_guard<std::mutex> lock(scope->report_mutex);
    const bool waiting = scope->report_last != 0;
    scope->report_last = std::max(scope->report_last, last);
    scope->report_first =
        std::max(waiting ? std::min(scope->report_first, first) : first,
                 scope->report_last >= kMostAsked ? scope->report_last - kMostAsked + 1 : 1);
    if (waiting) return;
  }
  const auto take = [scope] {
    const std::lock_guard<std::mutex> lock(scope->report_mutex);
    return std::pair(scope->report_first, std::exchange(scope->report_last, 0));
  };
  const bool posted = loop_.post([self = shared_from_this(), scope, take] {
    const auto [from, to] = take();
    if (!self->finished_ && !scope->left && scope->verdict.load() == nullptr)
      self->inquest_.report(scope->id, from, to);
  });
  if (!posted) take();
}

// Whether nothing can follow: in a family of one communicator the first verdict ends all.
bool Node::over() const {
  return end_of_all_ || (!shared_ && base_->verdict.load(std::memory_order_relaxed) != nullptr);
}

void Node::declare_fault(uint64_t communicator, Code code, std::string text) {
  Fault fault = fault_of(code, std::move(text));
  fault.communicator = communicator;
  hold(fault);
}

bool Node::on_declare(std::span<const std::byte> payload) {
  const auto fault = decode_fault(payload);
  if (fault) hold(*fault);
  return fault.has_value();
}

void Node::hold(const Fault& fault) {
  if (over() || finished_) return;
  if (!joined_) {
    if (joining_) joining_->fail(Status(fault.code, sentence_for(fault, *base_)));
    return;
  }
  if (decision_.wish(fault)) press();
}

// Tells what is held to whoever may decide, and sees to it that somebody does.
void Node::press() {
  if (timers_.stuck == 0 && !is_root()) {
    const uint64_t spread_ms = options_.rank * uint64_t{37} % (kStuckAfterMs / 2);
    timers_.stuck = loop_.after_ms(kStuckAfterMs + spread_ms, [self = shared_from_this()] {
      self->timers_.stuck = 0;
      if (self->over() || self->finished_ || self->is_root() || !self->decision_.has_matter()) return;
      if (self->departing_) return self->finish();
      self->drop_parent();
      self->become_root();
    });
  }
  if (is_root()) return advance();
  if (!parent_) return;
  for (const Fault& wish : decision_.wishes())
    to_parent(departing_ && is_own_end(wish) ? MessageType::kFarewell : MessageType::kDeclare, encode(wish));
  watch_parent();
}

void Node::watch_parent() {
  loop_.cancel(timers_.pong);
  pinged_ = true;
  to_parent(MessageType::kPing, {});
  timers_.pong = loop_.after_ms(kAnswerWithinMs, [self = shared_from_this()] {
    self->timers_.pong = 0;
    if (self->over() || self->finished_ || !self->parent_ || !self->decision_.has_matter()) return;
    if (!self->pinged_) return self->watch_parent();
    const Neighbour silent = *self->parent_;
    self->drop_parent();
    self->on_parent_lost(silent, true);
  });
}

void Node::drop_parent() {
  if (mending_) std::exchange(mending_, nullptr)->cancel();
  if (parent_ && parent_->channel) parent_->channel->close();
  parent_.reset();
  loop_.cancel(std::exchange(timers_.pong, 0));
}

// --- Losing and finding neighbours -----------------------------------------------------------------------

void Node::on_closed(uint32_t peer, Side side, const std::string& why, bool silent) {
  Neighbour gone;
  // One that is open came in place of the connection that closed.
  const auto is_it = [peer](const auto& neighbour) {
    return neighbour && neighbour->rank == peer && !neighbour->channel->is_open();
  };
  if (side == Side::kCaller && is_it(caller_)) {
    caller_.reset();
    return;
  }
  if (side != Side::kChild) {
    if (!is_it(parent_)) return;
    gone = std::move(*parent_);
    parent_.reset();
  } else {
    const auto child = children_.find(peer);
    if (child == children_.end() || child->second.channel->is_open()) return;
    gone = std::move(child->second);
    children_.erase(child);
  }
  if (finished_) return;
  if (gone.standing && side == Side::kChild) call_roll_soon();
  // An orphan that asked many and chose another: this rank may have waited for it to know that it leaves.
  if (!gone.standing && side == Side::kChild) return check_left();
  if (gone.leaving) {
    inquest_.answer_for(peer, gone.last_words);
  } else if (!over() && gone.standing) {
    COMITY_LOG_INFO("rank {}: lost rank {}: {}", options_.rank, peer, why);
    if (!joined_) hold_death_of(peer, !silent);
  }
  if (joined_ && side != Side::kChild) {
    on_parent_lost(gone, false);
  } else if (joined_) {
    on_child_lost(gone);
  }
  check_left();
}

// One that did not say that it goes is called: it comes back, or it is gone, or silent.
void Node::on_child_lost(const Neighbour& gone) {
  if (gone.leaving || over()) return;
  lost_.add(gone.rank);
  if (ended_.contains(gone.rank)) return on_child_failed(gone.rank, true);
  summons().call_once(gone.rank);
}

void Node::hold_death_of(uint32_t rank, bool refused) {
  std::string how = "does not answer: it is stopped, or its host is down or cannot be reached";
  if (refused) {
    how = fmt::format("died or was killed ({})",
                      ended_.contains(rank) ? "its process ended" : "its control connection closed");
  }
  Fault fault = fault_of(Code::kRemoteError, std::move(how));
  fault.rank = rank;
  fault.left = left_by(rank);
  hold(fault);
}

void Node::on_child_failed(uint32_t child, bool refused) {
  if (finished_ || children_.contains(child)) return;  // it came back by itself
  if (refused) decision_.set_gone(child);
  const bool left =
      decision_.gone().left.contains(child);  // told to others, after it had found another parent
  if (lost_.contains(child) && !left) hold_death_of(child, refused);
  lost_.remove(child);
  if (!is_root()) return tell_state_soon();
  if (timers_.summon != 0) summons().want(missed());
  on_news_of_gone();
  close_roll();
  advance();
  check_left();
}

void Node::on_parent_lost(const Neighbour& gone, bool silent) {
  if (over()) return;
  // A relay that is known to have left has nothing more to pass on; those below find others.
  if (left_ && !departing_ && gone.knows() && !untold_) return finish();
  const bool is_fault = gone.standing && !gone.leaving;
  const bool ended = ended_.contains(gone.rank);
  if (ended) decision_.set_gone(gone.rank);
  if ((silent || ended) && is_fault) hold_death_of(gone.rank, ended);
  mend(gone.rank, is_fault);
}

// Looks for another parent; `is_fault`: the lost one did not say that it goes.
void Node::mend(uint32_t lost_parent, bool is_fault) {
  const auto self = shared_from_this();
  Mending::Events events;
  events.failed = [self, lost_parent, is_fault](uint32_t rank, bool refused) {
    if (refused) self->decision_.set_gone(rank);
    if (rank == lost_parent && is_fault) self->hold_death_of(rank, refused);
  };
  events.found = [self](uint32_t parent, StreamPtr stream) {
    self->mending_.reset();
    if (!self->finished_) self->on_parent_proven(parent, std::move(stream));
  };
  events.alone = [self] {
    self->mending_.reset();
    if (self->finished_) return;
    if (self->departing_) return self->finish();
    self->become_root();
    self->check_left();
  };
  RankSet not_these = decision_.below();
  not_these.add(ended_);
  mending_ = Mending::start(loop_, tree_call(), *book_, lost_parent, not_these, std::move(events));
}

void Node::become_root() {
  COMITY_LOG_INFO("rank {} is the root of what is left of {}", options_.rank,
                  name_of_communicator(communicator_));
  decision_.lead();
  scoped_gathering_.on_tree_mended();
  to_children(MessageType::kLead, encode(decision_.current()));
  open_roll();
  advance();
}

Summons& Node::summons() {
  if (!summons_) {
    const auto self = shared_from_this();
    Summons::Events events;
    events.came = [self](uint32_t child, StreamPtr stream) {
      if (!self->decision_.has_matter()) self->summons_->met(child);
      if (!self->finished_) self->greet(self->new_child(child, std::move(stream)), true);
    };
    events.failed = [self](uint32_t child, bool refused) { self->on_child_failed(child, refused); };
    summons_ = Summons::start(loop_, tree_call(), *book_, std::move(events));
  }
  return *summons_;
}

// What a new child must know.
void Node::greet(Neighbour& child, bool called) {
  tell_verdicts(child);
  if (!joined_ || over()) return;
  const bool leaves = left_ && !departing_;
  const bool seeks_witness = leaves && !parent_ && !left_known_;
  child.is_witness = seeks_witness && called;
  if (seeks_witness) tell_leaving(child);  // and wants no more of one that it called
  send(child.channel, MessageType::kLead, encode(decision_.current()));
  tell_standing(child);
  if (leaves && !seeks_witness) tell_leaving(child);
}

void Node::tell_verdicts(Neighbour& neighbour) {
  uint64_t slot = 0;
  for (const Fault& verdict : decision_.log())
    send(neighbour.channel, MessageType::kVerdict, encode(Decided{slot++, verdict}));
  if (end_of_all_) send(neighbour.channel, MessageType::kVerdict, encode(Decided{kNoSlot, *end_of_all_}));
}

// --- Being called ----------------------------------------------------------------------------------------

void Node::on_called(uint32_t caller, StreamPtr stream) {
  if (caller_) caller_->channel->close();
  caller_ = Neighbour{};
  caller_->rank = caller;
  caller_->standing = true;
  caller_->channel = open_channel(std::move(stream), caller, Side::kCaller);
  if (over()) {
    tell_verdicts(*caller_);
    caller_->channel->close_after_flush();
    caller_.reset();
  }
}

// The first words of a caller: whoever leads with a higher ballot is followed; so is whoever is the parent
// anyway, and anyone by an orphan. To others this rank is where it belongs. One that leaves wants to be known
// to have left.
void Node::on_call(MessageType type, std::span<const std::byte> payload) {
  if (type == MessageType::kVerdict && on_verdict(payload, caller_->channel.get()) && !over()) return;
  if (!caller_) return;  // that was the end
  if (type == MessageType::kGone && on_gone(*caller_, payload)) return;
  if (type == MessageType::kLeaving && on_leaving(*caller_, payload)) return;
  if (caller_->leaving) return;  // that was all
  const auto lead = type == MessageType::kLead ? decode_lead(payload) : std::nullopt;
  const bool is_parent = parent_ && lead && parent_->rank == caller_->rank;
  if (!lead || !(lead->ballot > decision_.ballot() || is_parent || mending_)) {
    caller_->channel->close();
    caller_.reset();
    return;
  }
  drop_parent();
  if (const auto child = children_.find(caller_->rank); child != children_.end()) {
    child->second.channel->close();
    children_.erase(child);
  }
  parent_ = std::exchange(caller_, std::nullopt);
  to_parent(MessageType::kStanding, {});
  tell_verdicts(*parent_);
  tell_standing(*parent_);
  on_lead(payload);
  pass_on_roll_call();
  scoped_gathering_.on_tree_mended();
  if (!decision_.wishes().empty()) press();
  if (left_ && !departing_) tell_leaving(*parent_);
}

bool Node::on_farewell(Neighbour& neighbour, std::span<const std::byte> payload) {
  const auto fault = decode_fault(payload);
  if (!fault) return false;
  neighbour.leaving = true;
  if (decision_.set_left(neighbour.rank)) on_news_of_left(&neighbour);
  if (!is_root()) tell_state_soon();
  hold(*fault);
  return true;
}

}  // namespace comity::control
