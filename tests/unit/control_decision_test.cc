// The decision without a tree: leaders, followers and what passes between them, lost and reordered at will.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "src/control/decision.h"

namespace comity::control {
namespace {

using Next = Decision::Next;

Fault fault(const std::string& text) {
  Fault fault = fault_of(Code::kRemoteError, text);
  fault.communicator = 1;
  return fault;
}

// Tells what the leader says to everyone in `to`, and what they answer to the leader.
void converse(Decision& leader, std::vector<Decision*> to) {
  for (Decision* other : to) {
    other->follow(leader.current());
    leader.merge(other->state());
  }
}

TEST(ControlDecision, TheFirstRootDecidesItsFirstWishOnceAllHaveAcceptedIt) {
  Decision root(0, 3), one(1, 3), two(2, 3);
  EXPECT_TRUE(root.wish(fault("first")));
  EXPECT_FALSE(root.wish(fault("second"))) << "the first one ends what this would";
  ASSERT_EQ(root.advance(true), Next::kTell);
  converse(root, {&one});
  EXPECT_EQ(root.advance(true), Next::kWait);
  EXPECT_EQ(root.unheard().text(), "2");
  converse(root, {&two});
  ASSERT_EQ(root.advance(true), Next::kDecided);
  EXPECT_EQ(root.current().proposal->text, "first");
}

TEST(ControlDecision, PatienceEndsWithMoreThanHalfAndNotWithLess) {
  Decision root(0, 5), one(1, 5), two(2, 5);
  root.wish(fault("it"));
  ASSERT_EQ(root.advance(true), Next::kTell);
  converse(root, {&one});
  EXPECT_EQ(root.advance(false), Next::kWait);
  converse(root, {&two});
  EXPECT_EQ(root.advance(true), Next::kWait);
  EXPECT_EQ(root.advance(false), Next::kDecided);
}

TEST(ControlDecision, OfTwoHalvesTheOneWithTheLowestRankDecides) {
  Decision zero(0, 4), one(1, 4), two(2, 4), three(3, 4);
  zero.wish(fault("of the lower"));
  two.wish(fault("of the higher"));
  two.lead();
  ASSERT_EQ(zero.advance(true), Next::kTell);
  converse(zero, {&one});
  converse(two, {&three});
  EXPECT_EQ(zero.advance(false), Next::kDecided);
  EXPECT_EQ(two.advance(false), Next::kWait);
}

TEST(ControlDecision, TheGoneNeedNotBeAsked) {
  Decision two(2, 4), three(3, 4);
  two.set_gone(0);
  two.wish(fault("it"));
  two.lead();
  converse(two, {&three});
  ASSERT_EQ(two.advance(true), Next::kTell);
  converse(two, {&three});
  EXPECT_EQ(two.advance(true), Next::kWait);  // 1 may still answer
  two.set_gone(1);
  EXPECT_EQ(two.advance(true), Next::kDecided);
}

TEST(ControlDecision, ANewRootTakesUpWhatTheOldOneHadProposed) {
  Decision zero(0, 3), one(1, 3), two(2, 3);
  zero.wish(fault("of the old root"));
  ASSERT_EQ(zero.advance(true), Next::kTell);
  two.follow(zero.current());  // then the old root dies
  one.set_gone(0);
  one.wish(fault("rank 0 died"));
  one.lead();
  converse(one, {&two});
  ASSERT_EQ(one.advance(true), Next::kTell);
  EXPECT_EQ(one.current().proposal->text, "of the old root");
}

TEST(ControlDecision, AnOldRootThatHearsOfAHigherBallotLeadsAboveItAndKeepsItsWord) {
  Decision zero(0, 3), one(1, 3), two(2, 3);
  one.wish(fault("it"));
  one.lead();
  converse(one, {&two});
  ASSERT_EQ(one.advance(true), Next::kTell);
  two.follow(one.current());
  zero.wish(fault("another"));
  zero.merge(two.state());
  ASSERT_EQ(zero.advance(true), Next::kTell);
  EXPECT_GT(zero.ballot(), one.ballot());
  converse(zero, {&two});
  ASSERT_EQ(zero.advance(true), Next::kTell);
  EXPECT_EQ(zero.current().proposal->text, "it");
}

Fault end_of(uint32_t rank) {
  Fault fault = fault_of(Code::kRemoteError, "died");
  fault.rank = rank;
  return fault;
}

TEST(ControlDecision, WhatOneVerdictDoesNotEndIsDecidedNext) {
  Decision root(0, 2), one(1, 2);
  const auto decide = [&] {
    EXPECT_EQ(root.advance(true), Next::kTell);
    converse(root, {&one});
    EXPECT_EQ(root.advance(true), Next::kDecided);
    const Fault verdict = *root.current().proposal;
    const uint64_t slot = root.log().size();
    EXPECT_TRUE(root.learn(slot, verdict));
    EXPECT_TRUE(one.learn(slot, verdict));
    EXPECT_FALSE(one.learn(slot, verdict)) << "once is enough";
    return verdict;
  };
  EXPECT_TRUE(root.wish(fault("it")));
  EXPECT_TRUE(root.wish(end_of(5)));
  EXPECT_FALSE(root.wish(end_of(5)));
  EXPECT_TRUE(root.wish(end_of(6)));
  EXPECT_EQ(decide().text, "it");
  EXPECT_EQ(decide().rank, 5u);
  EXPECT_EQ(decide().rank, 6u);
  EXPECT_FALSE(root.has_matter());
  EXPECT_FALSE(root.wish(end_of(6))) << "that is decided";
}

TEST(ControlDecision, WhoIsBehindLearnsInOrderAndItsWordOnTheOldCountsForNothing) {
  Decision ahead(0, 3), behind(1, 3);
  behind.follow(Lead{0, 0, fault("first")});
  const TreeState old = behind.state();
  ASSERT_TRUE(old.accepted);
  ahead.learn(0, fault("first"));
  ahead.wish(end_of(2));
  ASSERT_EQ(ahead.advance(true), Next::kTell);
  ahead.merge(old);
  EXPECT_FALSE(ahead.state().agreeing.contains(1)) << "that was about the first";
  EXPECT_FALSE(behind.learn(1, end_of(2))) << "the first is missing";
  behind.follow(ahead.current());
  EXPECT_FALSE(behind.state().accepted->ballot != 0 || behind.state().slot != 0);
  EXPECT_TRUE(behind.learn(0, fault("first")));
  EXPECT_FALSE(behind.state().accepted);
  behind.follow(ahead.current());
  ahead.merge(behind.state());
  EXPECT_TRUE(ahead.state().agreeing.contains(1));
}

// Whoever decides learns; others learn from whoever knows, in any order.
class DecisionsAtRandom {
 public:
  explicit DecisionsAtRandom(uint32_t seed) : random_(seed), nranks_(2 + pick(6)) {
    for (uint32_t rank = 0; rank < nranks_; ++rank) {
      ranks_.emplace_back(rank, nranks_);
      for (uint32_t i = 0; i < kWishes; ++i) {
        Fault wish = fault("of rank " + std::to_string(rank));
        wish.communicator = 1 + (rank + i) % kWishes;
        ranks_.back().wish(wish);
      }
    }
  }

