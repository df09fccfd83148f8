#include <gtest/gtest.h>

#include "src/plan/print.h"
#include "tests/support/hand_plans.h"

namespace comity::test {
namespace {

TEST(PlanText, ShowsStepsInAlignedColumns) {
  plan::Plan plan = one_shot_pair();
  EXPECT_EQ(plan::to_text(plan),
            "all_reduce by hand, 2 ranks, in and out of place\n"
            "1 chunk of weight 1; 0 scratch slots; window 1; tile 1048576 bytes\n"
            "rank 0\n"
            "  lane  step  does                                          after\n"
            "     0     0  send in[0:0] -> 1\n"
            "     0     1  recv recv[1:0] <- 1\n"
            "     0     2  reduce in[0:0] + recv[1:0] -> out[0:0], last  0.1 0.0*\n"
            "rank 1\n"
            "  lane  step  does                                          after\n"
            "     0     0  send in[0:0] -> 0\n"
            "     0     1  recv recv[1:0] <- 0\n"
            "     0     2  reduce recv[1:0] + in[0:0] -> out[0:0], last  0.1 0.0*\n");
}

TEST(PlanText, NamesRunsOfChunks) {
  EXPECT_EQ(plan::describe(in(2, 0, 4)), "in[2:0..3]");
  EXPECT_EQ(plan::describe(slot(1, 5)), "scratch[1:5]");
  EXPECT_EQ(plan::describe(group(3, {in()}, {})), "group 3, order 3: in[0:0] -> nothing");
  plan::Step behind = group(1, {}, {});
  behind.lag = 2;
  EXPECT_EQ(plan::describe(behind), "group 1, order 1 and 2 tiles behind: nothing -> nothing");
}

TEST(PlanText, ShowsGroupsAndSaysWhatItLeavesOut) {
  const std::string text = plan::to_text(groups_of_four(), {.most_ranks = 1});
  EXPECT_NE(text.find("group 1: all_reduce of 0 2, root 0, last, else:"), std::string::npos) << text;
  EXPECT_NE(text.find("and 3 more ranks"), std::string::npos) << text;
}

TEST(PlanText, SurvivesPlansThatAreWrong) {
  plan::Plan plan = one_shot_pair();
  plan.shape.collective = static_cast<Collective>(77);
  plan.shape.placement = static_cast<plan::Placement>(77);
  plan.parts[0].lanes[0].steps[0].kind = static_cast<plan::StepKind>(77);
  plan.parts[0].lanes[0].steps[1].dst[0] = {static_cast<plan::Space>(77), 0, UINT32_MAX, UINT32_MAX};
  plan.parts[0].lanes[0].steps[2].src.clear();
  EXPECT_FALSE(plan::to_text(plan).empty());
  EXPECT_FALSE(plan::to_dot(plan).empty());
}

TEST(PlanDrawing, HasAClusterPerRankAndAnEdgePerMessage) {
  const std::string dot = plan::to_dot(ring_of_three());
  const auto count = [&dot](std::string_view what) {
    size_t times = 0;
    for (size_t at = dot.find(what); at != std::string::npos; at = dot.find(what, at + 1)) ++times;
    return times;
  };
  EXPECT_EQ(count("subgraph cluster_"), 3u);
  EXPECT_EQ(count("style=bold"), 12u);
  EXPECT_EQ(count("style=dashed"), 6u);
  EXPECT_EQ(count("{"), count("}"));
}

}  // namespace
}  // namespace comity::test
