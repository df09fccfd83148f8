#include "src/control/decision.h"

#include <algorithm>

namespace comity::control {
namespace {

// The round, then the rank of the leader: no two leaders share a ballot.
Ballot ballot_of(uint64_t round, uint32_t rank) {
  return round << 32 | rank;
}

}  // namespace

Decision::Decision(uint32_t rank, uint32_t nranks) : rank_(rank), nranks_(nranks) {
  state_.promised.add(rank);
}

void Decision::raise(Ballot ballot) {
  state_.ballot = ballot;
  highest_seen_ = std::max(highest_seen_, ballot);
  state_.promised.clear();
  state_.agreeing.clear();
  if (!state_.gone.contains(rank_)) state_.promised.add(rank_);
  proposal_.reset();
}

// A rank that has left passes on what others say, and has no vote.
void Decision::accept() {
  if (state_.gone.contains(rank_)) return;
  state_.agreeing.add(rank_);
  if (!state_.accepted || state_.accepted->ballot <= state_.ballot)
    state_.accepted = Accepted{state_.ballot, *proposal_};
}

bool Decision::follow(const Lead& lead) {
  highest_seen_ = std::max(highest_seen_, lead.ballot);
  if (lead.ballot < state_.ballot) return false;
  bool news = lead.ballot > state_.ballot;
  if (news) raise(lead.ballot);
  if (lead.proposal && !proposal_) {
    proposal_ = lead.proposal;
    news = true;
    accept();
  }
  return news;
}

bool Decision::merge(const TreeState& child) {
  highest_seen_ = std::max(highest_seen_, child.ballot);
  bool changed = state_.gone.add(child.gone);
  if (child.accepted && (!state_.accepted || child.accepted->ballot > state_.accepted->ballot)) {
    // Known of, as if accepted here: the highest one wins in any case.
    state_.accepted = child.accepted;
    changed = true;
  }
  if (child.ballot > state_.ballot) return true;     // for the root, who must lead with a higher one
  if (child.ballot < state_.ballot) return changed;  // it will answer again once it has heard of this ballot
  changed |= state_.promised.add(child.promised);
  changed |= state_.agreeing.add(child.agreeing);
  return changed;
}

bool Decision::set_gone(uint32_t gone) {
  return state_.gone.add(gone);
}

void Decision::wish(const Fault& fault) {
  if (!wish_) wish_ = fault;
}

void Decision::lead() {
  raise(ballot_of((highest_seen_ >> 32) + 1, rank_));
}

bool Decision::has_all(const RankSet& answered) const {
  RankSet accounted = answered;
  accounted.add(state_.gone);
  return accounted.next_absent(0) >= nranks_;
}

bool Decision::has_quorum(const RankSet& answered) const {
  const uint64_t members = nranks_ - std::min<uint64_t>(state_.gone.size(), nranks_);
  const RankSet counted = answered.without(state_.gone);
  const uint64_t votes = counted.size();
  const uint32_t lowest = state_.gone.next_absent(0);
  return 2 * votes > members || (2 * votes == members && (members == 0 || counted.contains(lowest)));
}

RankSet Decision::unheard() const {
  const RankSet everyone(0, nranks_);
  const bool first = state_.ballot == 0;
  return everyone.without(proposal_ || first ? state_.agreeing : state_.promised).without(state_.gone);
}

Decision::Next Decision::advance(bool patient) {
  if (highest_seen_ > state_.ballot) {
    lead();
    return Next::kTell;
  }
  if (!proposal_) {
    if (!has_matter()) return Next::kWait;
    if (state_.ballot != 0 && !has_quorum(state_.promised)) return Next::kWait;
    proposal_ = state_.accepted ? state_.accepted->fault : *wish_;
    accept();
    return Next::kTell;
  }
  if (has_all(state_.agreeing)) return Next::kDecided;
  return !patient && has_quorum(state_.agreeing) ? Next::kDecided : Next::kWait;
}

}  // namespace comity::control
