#include "algorithms/ring_steps.h"

#include <utility>

namespace comity::algorithms {

RingSteps::RingSteps(Steps& steps, RingSpec spec)
    : steps_(steps), spec_(std::move(spec)), sent_(spec_.size), ready_(spec_.ready) {}

void RingSteps::scatter_send(uint32_t s) {
  const uint32_t outgoing = member(s);
  sent_[outgoing] = steps_.send(spec_.next, chunk(s == 0 ? spec_.own : Space::kOutput, outgoing), ready_);
}

void RingSteps::scatter_fold(uint32_t s) {
  const uint32_t incoming = member(s + 1);
  const bool last = s + 1 == rounds();
  const uint32_t reduced = steps_.fold({.peer = spec_.previous,
                                        .own = chunk(spec_.own, incoming),
                                        .into = chunk(Space::kOutput, incoming),
                                        .order = Order::kReceivedFirst,
                                        .last = last,
                                        .after = spec_.ready,
                                        .own_partial = spec_.own_partial,
                                        .received_partial = s > 0 || spec_.previous_partial});
  ready_ = {steps_.done(reduced)};
  if (last) complete_ = ready_;
}

void RingSteps::gather_send(uint32_t s) {
  const uint32_t sent = steps_.send(spec_.next, chunk(Space::kOutput, member(s + spec_.size - 1)), ready_);
  complete_.push_back(steps_.done(sent));
}

void RingSteps::gather_recv(uint32_t s) {
  const uint32_t incoming = member(s);
  // What is overwritten was sent before: the first chunk from where the own contribution lay.
  const bool from_input = s == 0 && spec_.own == Space::kInput;
  const uint32_t sent = sent_[incoming];
  const After cleared = from_input ? steps_.done_in_place(sent) : steps_.done(sent);
  ready_ = {steps_.done(steps_.recv(spec_.previous, chunk(Space::kOutput, incoming), {cleared}))};
  complete_.push_back(ready_[0]);
}

}  // namespace comity::algorithms