  void step() {
    const uint32_t some = pick(nranks_);
    switch (pick(10)) {
      case 0:
        if (pick(6) == 0) lead(some);
        break;
      case 1:
      case 2:
        if (leaders_.contains(some)) advance(some);
        break;
      case 3:
        if (leaders_.contains(some)) leads_.emplace_back(pick(nranks_), ranks_[some].current());
        break;
      case 4:
        states_.emplace_back(pick(nranks_), ranks_[some].state());
        break;
      case 5:
        learn(pick(nranks_), some);
        break;
      default:
        pick(2) == 0 ? deliver_lead() : deliver_state();
    }
  }
  // Of each slot, the sentences that were decided for it.
  const std::map<uint64_t, std::set<std::string>>& decided() const { return decided_; }

 private:
  static constexpr uint32_t kWishes = 3;
  uint32_t pick(uint32_t below) { return static_cast<uint32_t>(random_() % below); }

  void lead(uint32_t rank) {
    ranks_[rank].lead();
    leaders_.insert(rank);
  }
  void advance(uint32_t rank) {
    Decision& leader = ranks_[rank];
    if (leader.advance(pick(2) == 0) != Next::kDecided) return;
    const Fault verdict = *leader.current().proposal;
    const uint64_t slot = leader.log().size();
    decided_[slot].insert(std::to_string(verdict.communicator) + " " + verdict.text);
    leader.learn(slot, verdict);
  }
  void learn(uint32_t to, uint32_t from) {
    for (uint64_t slot = 0; slot < ranks_[from].log().size(); ++slot)
      ranks_[to].learn(slot, ranks_[from].log()[slot]);
  }
  void deliver_lead() {
    if (leads_.empty()) return;
    const uint32_t at = pick(static_cast<uint32_t>(leads_.size()));
    const auto [to, lead] = leads_[at];
    if (ranks_[to].ballot() < lead.ballot) leaders_.erase(to);
    ranks_[to].follow(lead);
    if (pick(3) != 0) leads_.erase(leads_.begin() + at);
  }
  void deliver_state() {
    if (states_.empty()) return;
    const uint32_t at = pick(static_cast<uint32_t>(states_.size()));
    ranks_[states_[at].first].merge(states_[at].second);
    if (pick(3) != 0) states_.erase(states_.begin() + at);
  }

  std::mt19937 random_;
  const uint32_t nranks_;
  std::vector<Decision> ranks_;
  std::vector<std::pair<uint32_t, Lead>> leads_;  // under way: to whom, what
  std::vector<std::pair<uint32_t, TreeState>> states_;
  std::set<uint32_t> leaders_ = {0};
  std::map<uint64_t, std::set<std::string>> decided_;
};

// Any rank may take the lead at any moment, whom it reaches is chance, and so is what is lost or comes late.
TEST(ControlDecision, NeverTwoVerdictsInOnePlaceWhateverIsLostOrLate) {
  size_t decided_places = 0;
  size_t runs_with_several = 0;
  for (uint32_t seed = 1; seed <= 3000; ++seed) {
    DecisionsAtRandom run(seed);
    for (int step = 0; step < 600; ++step) run.step();
    for (const auto& [slot, sentences] : run.decided()) {
      ASSERT_EQ(sentences.size(), 1u) << "seed " << seed << ", slot " << slot << ": " << *sentences.begin()
                                      << " and " << *sentences.rbegin();
    }
    decided_places += run.decided().size();
    runs_with_several += run.decided().size() > 1 ? 1 : 0;
  }
  EXPECT_GT(decided_places, 300u);  // the schedule is not merely too poor to decide
  EXPECT_GT(runs_with_several, 50u);
}

}  // namespace
}  // namespace comity::control
