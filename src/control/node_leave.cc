// Leaving: in order, as a relay for those below until they left too; or at once, which is a fault for all.
#include <fmt/core.h>

#include <utility>

#include "src/base/fork.h"
#include "src/control/descriptors.h"
#include "src/control/node.h"
#include "src/control/standing_nodes.h"

namespace comity::control {
namespace {

// For others to hear that this rank leaves, when the process ends.
constexpr uint64_t kKnownWithinMs = 10'000;

// Relays that their user has left go when the process does, and lose nothing of what they passed on.
void end_relays() {
  const auto standing = standing_nodes();
  for (const auto& node : standing) node->check_left();
}

}  // namespace

std::set<std::shared_ptr<Node>>& standing_nodes() {
  static constinit OfThisProcess<std::set<std::shared_ptr<Node>>> nodes;
  return nodes.get();
}

bool Node::on_leaving(Neighbour& neighbour, std::span<const std::byte> payload) {
  const auto leaving = decode_leaving(payload);
  if (!leaving || neighbour.leaving) return false;
  neighbour.leaving = true;
  neighbour.last_number = leaving->last_number;
  neighbour.channel->send(static_cast<uint16_t>(MessageType::kLeavingAck), {});
  if (!decision_.set_gone(neighbour.rank)) return true;
  tell_state_soon();
  advance();
  return true;
}

void Node::leave(bool orderly) {
  if (left_) return;
  left_ = true;
  if (joined_) unregister_communicator(communicator_);
  inquest_.set_left();
  if (orderly && joined_ && verdict() == nullptr) {
    if (acceptor_) std::exchange(acceptor_, nullptr)->close();  // whoever needs a parent finds another one
    decision_.set_gone(options_.rank);
    tell_state_soon();
    const Bytes payload = encode(Leaving{calls_.last_number()});
    for_each_neighbour([&](Neighbour& neighbour) {
      neighbour.channel->send(static_cast<uint16_t>(MessageType::kLeaving), payload);
    });
    hold_loop();
    if (mending_ || (!parent_ && options_.rank != 0)) return finish();  // those below find others
    return check_left();
  }
  if (verdict() == nullptr) {
    const Fault why = fault_of(Code::kRemoteError, fmt::format("rank {} aborted", options_.rank));
    if (joined_ && !is_root()) return depart(why);
    to_children(MessageType::kFarewell, encode(why));
    set_joined(Status(why.code, why.text));
  }
  finish();
}

// Stays until a parent has read why, or the verdict is there; without a parent it looks for one first.
void Node::depart(const Fault& why) {
  departing_ = true;
  hold_loop();
  if (acceptor_) std::exchange(acceptor_, nullptr)->close();
  to_children(MessageType::kFarewell, encode(why));
  decision_.set_gone(options_.rank);
  decision_.replace_wish(why);
  press();
}

// The process does not end before others know that this rank left, or why: they would take it for dead.
void Node::hold_loop() {
  static const Loop* told = nullptr;
  if (std::exchange(told, &loop_) != &loop_) loop_.at_end(end_relays);
  loop_.hold();
  holds_loop_ = true;
  timers_.known = loop_.after_ms(kKnownWithinMs, [self = shared_from_this()] { self->release_loop(); });
}

void Node::release_loop() {
  loop_.cancel(std::exchange(timers_.known, 0));
  if (std::exchange(holds_loop_, false)) loop_.release();
}

void Node::check_left() {
  if (!left_ || finished_ || departing_) return;
  bool all_know = true;
  for_each_neighbour([&](Neighbour& neighbour) { all_know &= neighbour.knows; });
  if (!all_know) return;
  release_loop();
  {
    const std::lock_guard<std::mutex> lock(waits_.mutex);
    waits_.left = true;
    waits_.changed.notify_all();
  }
  if (children_.empty() || loop_.ending()) finish();
}

void Node::stop_timers() {
  for (uint64_t* timer : {&timers_.pong, &timers_.state, &timers_.summon, &timers_.patience, &timers_.cut_off,
                          &timers_.stuck}) {
    loop_.cancel(std::exchange(*timer, 0));
  }
}

void Node::finish() {
  if (finished_) return;
  const auto self = shared_from_this();
  finished_ = true;
  stop_timers();
  release_loop();
  inquest_.stop();
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
  standing_nodes().erase(self);
  const std::lock_guard<std::mutex> lock(waits_.mutex);
  waits_.left = true;
  waits_.changed.notify_all();
}

}  // namespace comity::control
