// The verifier against brute force: it accepts what no order of events can break, and refuses everything
// else.

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "src/plan/print.h"
#include "src/plan/verify.h"
#include "tests/support/brute_force.h"
#include "tests/support/effort.h"
#include "tests/support/hand_plans.h"
#include "tests/support/mutate.h"

namespace comity::test {
namespace {

struct Tally {
  int accepted = 0;
  int refused = 0;
  int given_up = 0;
};

void compare(const plan::Plan& plan, const std::string& what, const BruteForceOptions& options,
             Tally& tally) {
  const plan::VerifyResult verdict = plan::verify(plan);
  const BruteForceResult truth = brute_force(plan, options);
  if (truth.gave_up) {
    ++tally.given_up;
    return;
  }
  ++(verdict.ok ? tally.accepted : tally.refused);
  ASSERT_EQ(verdict.ok, !truth.fault) << what << "\nverifier: " << verdict.violation.rule << ", "
                                      << verdict.violation.message << "\nbrute force: " << truth.what << "\n"
                                      << plan::to_text(plan);
  if (verdict.ok) return;
  ASSERT_FALSE(verdict.violation.rule.empty()) << what;
  ASSERT_LT(verdict.violation.rank, plan.shape.nranks) << what;
  ASSERT_NE(verdict.violation.message.find(fmt::format("rank {}", verdict.violation.rank)), std::string::npos)
      << what << ": " << verdict.violation.message;
}

class HandPlan : public ::testing::TestWithParam<size_t> {
 protected:
  plan::Plan plan() const { return hand_plans()[GetParam()]; }
};

TEST_P(HandPlan, IsProved) {
  const plan::VerifyResult verdict = plan::verify(plan());
  EXPECT_TRUE(verdict.ok) << verdict.violation.rule << ": " << verdict.violation.message;
}

TEST_P(HandPlan, WithstandsAllOrders) {
  for (const uint32_t tiles : {1u, 2u}) {
    const BruteForceResult truth = brute_force(plan(), {.tiles = tiles});
    EXPECT_FALSE(truth.fault) << truth.what;
    EXPECT_FALSE(truth.gave_up) << truth.states << " states";
    EXPECT_GT(truth.states, 0u);
  }
}

TEST_P(HandPlan, MutantsAreRefusedExactlyWhenAnOrderBreaksThem) {
  // Groups are damaged in their expanded form: brute force knows nothing of providers.
  plan::Plan whole = plan();
  for (plan::Part& part : whole.parts) part = plan::expand(part);
  Tally tally;
  for (uint64_t seed = 0; seed < effort(120); ++seed) {
    const Mutant mutant = mutate(whole, seed);
    compare(mutant.plan, fmt::format("seed {}: {}", seed, mutant.what), {}, tally);
    if (HasFatalFailure()) return;
  }
  fmt::print("{} accepted, {} refused, {} given up\n", tally.accepted, tally.refused, tally.given_up);
  EXPECT_GT(tally.refused, 0);
  if (!kInstrumented) {
    EXPECT_GT(tally.accepted, 0);
  }
  EXPECT_EQ(tally.given_up, 0);
}

// A provider may leave out what a definition does besides, so a plan with groups has more ways to be wrong
// than its expanded form: every mutant that an order breaks is refused, and more.
TEST(Groups, MutantsThatAnOrderBreaksAreRefused) {
  Tally tally;
  for (uint64_t seed = 0; seed < effort(300); ++seed) {
    plan::Plan plan = groups_of_four();
    plan::Group& group = plan.parts[seed % 4].groups[seed / 4 % plan.parts[seed % 4].groups.size()];
    plan::Plan inside = plan;  // one lane, one group's definition, to be damaged
    inside.parts = {plan.parts[seed % 4]};
    inside.parts[0].lanes[0].steps = group.definition;
    Mutant mutant = seed % 3 == 0 ? mutate(plan, seed) : mutate(inside, seed);
    if (seed % 3 != 0) {
      group.definition = mutant.plan.parts[0].lanes[0].steps;
      mutant.plan = plan;
    }
    const plan::VerifyResult verdict = plan::verify(mutant.plan);
    if (verdict.ok) {
      const BruteForceResult truth = brute_force(mutant.plan);
      ASSERT_FALSE(truth.fault) << mutant.what << "\n" << truth.what << "\n" << plan::to_text(mutant.plan);
    }
    ++(verdict.ok ? tally.accepted : tally.refused);
  }
  fmt::print("{} accepted, {} refused\n", tally.accepted, tally.refused);
  EXPECT_GT(tally.accepted, 0);
  EXPECT_GT(tally.refused, 0);
}

INSTANTIATE_TEST_SUITE_P(All, HandPlan, ::testing::Range<size_t>(0, hand_plans().size()));

TEST(BruteForce, WatchingOneRankFindsWhatAllOrdersOfAllRanksFind) {
  Tally faulty;
  for (const plan::Plan& plan :
       {one_shot_pair(), all_gather_pair(), reduce_scatter_pair(), chain_broadcast()}) {
    for (uint64_t seed = 0; seed < effort(60); ++seed) {
      const Mutant mutant = mutate(plan, seed);
      const BruteForceResult one = brute_force(mutant.plan);
      const BruteForceResult all = brute_force(mutant.plan, {.all_ranks_at_once = true});
      if (all.gave_up) continue;
      ASSERT_EQ(one.fault, all.fault) << mutant.what << "\n" << one.what << "\n" << all.what;
      ++(all.fault ? faulty.refused : faulty.accepted);
    }
  }
  EXPECT_GT(faulty.accepted, 0);
  EXPECT_GT(faulty.refused, 0);
}

TEST(BruteForce, AgreesOverSeveralTiles) {
  Tally tally;
  for (plan::Plan plan : {one_shot_pair(), chain_broadcast(), reduce_scatter_pair()}) {
    plan.shape.window = 1;
    for (uint64_t seed = 1000; seed < 1000 + effort(60); ++seed) {
      const Mutant mutant = mutate(plan, seed);
      compare(mutant.plan, fmt::format("seed {}: {}", seed, mutant.what), {.tiles = 3}, tally);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(tally.accepted, 0);
  EXPECT_GT(tally.refused, 0);
}

}  // namespace
}  // namespace comity::test
