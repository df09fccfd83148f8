#include "src/control/decision.h"

#include <algorithm>

namespace comity::control {
namespace {

// The round, then the rank of the leader: no two leaders share a ballot.
Ballot ballot_of(uint64_t round, uint32_t rank) {
  return round << 32 | rank;
}

// Whether one of two ends what the other does: an error ends one communicator, an end of a process all that
// the rank was in.
bool alike(const Fault& a, const Fault& b) {
  return a.communicator == b.communicator && (a.communicator != 0 || a.rank == b.rank);
}

bool has_like(const std::vector<Fault>& faults, const Fault& fault) {
  return std::any_of(faults.begin(), faults.end(), [&](const Fault& other) { return alike(other, fault); });
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
  if (!state_.gone.all.contains(rank_)) state_.promised.add(rank_);
  proposal_.reset();
}

// A rank that has left passes on what others say, and has no vote.
void Decision::accept() {
  if (state_.gone.all.contains(rank_)) return;
  state_.agreeing.add(rank_);
  if (!state_.accepted || state_.accepted->ballot <= state_.ballot)
    state_.accepted = Accepted{state_.ballot, *proposal_};
}

bool Decision::follow(const Lead& lead) {
  highest_seen_ = std::max(highest_seen_, lead.ballot);
  if (lead.ballot < state_.ballot) return false;
  bool news = lead.ballot > state_.ballot;
  if (news) raise(lead.ballot);
  if (lead.proposal && !proposal_ && lead.slot == state_.slot) {
    proposal_ = lead.proposal;
    news = true;
    accept();
  }
  return news;
}

bool Decision::merge(const TreeState& child) {
  highest_seen_ = std::max(highest_seen_, child.ballot);
  bool changed = add_gone(child.gone);
  const bool same_slot = child.slot == state_.slot;
  if (same_slot && child.accepted && (!state_.accepted || child.accepted->ballot > state_.accepted->ballot)) {
    // Known of, as if accepted here: the highest one wins in any case.
    state_.accepted = child.accepted;
    changed = true;
  }
  if (child.ballot > state_.ballot) return true;     // for the root, who must lead with a higher one
  if (child.ballot < state_.ballot) return changed;  // it will answer again once it has heard of this ballot
  changed |= state_.promised.add(child.promised);
  if (same_slot) changed |= state_.agreeing.add(child.agreeing);
  return changed;
}

bool Decision::learn(uint64_t slot, const Fault& verdict) {
  if (slot != state_.slot) return false;
  log_.push_back(verdict);
  ++state_.slot;
  state_.agreeing.clear();
  state_.accepted.reset();
  proposal_.reset();
  std::erase_if(wishes_, [&](const Fault& wish) { return alike(wish, verdict); });
  return true;
}

bool Decision::set_gone(uint32_t gone) {
  return state_.gone.all.add(gone);
}

bool Decision::set_left(uint32_t left) {
  state_.gone.all.add(left);
  return state_.gone.left.add(left);
}

bool Decision::add_gone(const Gone& gone) {
  const bool news = state_.gone.all.add(gone.all);
  return state_.gone.left.add(gone.left) || news;
}

RankSet Decision::unexplained() const {
  RankSet unexplained = state_.gone.all.without(state_.gone.left);
  for (const Fault& verdict : log_) {
    if (verdict.communicator == 0) unexplained.remove(verdict.rank);
  }
  return unexplained;
}

bool Decision::wish(const Fault& fault) {
  if (has_like(wishes_, fault) || has_like(log_, fault)) return false;
  wishes_.push_back(fault);
  return true;
}

void Decision::wish_first(const Fault& fault) {
  std::erase_if(wishes_, [&](const Fault& wish) { return alike(wish, fault); });
  wishes_.insert(wishes_.begin(), fault);
}

void Decision::lead() {
  raise(ballot_of((highest_seen_ >> 32) + 1, rank_));
}

bool Decision::has_all(const RankSet& answered) const {
  RankSet accounted = answered;
  accounted.add(state_.gone.all);
  return accounted.next_absent(0) >= nranks_;
}

bool Decision::has_quorum(const RankSet& answered) const {
  const uint64_t members = nranks_ - std::min<uint64_t>(state_.gone.all.size(), nranks_);
  const RankSet counted = answered.without(state_.gone.all);
  const uint64_t votes = counted.size();
  const uint32_t lowest = state_.gone.all.next_absent(0);
  return 2 * votes > members || (2 * votes == members && (members == 0 || counted.contains(lowest)));
}

RankSet Decision::unheard() const {
  const RankSet everyone(0, nranks_);
  const bool first = state_.ballot == 0;
  return everyone.without(proposal_ || first ? state_.agreeing : state_.promised).without(state_.gone.all);
}

Decision::Next Decision::advance(bool patient) {
  if (highest_seen_ > state_.ballot) {
    lead();
    return Next::kTell;
  }
  if (!proposal_) {
    if (!has_matter()) return Next::kWait;
    if (state_.ballot != 0 && !has_quorum(state_.promised)) return Next::kWait;
    proposal_ = state_.accepted ? state_.accepted->fault : wishes_.front();
    accept();
    return Next::kTell;
  }
  if (has_all(state_.agreeing)) return Next::kDecided;
  return !patient && has_quorum(state_.agreeing) ? Next::kDecided : Next::kWait;
}

}  // namespace comity::control
