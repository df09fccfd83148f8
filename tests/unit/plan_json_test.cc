// Plans as JSON: exact round trips, and refusals that name the place.

#include <gtest/gtest.h>

#include <fmt/core.h>

#include "src/plan/json.h"
#include "src/plan/verify.h"
#include "tests/support/hand_plans.h"
#include "tests/support/mutate.h"

namespace comity::test {
namespace {

using plan::Plan;
using plan::plan_from_json;

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  if (at != std::string::npos) text.replace(at, from.size(), to);
  return text;
}

std::string refusal(std::string_view text) {
  const Result<Plan> read = plan_from_json(text);
  if (read.ok()) return "read";
  EXPECT_EQ(read.status().code(), Code::kInvalidArgument);
  return std::string(read.status().message());
}

TEST(PlanJson, GivesBackAnEqualPlan) {
  for (const Plan& plan : hand_plans()) {
    const Result<Plan> read = plan_from_json(plan::to_json(plan));
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(*read, plan);
  }
}

TEST(PlanJson, GivesBackEverythingThatAShapeCanSay) {
  Plan plan = ring_of_three();
  plan.shape.algorithm = "a \"name\" with \\ and \n";
  plan.shape.weights = {1, 65536, 7};
  plan.shape.tile_bytes = plan::kWholeBlock;
  plan.shape.window = 64;
  plan.shape.scratch_slots = 65536;
  plan.shape.root = 2;
  for (const auto placement :
       {plan::Placement::kBoth, plan::Placement::kOutOfPlaceOnly, plan::Placement::kInPlaceOnly}) {
    plan.shape.placement = placement;
    const Result<Plan> read = plan_from_json(plan::to_json(plan));
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(*read, plan);
  }
}

TEST(PlanJson, GivesBackWrongPlansTooSoThatVerifyDecides) {
  int wrong = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const Mutant mutant = mutate(groups_of_four(), seed);
    const Result<Plan> read = plan_from_json(plan::to_json(mutant.plan));
    if (!read.ok()) {
      EXPECT_NE(read.status().message().find("peer"), std::string_view::npos) << read.status().message();
      continue;
    }
    EXPECT_EQ(*read, mutant.plan);
    wrong += plan::verify(*read).ok ? 0 : 1;
  }
  EXPECT_GT(wrong, 0);
}

TEST(PlanJson, NamesThePlaceOfWhatIsWrong) {
  const std::string good = plan::to_json(one_shot_pair());
  EXPECT_EQ(refusal(replaced(good, "\"peer\": 1", "\"peer\": 9")),
            "parts[0].lanes[0].steps[0].peer: 9 is not a rank below 2");
  EXPECT_EQ(refusal(replaced(good, "\"peer\": 1", "\"peer\": -1")),
            "parts[0].lanes[0].steps[0].peer: is not a whole number of at least 0");
  EXPECT_EQ(refusal(replaced(good, "\"peer\": 1", "\"peer\": 1.0")),
            "parts[0].lanes[0].steps[0].peer: is not a whole number of at least 0");
  EXPECT_EQ(refusal(replaced(good, "\"peer\": 1", "\"peer\": 18446744073709551616")),
            "parts[0].lanes[0].steps[0].peer: is not a whole number of at least 0");
  EXPECT_EQ(refusal(replaced(good, "\"peer\": 1, ", "")),
            "parts[0].lanes[0].steps[0]: the field \"peer\" is missing");
  EXPECT_EQ(refusal(replaced(good, "\"block\": 0", "\"block\": 4294967296")),
            "parts[0].lanes[0].steps[0].src[0].block: 4294967296 is more than 4294967295");
  EXPECT_EQ(
      refusal(replaced(good, "\"input\"", "\"inputs\"")),
      "parts[0].lanes[0].steps[0].src[0].space: \"inputs\" is none of input, output, scratch, received");
  EXPECT_EQ(refusal(replaced(good, "\"last\": true", "\"last\": 1")),
            "parts[0].lanes[0].steps[2].last: is neither true nor false");
  EXPECT_EQ(refusal(replaced(good, "\"window\": 1", "\"window\": 1, \"colour\": 2")),
            "shape: the field \"colour\" is unknown");
  EXPECT_EQ(refusal(replaced(good, "\"window\": 1", "\"window\": 65")), "shape.window: 65 is more than 64");
  EXPECT_EQ(refusal(replaced(good, "\"window\": 1", "\"window\": 1, \"window\": 1")),
            "the field \"window\" is twice in one object");
  EXPECT_EQ(refusal(replaced(good, "\"nranks\": 2", "\"nranks\": 65537")),
            "shape.nranks: 65537 is more than 65536");
  EXPECT_EQ(refusal(replaced(good, "\"nranks\": 2", "\"nranks\": 3")), "parts: 2 entries for 3 ranks");
  EXPECT_EQ(refusal(replaced(good, "\"weights\": [1]", "\"weights\": [0]")),
            "shape.weights[0]: 0 is not 1 to 65536");
  EXPECT_EQ(refusal(replaced(good, "\"tile_bytes\": 1048576", "\"tile_bytes\": 100")),
            "shape.tile_bytes: 100 is not a multiple of 64");
  EXPECT_EQ(refusal(replaced(good, "\"rank\": 1", "\"rank\": 0")),
            "parts[1].rank: 0 is not 1: parts are in the order of ranks");
}

TEST(PlanJson, RefusesOtherVersionsAndOtherDocuments) {
  const std::string good = plan::to_json(one_shot_pair());
  EXPECT_EQ(refusal(replaced(good, "\"comity_plan\": 1", "\"comity_plan\": 2")),
            "comity_plan: version 2 is unknown; this program reads 1");
  EXPECT_EQ(refusal("{}"), "this is no plan: the field \"comity_plan\" is missing");
  EXPECT_EQ(refusal("[1]"), "this is no plan: the field \"comity_plan\" is missing");
  EXPECT_EQ(refusal("{\"comity_plan\": 1}"), "the field \"shape\" is missing");
}

TEST(PlanJson, RefusesTextThatIsNotJsonWhereverItBreaksOff) {
  const std::string good = plan::to_json(groups_of_four());
  for (size_t length = 0; length + 2 < good.size(); length += 37) {
    EXPECT_NE(refusal(std::string_view(good).substr(0, length)), "read");
  }
  EXPECT_NE(refusal("\xff\xfe"), "read");
  EXPECT_NE(refusal(good + "{}"), "read");
}

TEST(PlanJson, RefusesDepthThatWouldExhaustTheStack) {
  EXPECT_EQ(refusal(std::string(1 << 20, '[')), "nested deeper than 16");
  std::string objects;
  for (int i = 0; i < 100000; ++i) objects += "{\"a\":";
  EXPECT_EQ(refusal(objects), "nested deeper than 16");
}

TEST(PlanJson, RefusesTextBeyondItsLimit) {
  const std::string blanks((size_t{64} << 20) + 1, ' ');
  EXPECT_EQ(refusal(blanks), fmt::format("{} bytes of JSON, most {}", blanks.size(), blanks.size() - 1));
}

TEST(PlanJson, SurvivesDamagedText) {
  const std::string good = plan::to_json(groups_of_four());
  uint64_t state = 7;
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text = good;
    for (int change = 0; change < 3; ++change) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      constexpr std::string_view kLetters = "0123456789-[]{},:\"e.truefalsn\\";
      text[(state >> 33) % text.size()] = kLetters[(state >> 20) % kLetters.size()];
    }
    const Result<Plan> read = plan_from_json(text);
    refused += read.ok() && plan::verify(*read).ok ? 0 : 1;
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace comity::test
