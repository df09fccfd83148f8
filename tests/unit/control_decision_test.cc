// The decision without a tree: leaders, followers and what passes between them, lost and reordered at will.
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>
#include <vector>

#include "src/control/decision.h"

namespace comity::control {
namespace {

using Next = Decision::Next;

Fault fault(const std::string& text) {
  return Fault{Code::kRemoteError, text};
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
  root.wish(fault("first"));
  root.wish(fault("second"));
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

// Any rank may take the lead at any moment, whom it reaches is chance, and so is what is lost or comes late.
TEST(ControlDecision, NeverTwoVerdictsWhateverIsLostOrLate) {
  int decided_runs = 0;
  for (uint32_t seed = 1; seed <= 3000; ++seed) {
    std::mt19937 random(seed);
    const uint32_t nranks = 2 + static_cast<uint32_t>(random() % 6);
    std::vector<Decision> ranks;
    for (uint32_t rank = 0; rank < nranks; ++rank) {
      ranks.emplace_back(rank, nranks);
      ranks.back().wish(fault("of rank " + std::to_string(rank)));
    }
    std::vector<std::pair<uint32_t, Lead>> leads;  // under way: to whom, what
    std::vector<std::pair<uint32_t, TreeState>> states;
    std::set<uint32_t> leaders = {0};
    std::set<std::string> verdicts;
    for (int step = 0; step < 400; ++step) {
      const auto some = static_cast<uint32_t>(random() % nranks);
      switch (random() % 8) {
        case 0:
          if (random() % 6 != 0) break;
          ranks[some].lead();
          leaders.insert(some);
          break;
        case 1:
        case 2:
          if (!leaders.contains(some)) break;
          if (ranks[some].advance(random() % 2 == 0) == Next::kDecided)
            verdicts.insert(ranks[some].current().proposal->text);
          break;
        case 3:
          if (leaders.contains(some)) leads.emplace_back(random() % nranks, ranks[some].current());
          break;
        case 4:
          states.emplace_back(random() % nranks, ranks[some].state());
          break;
        default:
          if (random() % 2 == 0 && !leads.empty()) {
            const size_t at = random() % leads.size();
            const auto [to, lead] = leads[at];
            if (ranks[to].ballot() < lead.ballot) leaders.erase(to);
            ranks[to].follow(lead);
            if (random() % 3 != 0) leads.erase(leads.begin() + static_cast<ptrdiff_t>(at));
          } else if (!states.empty()) {
            const size_t at = random() % states.size();
            ranks[states[at].first].merge(states[at].second);
            if (random() % 3 != 0) states.erase(states.begin() + static_cast<ptrdiff_t>(at));
          }
      }
    }
    ASSERT_LE(verdicts.size(), 1u) << "seed " << seed << ": " << *verdicts.begin() << " and "
                                   << *verdicts.rbegin();
    decided_runs += verdicts.empty() ? 0 : 1;
  }
  EXPECT_GT(decided_runs, 300);  // the schedule is not merely too poor to decide
}

}  // namespace
}  // namespace comity::control
