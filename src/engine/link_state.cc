// How a link stands: what is under way, what failed.
#include "src/engine/link.h"

#include <fmt/core.h>

#include <algorithm>

namespace comity::engine {

bool Link::open() const {
  return std::any_of(endpoints_.begin(), endpoints_.end(),
                     [](const Endpoint* endpoint) { return endpoint->status().ok(); });
}

bool Link::handed_over() const {
  for (size_t at = 0; at < endpoints_.size(); ++at) {
    if (endpoints_[at]->transmitted() < accepted_[at] && endpoints_[at]->status().ok()) return false;
  }
  return true;
}

bool Link::quiescent() const {
  const bool due = std::any_of(lanes_.begin(), lanes_.end(),
                               [this](const Lane& lane) { return acknowledgement_due(lane.rx); });
  return (!due || !open()) && handed_over();
}

bool Link::exchange_quiescent() const {
  return (!acknowledgement_due(exchange_->rx) || !open()) && handed_over();
}

void Link::fence() {
  fenced_ = true;
  if (put_bytes_ != 0 && is_exposed()) {
    for (Endpoint* endpoint : endpoints_) endpoint->stop();
  }
  const auto drop = [](auto& way) { way.posted.head = way.posted.tail; };
  const auto drop_both = [&](Lane& lane) {
    drop(lane.tx);
    drop(lane.rx);
  };
  for (Lane& lane : lanes_) drop_both(lane);
  if (exchange_ != nullptr) drop_both(*exchange_);
  connections_.let_go(communicator_);
  if (error_.ok()) error_ = Status(Code::kInvalidUsage, "the communicator was aborted or failed before");
}

bool Link::awaits_bytes() const {
  const auto awaits = [](const Lane& lane) { return !lane.rx.posted.empty(); };
  return std::any_of(lanes_.begin(), lanes_.end(), awaits) || (exchange_ != nullptr && awaits(*exchange_));
}

bool Link::awaits_taking() const {
  const auto awaits = [](const Lane& lane) { return !lane.tx.posted.empty(); };
  return std::any_of(lanes_.begin(), lanes_.end(), awaits) || (exchange_ != nullptr && awaits(*exchange_));
}

// A peer that made its last call closes its connections while we wait for others: that is no failure of ours
// unless something is still to come from it or to go to it.
bool Link::expects_nothing() const {
  return !awaits_bytes() && !awaits_taking();
}

// One of several connections that ended in order delivered all that was sent on it; what is missing comes on
// the others, until all have ended.
Status Link::status() const {
  if (!error_.ok()) return error_;
  size_t ended = 0;
  for (const Endpoint* endpoint : endpoints_) {
    if (endpoint->status().ok() || expects_nothing()) continue;
    if (!endpoint->ended() || ++ended == endpoints_.size()) return named(endpoint->status());
  }
  return {};
}

// Connections call the peer by its number in the family.
Status Link::named(const Status& status) const {
  if (!connections_.of_family() || connections_.family_rank() == peer_) return status;
  return status.in(fmt::format("rank {}, which is rank {} of the communicator that it was split from", peer_,
                               connections_.family_rank()));
}

}  // namespace comity::engine
