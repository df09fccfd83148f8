// Faults: who holds one, who decides, and how the tree is mended so that one rank can.
#include <fmt/core.h>

#include <utility>

#include "src/base/log.h"
#include "src/control/node.h"

namespace comity::control {
namespace {

constexpr uint64_t kAnswerWithinMs = 400;  // of a parent that is asked whether it is there
constexpr uint64_t kStateAfterMs = 1;      // answers of many ranks go up as one
constexpr uint64_t kSummonEveryMs = 100;
constexpr uint64_t kPatienceMs = 400;      // the root's, with ranks that do not answer
constexpr uint64_t kCutOffAfterMs = 5000;  // the root's, without more than half
constexpr uint64_t kStuckAfterMs = 2000;   // and up to half as much again, by rank

void send(const std::shared_ptr<Channel>& channel, MessageType type, std::span<const std::byte> payload) {
  channel->send(static_cast<uint16_t>(type), payload);
}

}  // namespace

TreeCall Node::tree_call() const {
  return TreeCall{options_.rank, options_.id.secret, communicator_, kAnswerWithinMs};
}

// --- Holding a fault -------------------------------------------------------------------------------------

void Node::report(uint64_t number) {
  auto& on_the_way = reports_on_the_way_[number % reports_on_the_way_.size()];
  if (on_the_way.exchange(number) == number) return;
  const bool posted = loop_.post([self = shared_from_this(), number, &on_the_way] {
    // First, so that whoever comes from now on is not merged into a report that is already being sent.
    uint64_t expected = number;
    on_the_way.compare_exchange_strong(expected, 0);
    if (!self->finished_ && self->verdict() == nullptr) self->inquest_.report(number);
  });
  if (!posted) on_the_way.store(0);
}

void Node::declare_fault(Code code, std::string text) {
  if (verdict() != nullptr || finished_) return;
  const Fault fault = fault_of(code, std::move(text));
  if (joined_) return hold(fault);
  if (joining_) joining_->fail(Status(fault.code, fault.text));
}

void Node::hold(const Fault& fault) {
  if (decision_.wish() || verdict() != nullptr || finished_) return;
  decision_.wish(fault);
  press();
}

// Tells the fault to whoever may decide, and sees to it that somebody does.
void Node::press() {
  if (timers_.stuck == 0 && !is_root()) {
    const uint64_t spread_ms = options_.rank * uint64_t{37} % (kStuckAfterMs / 2);
    timers_.stuck = loop_.after_ms(kStuckAfterMs + spread_ms, [self = shared_from_this()] {
      self->timers_.stuck = 0;
      if (self->verdict() != nullptr || self->finished_ || self->is_root()) return;
      if (self->departing_) return self->finish();
      self->drop_parent();
      self->become_root();
    });
  }
  if (is_root()) return advance();
  if (!parent_) return;
  to_parent(departing_ ? MessageType::kFarewell : MessageType::kDeclare, encode(*decision_.wish()));
  watch_parent();
}

void Node::watch_parent() {
  loop_.cancel(timers_.pong);
  pinged_ = true;
  to_parent(MessageType::kPing, {});
  timers_.pong = loop_.after_ms(kAnswerWithinMs, [self = shared_from_this()] {
    self->timers_.pong = 0;
    if (self->verdict() != nullptr || self->finished_ || !self->parent_) return;
    if (!self->pinged_) return self->watch_parent();
    const Neighbour silent = std::move(*self->parent_);
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

// --- Deciding --------------------------------------------------------------------------------------------

// The root's next steps.
void Node::advance() {
  while (is_root() && verdict() == nullptr && !finished_) {
    switch (decision_.advance(patient_)) {
      case Decision::Next::kTell:
        to_children(MessageType::kLead, encode(decision_.current()));
        continue;
      case Decision::Next::kDecided:
        return adopt(*decision_.current().proposal);
      case Decision::Next::kWait:
        return mind_the_time();
    }
  }
}

void Node::mind_the_time() {
  if (!decision_.has_matter()) return;
  const auto self = shared_from_this();
  if (timers_.summon == 0) {
    timers_.summon = loop_.after_ms(kSummonEveryMs, [self] {
      self->timers_.summon = 0;
      if (!self->is_root() || self->verdict() != nullptr || self->finished_) return;
      self->summons().want(self->decision_.unheard());
      self->mind_the_time();
    });
  }
  if (timers_.patience == 0) {
    patient_ = true;
    timers_.patience = loop_.after_ms(kPatienceMs, [self] {
      self->patient_ = false;
      self->advance();
    });
  }
  if (timers_.cut_off == 0) {
    timers_.cut_off = loop_.after_ms(kCutOffAfterMs, [self] {
      self->timers_.cut_off = 0;
      if (!self->is_root() || self->verdict() != nullptr || self->finished_) return;
      const auto& wish = self->decision_.wish();
      self->adopt(fault_of(Code::kRemoteError,
                           fmt::format("cut off from ranks {}{}", self->decision_.unheard().text(),
                                       wish ? ": " + wish->text : "")));
    });
  }
}

bool Node::on_lead(std::span<const std::byte> payload) {
  const auto lead = decode_lead(payload);
  if (!lead) return false;
  if (parent_) parent_->standing = true;
  if (decision_.follow(*lead)) to_children(MessageType::kLead, encode(decision_.current()));
  tell_state_soon();
  return true;
}

bool Node::on_state(std::span<const std::byte> payload) {
  const auto state = decode_tree_state(payload, options_.nranks);
  if (!state) return false;
  if (!decision_.merge(*state)) return true;
  if (is_root()) {
    if (timers_.summon != 0) summons().want(decision_.unheard());
    advance();
  } else {
    tell_state_soon();
  }
  return true;
}

void Node::tell_state_soon() {
  if (timers_.state != 0 || is_root()) return;
  timers_.state = loop_.after_ms(kStateAfterMs, [self = shared_from_this()] {
    self->timers_.state = 0;
    self->to_parent(MessageType::kState, encode(self->decision_.state()));
  });
}

// The verdict has come, or is made here: everybody around hears it, but for whoever said it.
void Node::adopt(Fault fault, const Channel* except) {
  if (verdict() != nullptr) return;
  const Bytes payload = encode(fault);
  for_each_neighbour([&](Neighbour& neighbour) {
    if (neighbour.channel.get() != except) send(neighbour.channel, MessageType::kVerdict, payload);
  });
  verdict_storage_ = std::make_unique<const Verdict>(Verdict{fault.code, std::move(fault.text)});
  verdict_.store(verdict_storage_.get(), std::memory_order_release);
  inquest_.stop();
  const Status status(verdict_storage_->code, verdict_storage_->message);
  if (!has_parent() && !left_) {
    COMITY_LOG_WARN("rank {} of communicator {:016x}: {}", options_.rank, communicator_, status.message());
  }
  if (joining_) std::exchange(joining_, nullptr)->stop(status, false);
  for (uint64_t* timer : {&timers_.pong, &timers_.patience, &timers_.cut_off, &timers_.stuck})
    loop_.cancel(std::exchange(*timer, 0));
  set_joined(status);  // also wakes whoever waits for something else
  if (departing_) finish();
}

// --- Losing and finding neighbours -----------------------------------------------------------------------

void Node::on_closed(uint32_t peer, Side side, const std::string& why, bool silent) {
  Neighbour gone;
  if (side == Side::kCaller && caller_ && caller_->rank == peer) {
    caller_.reset();
    return;
  }
  if (side != Side::kChild) {
    if (!parent_ || parent_->rank != peer) return;
    gone = std::move(*parent_);
    parent_.reset();
  } else {
    const auto child = children_.find(peer);
    if (child == children_.end()) return;
    gone = std::move(child->second);
    children_.erase(child);
  }
  if (finished_ || (!gone.standing && side == Side::kChild)) return;
  if (gone.leaving) {
    inquest_.answer_for(peer, gone.last_number);
  } else if (verdict() == nullptr && gone.standing) {
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
  if (gone.leaving || verdict() != nullptr) return;
  lost_.add(gone.rank);
  if (ended_.contains(gone.rank)) return on_child_failed(gone.rank, true);
  summons().call_once(gone.rank);
}

void Node::hold_death_of(uint32_t rank, bool refused) {
  if (refused) {
    const char* how = ended_.contains(rank) ? "its process ended" : "its control connection closed";
    declare_fault(Code::kRemoteError, fmt::format("rank {} died or was killed ({})", rank, how));
  } else {
    declare_fault(Code::kRemoteError,
                  fmt::format("rank {} does not answer: it is stopped, or its host is down or "
                              "cannot be reached",
                              rank));
  }
}

void Node::on_child_failed(uint32_t child, bool refused) {
  if (finished_ || children_.contains(child)) return;  // it came back by itself
  if (refused) decision_.set_gone(child);
  if (lost_.contains(child)) hold_death_of(child, refused);
  lost_.remove(child);
  if (is_root()) {
    if (timers_.summon != 0) summons().want(decision_.unheard());
    advance();
  } else {
    tell_state_soon();
  }
}

void Node::on_parent_lost(const Neighbour& gone, bool silent) {
  if (verdict() != nullptr) return;
  if (left_ && !departing_) return finish();  // a relay has nothing more to pass on; those below find others
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
  events.found = [self](uint32_t parent, UniqueFd fd) {
    self->mending_.reset();
    if (!self->finished_) self->on_parent_proven(parent, std::move(fd));
  };
  events.alone = [self] {
    self->mending_.reset();
    if (self->finished_) return;
    if (self->departing_) return self->finish();
    self->become_root();
  };
  RankSet not_these = decision_.below();
  not_these.add(ended_);
  mending_ = Mending::start(loop_, tree_call(), book_, lost_parent, not_these, std::move(events));
}

void Node::become_root() {
  COMITY_LOG_INFO("rank {} is the root of what is left of communicator {:016x}", options_.rank,
                  communicator_);
  decision_.lead();
  to_children(MessageType::kLead, encode(decision_.current()));
  advance();
}

Summons& Node::summons() {
  if (!summons_) {
    const auto self = shared_from_this();
    Summons::Events events;
    events.came = [self](uint32_t child, UniqueFd fd) {
      if (!self->finished_) self->greet(self->new_child(child, std::move(fd)));
    };
    events.failed = [self](uint32_t child, bool refused) { self->on_child_failed(child, refused); };
    summons_ = Summons::start(loop_, tree_call(), book_, std::move(events));
  }
  return *summons_;
}

// What a new child must know.
void Node::greet(Neighbour& child) {
  if (const Verdict* verdict = this->verdict()) {
    send(child.channel, MessageType::kVerdict, encode(Fault{verdict->code, verdict->message}));
  } else if (joined_) {
    send(child.channel, MessageType::kLead, encode(decision_.current()));
  }
}

// --- Being called ----------------------------------------------------------------------------------------

void Node::on_called(uint32_t caller, UniqueFd fd) {
  if (caller_) caller_->channel->close();
  caller_ = Neighbour{};
  caller_->rank = caller;
  caller_->standing = true;
  caller_->channel = open_channel(std::move(fd), caller, Side::kCaller);
  if (const Verdict* verdict = this->verdict()) {
    send(caller_->channel, MessageType::kVerdict, encode(Fault{verdict->code, verdict->message}));
    caller_->channel->close_after_flush();
    caller_.reset();
  }
}

// The first words of a caller: whoever leads with a higher ballot is followed; so is whoever is the parent
// anyway, and anyone by an orphan. To others this rank is where it belongs.
void Node::on_call(MessageType type, std::span<const std::byte> payload) {
  if (type == MessageType::kVerdict) {
    if (auto fault = decode_fault(payload)) adopt(std::move(*fault));
  }
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
  on_lead(payload);
  if (decision_.wish()) press();
}

bool Node::on_farewell(Neighbour& neighbour, std::span<const std::byte> payload) {
  const auto fault = decode_fault(payload);
  if (!fault) return false;
  neighbour.leaving = true;
  decision_.set_gone(neighbour.rank);
  if (!is_root()) tell_state_soon();
  declare_fault(fault->code, fault->text);
  return true;
}

}  // namespace comity::control
