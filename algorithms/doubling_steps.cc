#include "algorithms/doubling_steps.h"

#include <utility>

namespace comity::algorithms {

uint32_t DoublingSteps::most_folds(uint32_t members) {
  const Surplus surplus(members);
  return surplus.rounds() + (surplus.extra > 0 ? 1 : 0);
}

DoublingSteps::DoublingSteps(Steps& steps, DoublingSpec spec)
    : steps_(steps),
      spec_(std::move(spec)),
      surplus_(static_cast<uint32_t>(spec_.members.size())),
      index_(surplus_.index_of(spec_.position)),
      stages_(surplus_.rounds() + (surplus_.has_surplus(spec_.position) ? 1 : 0)),
      ready_(spec_.ready) {}

void DoublingSteps::begin() {
  if (surplus_.is_surplus(spec_.position)) {
    sends_.push_back(steps_.send(spec_.members[spec_.position + 1], run(spec_.own), ready_));
  } else if (speaks()) {
    add_fold(0, spec_.position - 1, false, Order::kReceivedFirst);
  }
}

void DoublingSteps::send(uint32_t round) {
  const uint32_t stage = round + (speaks() ? 1 : 0);
  const uint32_t peer = spec_.members[surplus_.rank_of(index_ ^ (1u << round))];
  sends_.push_back(steps_.send(peer, source(stage), ready_));
}

void DoublingSteps::fold(uint32_t round) {
  const uint32_t partner = index_ ^ (1u << round);
  const uint32_t position = surplus_.rank_of(partner);
  const bool peer_folded = round > 0 || surplus_.has_surplus(position);
  add_fold(round + (speaks() ? 1 : 0), position, peer_folded, order_of(index_, partner));
}

// Of what the member at `position` has; `peer_folded`: it has folded before.
void DoublingSteps::add_fold(uint32_t stage, uint32_t position, bool peer_folded, Order order) {
  // sends_ holds one per round; a rank that speaks for two has folded once before its first.
  const uint32_t first_send_stage = speaks() ? 1 : 0;
  std::vector<After> after = ready_;
  std::vector<After> in_place;
  // What stage - 1 sent lies where this stage writes, unless it was the own contribution.
  if (stage >= 2) after.push_back(steps_.done(sends_[stage - 1 - first_send_stage]));
  const bool own_was_sent = !speaks() && stage < 2;
  if (own_was_sent && into(stage).space == Space::kOutput) in_place.push_back(own_sent(sends_[0]));
  const uint32_t reduced = steps_.fold({.peer = spec_.members[position],
                                        .own = source(stage),
                                        .into = into(stage),
                                        .order = order,
                                        .last = stage + 1 == stages_,
                                        .after = std::move(after),
                                        .in_place = std::move(in_place),
                                        .own_partial = stage > 0 || partial(spec_.position),
                                        .received_partial = peer_folded || partial(position)});
  ready_ = {steps_.done(reduced)};
}

void DoublingSteps::end() {
  if (surplus_.is_surplus(spec_.position)) {
    const uint32_t arrived =
        steps_.recv(spec_.members[spec_.position + 1], run(Space::kOutput), {own_sent(sends_[0])});
    ready_ = {steps_.done(arrived)};
  } else if (speaks()) {
    ready_.push_back(
        steps_.done(steps_.send(spec_.members[spec_.position - 1], run(Space::kOutput), ready_)));
  }
}

}  // namespace comity::algorithms
