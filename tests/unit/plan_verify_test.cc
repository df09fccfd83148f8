// What the verifier says of plans that are wrong in a known way: the rule, the rank, the step.

#include <gtest/gtest.h>

#include "src/plan/verify.h"
#include "tests/support/hand_plans.h"

namespace comity::test {
namespace {

using plan::Plan;
using plan::Step;

std::string verdict(const Plan& plan) {
  const plan::VerifyResult result = plan::verify(plan);
  if (result.ok) return "proved";
  const plan::Violation& found = result.violation;
  return found.rule + " " + std::to_string(found.rank) + "." + std::to_string(found.lane) + "." +
         std::to_string(found.step);
}

std::vector<Step>& steps(Plan& plan, uint32_t rank, uint32_t lane = 0) {
  return plan.parts[rank].lanes[lane].steps;
}

TEST(Verify, NamesAnIndexOutOfBounds) {
  Plan plan = one_shot_pair();
  steps(plan, 1)[2].dst[0].block = 1;
  EXPECT_EQ(verdict(plan), "bounds 1.0.2");
  plan = one_shot_pair();
  steps(plan, 0)[0].src[0].first = UINT32_MAX;
  EXPECT_EQ(verdict(plan), "bounds 0.0.0");
  plan = one_shot_pair();
  steps(plan, 0)[0].src[0].count = UINT32_MAX;
  EXPECT_EQ(verdict(plan), "bounds 0.0.0");
  plan = one_shot_pair();
  steps(plan, 0)[0].peer = 2;
  EXPECT_EQ(verdict(plan), "bounds 0.0.0");
  plan = one_shot_pair();
  steps(plan, 0)[2].after = {on(UINT32_MAX)};
  EXPECT_EQ(verdict(plan), "bounds 0.0.2");
  plan = one_shot_pair();
  steps(plan, 0)[2].after = {on(0, UINT32_MAX)};
  EXPECT_EQ(verdict(plan), "bounds 0.0.2");
  plan = one_shot_pair();
  steps(plan, 0)[1].dst = {slot(0)};
  EXPECT_EQ(verdict(plan), "bounds 0.0.1");
}

TEST(Verify, RefusesShapesOutOfRange) {
  for (const auto& change : std::vector<void (*)(plan::Shape&)>{
           [](plan::Shape& shape) { shape.nranks = 0; },
           [](plan::Shape& shape) { shape.nranks = UINT32_MAX; }, [](plan::Shape& shape) { shape.root = 2; },
           [](plan::Shape& shape) { shape.weights = {}; }, [](plan::Shape& shape) { shape.weights = {0}; },
           [](plan::Shape& shape) { shape.weights = {65537}; }, [](plan::Shape& shape) { shape.window = 0; },
           [](plan::Shape& shape) { shape.window = 65; }, [](plan::Shape& shape) { shape.tile_bytes = 0; },
           [](plan::Shape& shape) { shape.tile_bytes = 65; },
           [](plan::Shape& shape) { shape.tile_bytes = UINT64_MAX; },
           [](plan::Shape& shape) { shape.scratch_slots = UINT32_MAX; },
           [](plan::Shape& shape) { shape.collective = static_cast<Collective>(kCollectiveCount); },
           [](plan::Shape& shape) { shape.placement = static_cast<plan::Placement>(3); }}) {
    Plan plan = one_shot_pair();
    change(plan.shape);
    EXPECT_EQ(verdict(plan), "bounds 0.0.0");
    EXPECT_FALSE(plan::check_part(plan.shape, plan.parts[0]).ok);
  }
}

TEST(Verify, NamesAStepOfTheWrongForm) {
  Plan plan = one_shot_pair();
  steps(plan, 0)[2].dst[0] = in();
  EXPECT_EQ(verdict(plan), "shape 0.0.2") << "the caller's input is not written";
  plan = one_shot_pair();
  steps(plan, 0)[2].dst[0] = landed(1);
  EXPECT_EQ(verdict(plan), "shape 0.0.2") << "what landed is not written";
  plan = one_shot_pair();
  steps(plan, 0)[0].kind = static_cast<plan::StepKind>(9);
  EXPECT_EQ(verdict(plan), "shape 0.0.0");
  plan = one_shot_pair();
  steps(plan, 0)[0].src[0].space = static_cast<plan::Space>(9);
  EXPECT_EQ(verdict(plan), "shape 0.0.0");
  plan = all_gather_pair();
  steps(plan, 0)[2].kind = plan::StepKind::kReduce;
  EXPECT_EQ(verdict(plan), "shape 0.0.2") << "no operation to reduce with";
  plan = one_shot_pair();
  plan.parts.pop_back();
  EXPECT_EQ(verdict(plan), "shape 0.0.0");
}

TEST(Verify, OnlyTheRootHasAReducesOutputAndABroadcastsInput) {
  Plan plan = reduce_to_root();
  steps(plan, 2).push_back(copy(in(), out()));
  EXPECT_EQ(verdict(plan), "bounds 2.0.1");
  plan = chain_broadcast();
  steps(plan, 2).push_back(copy(in(), slot(0)));
  EXPECT_EQ(verdict(plan), "bounds 2.0.1");
}

TEST(Verify, NamesASendThatNobodyReceives) {
  Plan plan = chain_broadcast();
  steps(plan, 2).clear();
  EXPECT_EQ(verdict(plan), "match 1.0.1");
}

TEST(Verify, NamesAReceiveOfOtherChunksThanWereSent) {
  Plan plan = chain_broadcast();
  plan.shape.weights = {1, 1};
  EXPECT_EQ(verdict(plan), "result 0.0.0") << "half of the tile is never sent";
  steps(plan, 0)[0] = send(1, in(0, 1));
  EXPECT_EQ(verdict(plan), "match 1.0.0") << "equal weights are not equal lengths";
}

TEST(Verify, NamesACycleOfWaits) {
  Plan plan = one_shot_pair();
  for (uint32_t rank : {0u, 1u}) std::swap(steps(plan, rank)[0], steps(plan, rank)[1]);
  for (uint32_t rank : {0u, 1u}) {
    steps(plan, rank)[0].dst = {landed(0)};
    steps(plan, rank)[1].after = {on(0)};
    for (plan::ChunkRun& run : steps(plan, rank)[2].src) {
      if (run.space == plan::Space::kReceived) run.block = 0;
    }
    steps(plan, rank)[2].after = {on(0), on(1)};
  }
  EXPECT_EQ(verdict(plan), "deadlock 0.0.1");
  plan = one_shot_pair();
  steps(plan, 0)[0].after = {on(2)};
  EXPECT_EQ(verdict(plan), "deadlock 0.0.0");
}

TEST(Verify, NamesASecondMessageThatNeedsTheFirstReceivedLater) {
  // Rank 1 receives the first message only after the second's effect came back: fine with two in flight, not
  // with one.
  Plan plan =
      one_lane(Collective::kAllGather,
               {{send(1, in()), send(1, in()), recv(1, out(1)), copy(in(), out(0), {on(0), on(1)})},
                {recv(0, out(0)), recv(0, landed(1)), send(0, in()), copy(in(), out(1), {in_place(2)})}});
  EXPECT_EQ(verdict(plan), "proved");
  // In another lane rank 1 receives the first message of lane 0 only after lane 1's, sent after lane 0's
  // second.
  plan = one_lane(Collective::kBroadcast,
                  {{send(1, in()), send(1, in()), copy(in(), out(), {in_place(0), in_place(1)})},
                   {recv(0, landed(0), {on(0, 1)}), recv(0, landed(1))}});
  plan.parts[0].lanes.push_back({{send(1, in(), {on(1)})}});
  plan.parts[1].lanes.push_back({{recv(0, out())}});
  EXPECT_EQ(verdict(plan).substr(0, 8), "deadlock");
}

TEST(Verify, NamesAReadOfWhatIsNotYetThere) {
  Plan plan = one_shot_pair();
  steps(plan, 1)[2].after = {in_place(0)};
  EXPECT_EQ(verdict(plan), "race 1.0.2");
}

TEST(Verify, NamesAnOverwriteThatOnlyACallInPlaceMakes) {
  Plan plan = one_shot_pair();
  steps(plan, 0)[2].after = {on(1)};
  EXPECT_EQ(verdict(plan), "race 0.0.2");
  EXPECT_NE(plan::verify(plan).violation.message.find("in place"), std::string::npos);
  plan.shape.placement = plan::Placement::kOutOfPlaceOnly;
  EXPECT_EQ(verdict(plan), "proved");
}

TEST(Verify, ProvesBothPlacementsApart) {
  Plan plan = one_lane(Collective::kAllReduce, {{}});
  EXPECT_EQ(verdict(plan), "result 0.0.0") << "out of place nothing writes the output";
  plan.shape.placement = plan::Placement::kInPlaceOnly;
  EXPECT_EQ(verdict(plan), "proved");
  plan = one_lane(Collective::kAllReduce, {{copy(in(), out())}});
  EXPECT_EQ(verdict(plan), "proved");
}

TEST(Verify, DoesNotTakeAReceivedMessageForACompleteSend) {
  // Rank 1's answer proves that it has rank 0's message, yet the source may be held until the send completes.
  Plan plan = one_lane(Collective::kBroadcast,
                       {{copy(in(), slot(0)), send(1, slot(0), {on(0)}), recv(1, landed(2)),
                         copy(in(), slot(0), {on(2)}), copy(in(), out(), {in_place(0), in_place(3)})},
                        {recv(0, out()), send(0, out(), {on(0)})}});
  plan.shape.scratch_slots = 1;
  EXPECT_EQ(verdict(plan), "race 0.0.3");
  steps(plan, 0)[3].after.push_back(on(1));
  EXPECT_EQ(verdict(plan), "proved");
}

TEST(Verify, FollowsOrderThroughOtherRanks) {
  // Rank 0 reuses its slot after a message that left after the first copy of it was complete and came back.
  Plan plan = one_lane(Collective::kBroadcast, {{copy(in(), slot(0)), send(1, in(), {on(0)}),
                                                 recv(1, landed(2)), copy(in(), slot(0), {on(2)}),
                                                 copy(in(), out(), {in_place(0), in_place(1), in_place(3)})},
                                                {recv(0, out()), send(0, out(), {on(0)})}});
  plan.shape.scratch_slots = 1;
  EXPECT_EQ(verdict(plan), "proved");
  steps(plan, 0)[1].after.clear();
  EXPECT_EQ(verdict(plan), "race 0.0.3");
}

TEST(Verify, NamesAContributionThatIsTwiceInTheResult) {
  Plan plan = one_shot_pair();
  steps(plan, 0)[2].src = {in(), in(), landed(1)};
  EXPECT_EQ(verdict(plan), "result 0.0.2");
}

TEST(Verify, NamesAContributionThatIsMissing) {
  Plan plan = reduce_to_root();
  steps(plan, 0)[2].src = {in(), landed(0)};
  EXPECT_EQ(verdict(plan), "last 0.0.2");
  steps(plan, 0)[2].last = false;
  EXPECT_EQ(verdict(plan), "result 0.0.2");
}

TEST(Verify, NamesAResultThatAvgWouldNotDivideOnce) {
  Plan plan = one_shot_pair();
  steps(plan, 1)[2].last = false;
  EXPECT_EQ(verdict(plan), "last 1.0.2");
  plan = one_shot_pair();
  Step again = reduce({out()}, out(), {on(2)}, true);
  steps(plan, 1).push_back(again);
  EXPECT_EQ(verdict(plan), "last 1.0.3");
}

TEST(Verify, NamesABlockInTheWrongPlace) {
  Plan plan = all_gather_pair();
  plan.shape.placement = plan::Placement::kOutOfPlaceOnly;
  steps(plan, 0)[1].dst[0].block = 0;
  steps(plan, 0)[2].dst[0].block = 1;
  EXPECT_EQ(verdict(plan), "result 0.0.1");
}

TEST(Verify, NamesRanksThatFoldInDifferentOrders) {
  Plan plan = one_shot_pair();
  std::swap(steps(plan, 1)[2].src[0], steps(plan, 1)[2].src[1]);
  EXPECT_EQ(plan::verify(plan).violation.rule, "result") << "either rank's fold may be called the other one";
  EXPECT_NE(plan::verify(plan).violation.message.find("another order"), std::string::npos);
}

TEST(Verify, NamesABarrierThatSomebodyLeavesEarly) {
  Plan plan = dissemination_barrier();
  for (uint32_t rank = 0; rank < 3; ++rank) steps(plan, rank)[2].after.clear();
  EXPECT_EQ(verdict(plan), "proved") << "all pairs exchange, in one round as well";
  plan = dissemination_barrier();
  for (uint32_t rank = 0; rank < 3; ++rank) steps(plan, rank).resize(2);
  EXPECT_EQ(verdict(plan).substr(0, 6), "result");
}

TEST(Verify, NamesTheGroupWhoseDefinitionBreaksItsPromise) {
  Plan plan = groups_of_four();
  plan.parts[2].groups[0].definition[1].src = {landed(0)};
  EXPECT_EQ(verdict(plan), "result 2.0.0");
  plan = groups_of_four();
  plan.parts[0].groups[1].definition[2].last = false;
  EXPECT_EQ(verdict(plan), "last 0.0.1");
  plan = groups_of_four();
  plan.parts[3].groups[1].definition[0].peer = 0;
  EXPECT_EQ(verdict(plan), "shape 3.0.1") << "a definition stays among the members";
  plan = groups_of_four();
  plan.parts[0].groups[1].last = false;
  EXPECT_EQ(verdict(plan), "match 2.0.1") << "members' groups are equal";
  plan = groups_of_four();
  steps(plan, 2).pop_back();
  EXPECT_EQ(verdict(plan), "match 3.0.1") << "a member has no one to meet";
  plan = groups_of_four();
  steps(plan, 0)[1].after.clear();
  EXPECT_EQ(verdict(plan), "race 0.0.1") << "a provider may read at once";
}

TEST(Verify, DoesNotRelyOnWhatADefinitionLeavesBehind) {
  // A definition may use scratch; what it leaves there is not the group's result, and a provider leaves
  // nothing.
  Plan pair = one_lane(Collective::kReduce, {{group(0, {in()}, {out()})}, {group(0, {in()}, {})}});
  pair.shape.scratch_slots = 1;
  pair.parts[0].groups = {{Collective::kReduce,
                           {0, 1},
                           0,
                           true,
                           {recv(1, landed(0)), reduce({in(), landed(0)}, out(), {on(0)}, true)}}};
  pair.parts[1].groups = {
      {Collective::kReduce, {0, 1}, 0, true, {copy(in(), slot(0)), send(0, slot(0), {on(0)})}}};
  EXPECT_EQ(verdict(pair), "proved");
  Plan all = one_lane(Collective::kAllGather, {{}, {}});
  all.shape.scratch_slots = 1;
  for (uint32_t rank : {0u, 1u}) {
    all.parts[rank].groups = {{Collective::kAllGather,
                               {0, 1},
                               0,
                               false,
                               {send(1 - rank, in()), recv(1 - rank, out(1 - rank)),
                                copy(in(), out(rank), {in_place(0)}), copy(in(), slot(0), {in_place(2)})}}};
    steps(all, rank) = {group(0, {in()}, {out(0), out(1)})};
  }
  EXPECT_EQ(verdict(all), "proved");
  steps(all, 1).push_back(copy(slot(0), out(1), {on(0)}));
  EXPECT_EQ(verdict(all), "result 1.0.1");
}

TEST(Verify, RefusesWhatWouldTakeForEverInsteadOfTrying) {
  Plan plan = one_lane(Collective::kAllReduce, {{copy(in(), out())}});
  plan.shape.weights.assign(65536, 1);
  plan.shape.window = 64;
  plan.shape.scratch_slots = 65536;
  plan.parts[0].lanes[0].steps.clear();
  for (uint32_t chunk = 0; chunk < 65536; ++chunk)
    plan.parts[0].lanes[0].steps.push_back(copy(in(0, chunk), out(0, chunk)));
  EXPECT_EQ(verdict(plan), "bounds 0.0.0");
  Plan grouped = one_lane(Collective::kBarrier, {{}});
  grouped.shape.scratch_slots = 1;
  grouped.parts[0].groups = {
      {Collective::kBarrier, {0}, 0, false, std::vector<Step>(65536, copy(slot(0), slot(0)))}};
  steps(grouped, 0).assign(65536, group(0, {}, {}));
  EXPECT_EQ(verdict(grouped), "bounds 0.0.255") << "more steps than the engine numbers";
}

TEST(Verify, SurvivesPlansMadeOfNoise) {
  uint64_t state = 1;
  const auto next = [&state](uint64_t limit) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const uint64_t value = state >> 33;
    return static_cast<uint32_t>(value % 16 == 0 ? value * 77777 : value % limit);
  };
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    Plan plan = hand_plans()[next(8) % 8];
    for (int change = 0; change < 3; ++change) {
      plan::Part& part = plan.parts[next(4) % plan.parts.size()];
      auto& list = part.lanes[next(3) % part.lanes.size()].steps;
      Step& step = list[next(4) % list.size()];
      step.kind = static_cast<plan::StepKind>(next(6));
      step.peer = next(4);
      step.group = next(3);
      step.order = next(3);
      step.lag = next(2);
      step.src.assign(next(3) % 4, {static_cast<plan::Space>(next(5)), next(3), next(3), next(3)});
      step.dst.assign(next(2) % 4, {static_cast<plan::Space>(next(5)), next(3), next(3), next(3)});
      step.after.assign(next(2) % 4, {next(2), next(4), false});
    }
    refused += plan::verify(plan).ok ? 0 : 1;
    for (const plan::Part& part : plan.parts) (void)plan::expand(part);
  }
  EXPECT_GT(refused, 2000);
}

}  // namespace
}  // namespace comity::test
