// Prices of plans small enough to be worked out by hand.

#include <gtest/gtest.h>

#include "src/plan/cost.h"
#include "tests/support/hand_plans.h"

namespace comity::test {
namespace {

using plan::Cost;
using plan::CostInput;
using plan::Plan;

// A byte takes a nanosecond on every path and in every reduction; copies are free.
CostInput simple(uint64_t block_bytes, uint64_t latency_ns = 100) {
  CostInput input;
  input.path = [latency_ns](uint32_t, uint32_t) { return plan::PathFigures{latency_ns, 1'000'000'000}; };
  input.reduce_bytes_per_s = 1'000'000'000;
  input.block_bytes = block_bytes;
  return input;
}

Cost priced(const Plan& plan, const CostInput& input) {
  const Result<Cost> cost = plan::price(plan, input);
  EXPECT_TRUE(cost.ok()) << cost.status().message();
  return cost.ok() ? *cost : Cost{};
}

TEST(Cost, OfAnExchangeIsLatencyTransferAndReduction) {
  const Cost cost = priced(one_shot_pair(), simple(1000));
  EXPECT_EQ(cost.time_ns, 100u + 1000 + 1000);
  EXPECT_EQ(cost.sent_bytes, (std::vector<uint64_t>{1000, 1000}));
  EXPECT_EQ(cost.messages, 2u);
  EXPECT_EQ(cost.tiles, 1u);
}

TEST(Cost, OfAChainIsTheSumOfItsLinks) {
  EXPECT_EQ(priced(chain_broadcast(), simple(1000)).time_ns, 2u * 1100);
}

TEST(Cost, OfARingIsTwiceItsHopsAndOneFoldEach) {
  // Thirds of 64 * 3 bytes: four hops of 164 ns, folds of 64 ns in two of them.
  EXPECT_EQ(priced(ring_of_three(), simple(192)).time_ns, 4u * 164 + 2 * 64);
}

TEST(Cost, OfTwoMessagesIntoOneRankIsSerial) {
  EXPECT_EQ(priced(reduce_to_root(), simple(1000)).time_ns, 100u + 2000 + 2000);
}

TEST(Cost, OfMessagesToAndFromEveryoneAtOnceIsThatOfOneRanks) {
  // p = 3, each to its next and then to the one after: every rank always sends one and receives one.
  std::vector<std::vector<plan::Step>> steps;
  for (uint32_t rank = 0; rank < 3; ++rank) {
    const uint32_t next = (rank + 1) % 3, other = (rank + 2) % 3;
    steps.push_back({send(next, in()), send(other, in()), recv(other, out(other)), recv(next, out(next)),
                     copy(in(), out(rank), {in_place(0), in_place(1)})});
  }
  EXPECT_EQ(priced(one_lane(Collective::kAllGather, steps), simple(1000)).time_ns, 100u + 2000);
}

TEST(Cost, OfABarrierIsItsRounds) {
  EXPECT_EQ(priced(dissemination_barrier(), simple(0)).time_ns, 2u * 108);
}

TEST(Cost, OfNothingIsNothing) {
  const Cost cost = priced(one_shot_pair(), simple(0));
  EXPECT_EQ(cost.time_ns, 0u);
  EXPECT_EQ(cost.tiles, 0u);
}

TEST(Cost, OfALongPipelineApproachesTheSlowestLink) {
  Plan plan = chain_broadcast();
  plan.shape.tile_bytes = 1024;
  for (const uint64_t tiles : {uint64_t{8}, uint64_t{100}, uint64_t{1} << 30}) {
    const Cost cost = priced(plan, simple(tiles * 1024, 10));
    // Window 2 on the chain: the fill, then a tile's transfer each.
    EXPECT_EQ(cost.time_ns, 2 * (1024 + 10) + (tiles - 1) * 1024) << tiles;
    EXPECT_EQ(cost.sent_bytes[0], tiles * 1024);
    EXPECT_EQ(cost.tiles, tiles);
    EXPECT_LE(cost.tiles_simulated, 20u);
  }
}

TEST(Cost, OfAnAbsurdCallIsFinite) {
  CostInput input = simple(UINT64_MAX, UINT64_MAX / 8);
  input.path = [](uint32_t, uint32_t) { return plan::PathFigures{uint64_t{1} << 40, 1}; };
  const Cost cost = priced(chain_broadcast(), input);
  EXPECT_GT(cost.time_ns, uint64_t{1} << 40);
  EXPECT_LE(cost.time_ns, UINT64_MAX / 2);
}

TEST(Cost, DropsTheCopyThatACallInPlaceDoesNotNeed) {
  CostInput input = simple(1000);
  input.copy_bytes_per_s = 100'000'000;
  EXPECT_EQ(priced(all_gather_pair(), input).time_ns, 10000u);
  input.in_place = true;
  EXPECT_EQ(priced(all_gather_pair(), input).time_ns, 1100u);
}

TEST(Cost, OfGroupsIsThatOfTheirDefinitions) {
  EXPECT_EQ(priced(groups_of_four(), simple(1000)).time_ns, 2u * 2100 + 1100);
}

TEST(Cost, RefusesPlansThatDoNotRun) {
  Plan plan = one_shot_pair();
  plan.parts[0].lanes[0].steps[0].peer = 5;
  EXPECT_FALSE(plan::price(plan, simple(64)).ok());
  plan = one_shot_pair();
  plan.parts[0].lanes[0].steps.pop_back();
  plan.parts[0].lanes[0].steps.pop_back();
  EXPECT_FALSE(plan::price(plan, simple(64)).ok()) << "a send is not received";
  plan = one_shot_pair();
  for (plan::Part& part : plan.parts) {
    part.lanes.push_back({{copy(in(), out(), {on(2)})}});
    part.lanes[0].steps[0].after = {on(0, 1)};
  }
  const Result<Cost> stalled = plan::price(plan, simple(64));
  ASSERT_FALSE(stalled.ok());
  EXPECT_NE(stalled.status().message().find("stalls"), std::string_view::npos);
}

}  // namespace
}  // namespace comity::test
