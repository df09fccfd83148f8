// A Plan's hash covers its content: whatever differs tells two Plans apart, though their shapes are one.

#include <gtest/gtest.h>

#include <map>

#include "algorithms/algorithm.h"
#include "src/plan/hash.h"
#include "src/plan/json.h"
#include "tests/support/hand_plans.h"
#include "tests/support/mutate.h"

namespace comity::test {
namespace {

using plan::hash_of;
using plan::Plan;
using plan::Shape;

TEST(PlanHash, IsEqualForEqualPlans) {
  for (const Plan& plan : hand_plans()) {
    EXPECT_EQ(hash_of(plan), hash_of(Plan(plan)));
    const auto read = plan::plan_from_json(plan::to_json(plan));
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(hash_of(plan), hash_of(*read)) << "through a file";
  }
}

TEST(PlanHash, TellsPlansOfOneShapeAndOtherStepsApart) {
  std::map<uint64_t, std::string> seen;  // content by hash
  for (const Plan& plan : hand_plans()) {
    for (uint64_t seed = 0; seed < 200; ++seed) {
      const Mutant mutant = mutate(plan, seed);
      const std::string content = plan::to_json(mutant.plan);
      const auto [found, fresh] = seen.try_emplace(hash_of(mutant.plan), content);
      ASSERT_EQ(found->second, content) << "one hash, two plans; the second by " << mutant.what;
    }
  }
  EXPECT_GT(seen.size(), 500u);
}

TEST(PlanHash, CoversGroupsAndTheirOrder) {
  const Plan plan = groups_of_four();
  std::vector<Plan> others(9, plan);
  others[0].parts[0].groups[1].collective = Collective::kReduce;
  others[1].parts[0].groups[1].members = {2, 0};
  others[2].parts[0].groups[1].root = 1;
  others[3].parts[0].groups[1].last = false;
  others[4].parts[0].groups[1].definition.pop_back();
  others[5].parts[0].lanes[0].steps[1].order = 9;
  others[6].parts[0].lanes[0].steps[1].lag = 1;
  others[7].parts[0].groups.pop_back();
  others[8].parts[0].lanes[0].steps[1].extent = 0;
  for (const Plan& other : others) EXPECT_NE(hash_of(other), hash_of(plan));
}

TEST(PlanHash, DiffersWhereShapesDiffer) {
  const Plan plan = one_shot_pair();
  std::vector<Shape> others(10, plan.shape);
  others[0].algorithm = "by han";
  others[1].collective = Collective::kReduce;
  others[2].nranks = 3;
  others[3].root = 1;
  others[4].weights = {1, 1};
  others[5].scratch_slots = 1;
  others[6].window = 2;
  others[7].tile_bytes = 64;
  others[8].placement = plan::Placement::kInPlaceOnly;
  others[9].any_lengths = true;
  for (const Shape& other : others) {
    EXPECT_NE(hash_of(Plan{other, plan.parts}), hash_of(plan));
    EXPECT_NE(hash_of(other, {}), hash_of(plan.shape, {}));
  }
}

// What a rank knows of a generated plan without the others' parts must say as much as all the parts: two
// requests whose plans differ have two hashes.
TEST(PlanHash, OfGeneratedPlansDiffersWheneverStepsDo) {
  std::vector<topology::Topology> topologies = {topology::one_host(4)};
  for (const auto& hosts : std::vector<std::vector<std::string>>{
           {"a", "a", "b", "b"}, {"a", "b", "a", "b"}, {"a", "b", "b", "b"}}) {
    topologies.push_back(*topology::from_hosts(hosts));
  }
  topologies.push_back(topologies[1]);
  topologies.back().across.latency_ns = 1'000'000;
  std::map<uint64_t, uint64_t> content;  // of the whole plan, by what a rank can tell
  size_t one_shape_other_steps = 0;
  std::map<std::string, uint64_t> by_shape;
  for (const auto& algorithm : algorithms::all()) {
    for (const topology::Topology& topology : topologies) {
      if (!algorithm.applies(topology)) continue;
      for (const uint32_t root : {0u, 3u}) {
        for (const uint64_t bytes : {uint64_t{64}, uint64_t{1} << 16, uint64_t{1} << 26}) {
          const algorithms::Request request{&topology, root, bytes};
          Plan plan = *algorithms::make_plan(algorithm, request);
          const uint64_t hash = algorithms::hash_of(algorithm, request, plan.shape);
          const uint64_t whole = hash_of(plan);
          const auto [found, fresh] = content.try_emplace(hash, whole);
          EXPECT_EQ(found->second, whole) << algorithm.name << " " << root << " " << bytes;
          const Plan shape{plan.shape, std::vector<plan::Part>(plan.parts.size())};
          one_shape_other_steps += by_shape.try_emplace(plan::to_json(shape), whole).first->second != whole;
        }
      }
    }
  }
  EXPECT_GT(one_shape_other_steps, 0u) << "shapes alone would have told all of them apart";
}

}  // namespace
}  // namespace comity::test
