// Verdicts: what the root does about what is held, and what everyone does when it has decided.
#include <fmt/core.h>

#include <utility>

#include "src/base/log.h"
#include "src/control/node.h"

namespace comity::control {
namespace {

constexpr uint64_t kStateAfterMs = 1;  // answers of many ranks go up as one
constexpr uint64_t kSummonEveryMs = 100;
constexpr uint64_t kPatienceMs = 400;      // the root's, with ranks that do not answer
constexpr uint64_t kCutOffAfterMs = 5000;  // the root's, without more than half

void send(const std::shared_ptr<Channel>& channel, MessageType type, std::span<const std::byte> payload) {
  channel->send(static_cast<uint16_t>(type), payload);
}

}  // namespace

// The root's next steps.
void Node::advance() {
  while (is_root() && !over() && !finished_) {
    switch (decision_.advance(patient_)) {
      case Decision::Next::kTell:
        to_children(MessageType::kLead, encode(decision_.current()));
        continue;
      case Decision::Next::kDecided:
        return adopt(decision_.log().size(), Fault(*decision_.current().proposal));
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
      if (!self->is_root() || self->over() || self->finished_ || !self->decision_.has_matter()) return;
      self->summons().want(self->missed());
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
      if (!self->is_root() || self->over() || self->finished_ || !self->decision_.has_matter()) return;
      const auto& wishes = self->decision_.wishes();
      self->end_all(
          fault_of(Code::kRemoteError,
                   fmt::format("cut off from ranks {}{}", self->decision_.unheard().text(),
                               wishes.empty() ? "" : ": " + sentence_for(wishes.front(), *self->base_))));
    });
  }
}

// Children that are connected are not called while they may merely be slow: it would cost them their place.
RankSet Node::missed() const {
  RankSet ranks = decision_.unheard();
  if (!patient_) return ranks;
  for (const auto& child : children_) {
    if (child.second.standing && child.second.channel->is_open()) ranks.remove(child.first);
  }
  return ranks;
}

bool Node::on_lead(std::span<const std::byte> payload) {
  const auto lead = decode_lead(payload);
  if (!lead) return false;
  if (parent_) parent_->standing = true;
  if (decision_.follow(*lead)) to_children(MessageType::kLead, encode(decision_.current()));
  tell_state_soon();
  return true;
}

bool Node::on_state(const Neighbour& child, std::span<const std::byte> payload) {
  const auto state = decode_tree_state(payload, options_.nranks);
  if (!state) return false;
  const bool knew = state->gone.left.without(decision_.gone().left).empty();
  if (!decision_.merge(*state)) return true;
  if (!knew) on_news_of_left(&child);
  if (is_root()) {
    if (timers_.summon != 0) summons().want(missed());
    on_news_of_gone();
    close_roll();
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
    if (!self->is_root()) self->pass_on_roll_call();
  });
}

bool Node::on_verdict(std::span<const std::byte> payload, const Channel* from) {
  const auto decided = decode_decided(payload);
  if (!decided) return false;
  if (decided->slot == kNoSlot) {
    end_all(decided->fault, from);
  } else {
    adopt(decided->slot, decided->fault, from);
  }
  return true;
}

// "communicator 0123456789abcdef "trainer"", the name if it is known here.
std::string Node::name_of_communicator(uint64_t id) const {
  const auto scope = scopes_.find(id);
  const std::string& name = id == communicator_ || scope == scopes_.end() ? base_->name : scope->second->name;
  const bool known = !name.empty() && (id == communicator_ || scope != scopes_.end());
  return fmt::format("communicator {:016x}{}", id, known ? fmt::format(" \"{}\"", name) : "");
}

// The verdict has come, or is made here: everybody around hears it, but for whoever said it.
void Node::adopt(uint64_t slot, const Fault& fault, const Channel* except) {
  if (over() || !decision_.learn(slot, fault)) return;
  const Bytes payload = encode(Decided{slot, fault});
  for_each_neighbour([&](Neighbour& neighbour) {
    if (neighbour.channel.get() != except) send(neighbour.channel, MessageType::kVerdict, payload);
  });
  if (!has_parent() && !left_) {
    COMITY_LOG_WARN("rank {} of {}: {}", options_.rank,
                    name_of_communicator(fault.communicator != 0 ? fault.communicator : communicator_),
                    sentence_for(fault, *base_));
  }
  end_scopes(fault);
  if (fault.communicator == 0 && fault.rank == kNobody) end_of_all_ = fault;
  go_on();
}

// A verdict that is no decision of all.
void Node::end_all(const Fault& fault, const Channel* except) {
  if (over()) return;
  end_of_all_ = fault;
  const Bytes payload = encode(Decided{kNoSlot, fault});
  for_each_neighbour([&](Neighbour& neighbour) {
    if (neighbour.channel.get() != except) send(neighbour.channel, MessageType::kVerdict, payload);
  });
  if (!has_parent() && !left_) {
    COMITY_LOG_WARN("rank {} of {}: {}", options_.rank, name_of_communicator(communicator_), fault.text);
  }
  end_scopes(fault);
  if (joining_) std::exchange(joining_, nullptr)->stop(Status(fault.code, fault.text), true);
  set_joined(Status(fault.code, fault.text));
  go_on();
}

// After a verdict: to the next one, if there can be one.
void Node::go_on() {
  patient_ = true;
  for (uint64_t* timer : {&timers_.pong, &timers_.patience, &timers_.cut_off, &timers_.stuck})
    loop_.cancel(std::exchange(*timer, 0));
  if (over()) {
    decision_.drop_wishes();
    inquest_.stop();
    ring_search_.stop();
    scoped_gathering_.stop();
    if (departing_) finish();
  } else if (departing_ && (decision_.wishes().empty() || !is_own_end(decision_.wishes().front()))) {
    finish();  // why is known
  } else if (!decision_.wishes().empty()) {
    press();
  } else if (is_root()) {
    call_roll_soon();  // a verdict needs no more than half
  }
}

}  // namespace comity::control
