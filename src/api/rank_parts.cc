#include "src/api/rank_parts.h"

#include <algorithm>
#include <utility>

#include "algorithms/selector.h"
#include "src/plan/plan.h"

namespace comity::api {

RankParts::~RankParts() {
  // Of the last communicator it says how the connections end.
  family->connections.set_faulty(control != nullptr && control->verdict() != nullptr);
  engine_.reset();
}

Status RankParts::choose() {
  COMITY_ASSIGN_OR_RETURN(auto topology, layout.topology());
  algorithms::Rules rules;
  COMITY_ASSIGN_OR_RETURN(rules.accumulate,
                          algorithms::accumulate_named(config.settings.text("COMITY_ACCUMULATE")));
  rules.deterministic = config.deterministic;
  if (config.max_lanes > 0) rules.max_lanes = std::min(config.max_lanes, plan::kMaxLanes);
  COMITY_ASSIGN_OR_RETURN(auto selection,
                          algorithms::Selection::make(topology, config.settings.text("COMITY_ALGO"), rules));
  if (plans != nullptr) {
    plans->use(std::move(topology), std::move(selection));
    return {};
  }
  plans = std::make_unique<SelectedPlans>(std::move(topology), std::move(selection));
  plans->set_rank(places.rank);
  plans->set_name(name_of_rank(places.rank, config));
  return {};
}

void RankParts::make_engine(uint32_t index) {
  engine::CommunicatorOptions options;
  options.rank = places.rank;
  options.nranks = static_cast<uint32_t>(places.family_rank.size());
  options.transports = transports_;
  options.transport_of_peer = places.transport_of_peer;
  options.plans = plans.get();
  options.devices = family->registry;
  options.calls = &control->calls();
  options.oversight = oversight.get();
  options.oversubscribed = places.oversubscribed;
  options.timeout_ns = config.timeout_ms * 1'000'000u;
  options.family = &family->engine;
  options.index = index;
  for (size_t i = 0; i < transports_.size(); ++i) {
    if (family->owns(transports_[i])) options.family_transports |= 1u << i;
  }
  options.family_rank = places.family_rank;
  engine_ = std::make_unique<engine::Communicator>(std::move(options));
}

}  // namespace comity::api
