// What the verifier proves the engine finishes; what the engine cannot finish the verifier refuses, and says
// why.

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "src/plan/print.h"
#include "src/plan/verify.h"
#include "tests/support/effort.h"
#include "tests/support/hand_plans.h"
#include "tests/support/mutate.h"
#include "tests/support/plan_world.h"

namespace comity::test {
namespace {

using plan::Group;
using plan::Plan;
using plan::Step;

constexpr uint64_t kTileBytes = 256;

// Every way to place ranks that makes some groups provided and others not.
std::vector<std::vector<uint32_t>> placements(uint32_t nranks) {
  std::vector<std::vector<uint32_t>> all = {std::vector<uint32_t>(nranks, 0)};
  std::vector<uint32_t> alone, halves, odd, odd_together;
  for (uint32_t r = 0; r < nranks; ++r) {
    alone.push_back(r);
    halves.push_back(r < (nranks + 1) / 2 ? 0 : 1);
    odd.push_back(r % 2);
    odd_together.push_back(r % 2 == 1 ? nranks : r);
  }
  for (auto& each : {alone, halves, odd, odd_together}) all.push_back(each);
  return all;
}

// Success if the engine finishes the plan, with right results, wherever its ranks are and however many tiles.
Status carried_out(Plan plan) {
  plan.shape.tile_bytes = kTileBytes;
  const uint64_t tile = kTileBytes / sizeof(int32_t);
  for (const auto& hosts : placements(plan.shape.nranks)) {
    for (const bool in_place : {false, true}) {
      if (plan.shape.placement ==
          (in_place ? plan::Placement::kOutOfPlaceOnly : plan::Placement::kInPlaceOnly))
        continue;
      PlanWorld world(plan, hosts);
      for (const uint64_t count : {uint64_t{1}, tile * (2 * plan.shape.window + 2) + 3}) {
        const Status status = world.run(count, in_place);
        if (!status.ok()) {
          return status.in(fmt::format("hosts {}{}{}, {} elements, {} place", hosts[0],
                                       hosts[1 % hosts.size()], hosts.back(), count,
                                       in_place ? "in" : "out of"));
        }
      }
    }
  }
  return {};
}

void expect_proved_and_finished(const Plan& plan) {
  const plan::VerifyResult verdict = plan::verify(plan);
  ASSERT_TRUE(verdict.ok) << verdict.violation.rule << ": " << verdict.violation.message;
  const Status done = carried_out(plan);
  EXPECT_TRUE(done.ok()) << done.message() << "\n" << plan::to_text(plan);
}

// The sentence names rank, lane and step, and says `why`.
void expect_refused(const Plan& plan, const std::string& rule, const std::string& why) {
  const plan::VerifyResult verdict = plan::verify(plan);
  ASSERT_FALSE(verdict.ok) << plan::to_text(plan);
  const plan::Violation& found = verdict.violation;
  EXPECT_EQ(found.rule, rule) << found.message;
  EXPECT_NE(found.message.find(why), std::string::npos) << found.message;
  const std::string place = fmt::format("rank {}, lane {}, step {}", found.rank, found.lane, found.step);
  EXPECT_NE(found.message.find(place), std::string::npos) << found.message;
}

// An all-gather of a and b as a group that leaves their own blocks in scratch `own`, and its definition.
Group gather_pair(uint32_t rank, uint32_t a, uint32_t b, uint32_t own) {
  const uint32_t other = rank == a ? b : a;
  return {Collective::kAllGather,
          {a, b},
          0,
          false,
          {send(other, in()), recv(other, out(other)), copy(in(), slot(own))}};
}

Step gather_step(uint32_t index, uint32_t rank, uint32_t a, uint32_t b, uint32_t own, uint32_t order) {
  Step step =
      rank == a ? group(index, {in()}, {slot(own), out(b)}) : group(index, {in()}, {out(a), slot(own)});
  step.order = order;
  return step;
}

// Three ranks all-gather in three pairs, {0, 1}, {1, 2} and {2, 0}; pair k, of ranks k and k + 1, starts as
// orders[k] and is in lane k, or in lane 0 behind one another as `sequence[rank]` lists them.
Plan three_pairs(const std::vector<uint32_t>& orders, const std::vector<std::vector<uint32_t>>& sequence) {
  Plan plan = one_lane(Collective::kAllGather, {{}, {}, {}});
  plan.shape.scratch_slots = 2;
  plan.shape.window = 2;
  for (uint32_t rank = 0; rank < 3; ++rank) {
    plan::Part& part = plan.parts[rank];
    part.lanes.resize(4);
    std::vector<plan::After> read;
    for (const uint32_t pair : sequence[rank]) {
      const uint32_t a = std::min(pair, (pair + 1) % 3), b = std::max(pair, (pair + 1) % 3);
      const auto index = static_cast<uint32_t>(part.groups.size());
      const uint32_t lane = orders.empty() ? 0 : pair;
      part.groups.push_back(gather_pair(rank, a, b, index));
      auto& steps = part.lanes[lane].steps;
      read.push_back(in_place(static_cast<uint32_t>(steps.size()), lane));
      steps.push_back(gather_step(index, rank, a, b, index, orders.empty() ? pair : orders[pair]));
    }
    part.lanes[3].steps = {copy(in(), out(rank), read)};
  }
  return plan;
}

const std::vector<std::vector<uint32_t>> kRotated = {{0, 2}, {1, 0}, {2, 1}};

TEST(GroupOrder, ThreePairsInRotatedOrdersOfOneLaneAreRefused) {
  expect_refused(three_pairs({}, kRotated), "deadlock", "waits for ever");
}

TEST(GroupOrder, ThreePairsRunInAnyOrderThatAllRanksShare) {
  std::vector<uint32_t> orders = {0, 1, 2};
  do {
    expect_proved_and_finished(three_pairs(orders, kRotated));
  } while (std::next_permutation(orders.begin(), orders.end()));
}

TEST(GroupOrder, RanksThatStateDifferentOrdersAreRefused) {
  Plan plan = three_pairs({0, 1, 2}, kRotated);
  plan.parts[1].lanes[0].steps[0].order = 7;
  expect_refused(plan, "match", "starts in another order than its like on rank 0");
  plan = three_pairs({0, 1, 2}, kRotated);
  plan.parts[1].lanes[0].steps[0].lag = 1;
  expect_refused(plan, "match", "starts in another order than its like on rank 0");
}

TEST(GroupOrder, TwoGroupsOfARankInOnePlaceAreRefused) {
  expect_refused(three_pairs({0, 1, 1}, kRotated), "shape", "has the same place, order 1, as lane");
}

TEST(GroupOrder, ALagOfAWindowOrMoreIsRefused) {
  Plan plan = three_pairs({0, 1, 2}, kRotated);
  plan.parts[0].lanes[0].steps[0].lag = 2;
  expect_refused(plan, "bounds", "the window has 2 tiles");
}

// Two ranks: lane 0's group gathers what lane 1's group broadcast to scratch.
Plan first_lane_after_second(uint32_t order_of_first, uint32_t order_of_second) {
  Plan plan = one_lane(Collective::kAllGather, {{}, {}});
  plan.shape.scratch_slots = 2;
  plan.shape.window = 3;
  for (uint32_t rank : {0u, 1u}) {
    plan::Part& part = plan.parts[rank];
    part.lanes.resize(3);
    part.groups = {gather_pair(rank, 0, 1, 1), {Collective::kBroadcast, {0, 1}, 0, false, {}}};
    part.groups[1].definition = rank == 0 ? std::vector<Step>{send(1, in()), copy(in(), slot(0))}
                                          : std::vector<Step>{recv(0, slot(0))};
    part.lanes[0].steps = {gather_step(0, rank, 0, 1, 1, order_of_first)};
    part.lanes[0].steps[0].after = {on(0, 1)};
    part.lanes[1].steps = {rank == 0 ? group(1, {in()}, {slot(0)}) : group(1, {}, {slot(0)})};
    part.lanes[1].steps[0].order = order_of_second;
    part.lanes[2].steps = {copy(in(), out(rank), {in_place(0, 0), in_place(0, 1)})};
  }
  return plan;
}

TEST(GroupOrder, AFirstLanesGroupThatWaitsForTheSecondsRunsInTheOrderThatThePlanStates) {
  expect_proved_and_finished(first_lane_after_second(1, 0));
  expect_refused(first_lane_after_second(0, 1), "deadlock", "the plan starts lane");
}

TEST(GroupOrder, GroupsMayRunTilesApart) {
  for (const uint32_t lag : {0u, 1u, 2u}) {
    Plan plan = first_lane_after_second(1, 0);
    for (plan::Part& part : plan.parts) part.lanes[0].steps[0].lag = lag;
    expect_proved_and_finished(plan);
    for (plan::Part& part : plan.parts) part.lanes[1].steps[0].lag = lag;
    if (lag > 0) {
      for (plan::Part& part : plan.parts) part.lanes[0].steps[0].lag = 0;
      expect_refused(plan, "deadlock", "the plan starts lane");
    }
  }
}

TEST(EngineLimits, SixtyFourLanesRunAndMoreAreRefused) {
  for (const uint32_t lanes : {plan::kMaxLanes, plan::kMaxLanes + 1}) {
    Plan plan = one_lane(Collective::kBroadcast, {{}, {}});
    plan.shape.weights.assign(lanes, 1);
    for (plan::Part& part : plan.parts) part.lanes.resize(lanes);
    for (uint32_t lane = 0; lane < lanes; ++lane) {
      plan.parts[0].lanes[lane].steps = {send(1, in(0, lane)),
                                         copy(in(0, lane), out(0, lane), {in_place(0, lane)})};
      plan.parts[1].lanes[lane].steps = {recv(0, out(0, lane))};
    }
    if (lanes <= plan::kMaxLanes) {
      expect_proved_and_finished(plan);
    } else {
      expect_refused(plan, "bounds", "65 lanes; the engine carries out 64");
    }
  }
}

// Rank 0 is sent nothing before it sends, which comes behind `receives` receives in its only lane.
Plan receives_before_a_send(uint32_t receives) {
  Plan plan = one_lane(Collective::kBroadcast, {{}, {}});
  plan.shape.root = 1;
  plan.shape.scratch_slots = 1;
  plan.shape.weights.assign(receives, 1);
  auto& waits = plan.parts[0].lanes[0].steps;
  auto& sends = plan.parts[1].lanes[0].steps;
  sends.push_back(recv(0, landed(0)));
  std::vector<plan::After> sent;
  for (uint32_t chunk = 0; chunk < receives; ++chunk) {
    waits.push_back(recv(1, out(0, chunk)));
    sends.push_back(send(0, in(0, chunk), {on(0)}));
    sent.push_back(in_place(chunk + 1));
  }
  waits.push_back(send(1, slot(0)));
  sends.push_back(copy(in(0, 0, receives), out(0, 0, receives), sent));
  return plan;
}

TEST(EngineLimits, AsManyReceivesWaitAsTheEngineHoldsAndNoMore) {
  Plan plan = receives_before_a_send(plan::kMaxPosted);
  plan.shape.window = 1;
  expect_proved_and_finished(plan);
  expect_refused(receives_before_a_send(plan::kMaxPosted + 1), "deadlock", "64 receives from rank 1");
}

TEST(EngineAndVerifier, EveryHandPlanRunsWhereverItsRanksAre) {
  for (const Plan& plan : hand_plans()) expect_proved_and_finished(plan);
}

TEST(EngineAndVerifier, WhatIsProvedOfDamagedPlansIsFinished) {
  std::vector<Plan> plans = hand_plans();
  plans.push_back(three_pairs({2, 0, 1}, kRotated));
  plans.push_back(first_lane_after_second(1, 0));
  plans.push_back(receives_before_a_send(2));
  int proved = 0, refused = 0;
  for (size_t i = 0; i < plans.size(); ++i) {
    for (uint64_t seed = 0; seed < effort(60); ++seed) {
      const Mutant mutant = mutate(plans[i], seed * 31 + i);
      if (!plan::verify(mutant.plan).ok) {
        ++refused;
        continue;
      }
      ++proved;
      const Status done = carried_out(mutant.plan);
      ASSERT_TRUE(done.ok()) << mutant.what << ": " << done.message() << "\n" << plan::to_text(mutant.plan);
    }
  }
  fmt::print("{} proved and finished, {} refused\n", proved, refused);
  EXPECT_GT(proved, static_cast<int>(effort(60)));
  EXPECT_GT(refused, static_cast<int>(effort(60)));
}

// An all-gather by messages in a lane of its own; what reads a rank's input besides is in reads[rank].
void add_all_gather(Plan& plan, uint32_t lane, std::vector<std::vector<plan::After>> reads) {
  const uint32_t nranks = plan.shape.nranks;
  for (uint32_t rank = 0; rank < nranks; ++rank) {
    auto& steps = plan.parts[rank].lanes[lane].steps;
    for (uint32_t peer = 0; peer < nranks; ++peer) {
      if (peer == rank) continue;
      reads[rank].push_back(in_place(static_cast<uint32_t>(steps.size()), lane));
      steps.push_back(send(peer, in()));
    }
    for (uint32_t peer = 0; peer < nranks; ++peer) {
      if (peer != rank) steps.push_back(recv(peer, out(peer)));
    }
    steps.push_back(copy(in(), out(rank), reads[rank]));
  }
}

// Ends if all groups have providers, and if none has; not if {1, 3} has one and {0, 2} has none: rank 0's
// lane 1 works through its group's definition, which needs rank 2, which waits for rank 1's second group,
// which starts after its first, which waits for what rank 0 sends behind its group.
TEST(GroupOrder, APlanThatEndsOnlyWithAllProvidersOrWithNoneIsRefused) {
  Plan plan = one_lane(Collective::kAllGather, std::vector<std::vector<Step>>(4));
  plan.shape.scratch_slots = 3;
  for (plan::Part& part : plan.parts) part.lanes.resize(5);
  const auto lane = [&plan](uint32_t rank, uint32_t index) -> std::vector<Step>& {
    return plan.parts[rank].lanes[index].steps;
  };
  const Group down{Collective::kBroadcast, {0, 2}, 1, false, {}};
  plan.parts[0].groups = {down};
  plan.parts[2].groups = {down};
  plan.parts[0].groups[0].definition = {recv(2, landed(0)), copy(landed(0), slot(0), {on(0)})};
  plan.parts[2].groups[0].definition = {send(0, in())};
  lane(0, 1) = {group(0, {}, {slot(0)}), send(1, slot(1))};
  lane(2, 1) = {group(0, {in()}, {slot(0)}, {on(0, 3)})};
  plan.parts[2].groups[0].definition.push_back(copy(in(), slot(0)));
  lane(1, 1) = {recv(0, landed(0))};
  for (uint32_t index : {0u, 1u}) {
    for (uint32_t rank : {1u, 3u}) {
      plan.parts[rank].groups.push_back({Collective::kBroadcast, {1, 3}, 0, false, {}});
      plan.parts[rank].groups[index].definition =
          rank == 1 ? std::vector<Step>{send(3, in()), copy(in(), slot(index))}
                    : std::vector<Step>{recv(1, slot(index))};
      lane(rank,
           2 * index) = {rank == 1 ? group(index, {in()}, {slot(index)}) : group(index, {}, {slot(index)})};
    }
  }
  lane(1, 0)[0].after = {on(0, 1)};
  lane(1, 3) = {send(2, slot(2), {on(0, 2)})};
  lane(2, 3) = {recv(1, landed(0))};
  for (uint32_t rank : {0u, 2u}) lane(rank, 1)[0].order = 2;
  add_all_gather(plan, 4, {{}, {in_place(0, 0), in_place(0, 2)}, {in_place(0, 1)}, {}});
  expect_refused(plan, "deadlock", "waits for ever");
  std::swap(lane(0, 1)[0], lane(0, 1)[1]);
  lane(0, 1)[1].order = 2;
  expect_proved_and_finished(plan);
}

// Groups of random pairs in random lanes, orders and lags, each after some of the others.
Plan random_groups(uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&random](uint32_t limit) { return static_cast<uint32_t>(random() % limit); };
  const uint32_t nranks = 2 + below(3), count = 2 + below(4);
  Plan plan = one_lane(Collective::kAllGather, std::vector<std::vector<Step>>(nranks));
  plan.shape.scratch_slots = count;
  plan.shape.window = 1 + below(3);
  for (plan::Part& part : plan.parts) part.lanes.resize(count + 1);
  std::vector<std::vector<plan::After>> reads(nranks), issued(nranks);
  std::vector<uint32_t> orders(count);
  std::iota(orders.begin(), orders.end(), 0u);
  if (below(3) > 0) std::shuffle(orders.begin(), orders.end(), random);
  for (uint32_t g = 0; g < count; ++g) {
    const uint32_t a = below(nranks), b = (a + 1 + below(nranks - 1)) % nranks;
    const uint32_t low = std::min(a, b), high = std::max(a, b), lane = below(count);
    const uint32_t lag = below(plan.shape.window);
    for (const uint32_t rank : {low, high}) {
      plan::Part& part = plan.parts[rank];
      const auto index = static_cast<uint32_t>(part.groups.size());
      part.groups.push_back({Collective::kBroadcast, {low, high}, 0, false, {}});
      part.groups.back().definition = rank == low ? std::vector<Step>{send(high, in()), copy(in(), slot(g))}
                                                  : std::vector<Step>{recv(low, slot(g))};
      Step step = rank == low ? group(index, {in()}, {slot(g)}) : group(index, {}, {slot(g)});
      step.order = orders[g];
      step.lag = lag;
      if (!issued[rank].empty() && below(2) == 0) step.after = {issued[rank][below(issued[rank].size())]};
      auto& steps = part.lanes[lane].steps;
      issued[rank].push_back(on(static_cast<uint32_t>(steps.size()), lane));
      if (rank == low) reads[rank].push_back(in_place(static_cast<uint32_t>(steps.size()), lane));
      steps.push_back(std::move(step));
    }
  }
  add_all_gather(plan, count, reads);
  return plan;
}

TEST(EngineAndVerifier, RandomGroupsThatAreProvedAreFinished) {
  int proved = 0, refused = 0;
  for (uint64_t seed = 0; seed < effort(600); ++seed) {
    const Plan plan = random_groups(seed);
    const plan::VerifyResult verdict = plan::verify(plan);
    ++(verdict.ok ? proved : refused);
    if (!verdict.ok) {
      EXPECT_EQ(verdict.violation.rule, "deadlock") << verdict.violation.message;
      continue;
    }
    const Status done = carried_out(plan);
    ASSERT_TRUE(done.ok()) << "seed " << seed << ": " << done.message() << "\n" << plan::to_text(plan);
  }
  fmt::print("{} proved and finished, {} refused\n", proved, refused);
  EXPECT_GT(proved, static_cast<int>(effort(600) / 10));
  EXPECT_GT(refused, static_cast<int>(effort(600) / 10));
}

}  // namespace
}  // namespace comity::test
