// Every algorithm's plan is proved, for every number of ranks and for placements on several hosts.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "algorithms/algorithm.h"
#include "src/plan/fold_depth.h"
#include "src/plan/plan.h"
#include "src/plan/verify.h"
#include "topology/topology.h"

namespace comity::algorithms {
namespace {

topology::Topology one_host_with_reach(uint32_t ranks) {
  topology::Topology topology = topology::one_host(ranks);
  topology.inside.direct = true;
  return topology;
}

topology::Topology placed(std::vector<uint32_t> group_of_rank) {
  topology::Topology topology;
  topology.group_of_rank = std::move(group_of_rank);
  topology.across.latency_ns = 20'000;
  return topology;
}

std::string where(const plan::Violation& violation) {
  return violation.rule + " at rank " + std::to_string(violation.rank) + " lane " +
         std::to_string(violation.lane) + " step " + std::to_string(violation.step) + ": " +
         violation.message;
}

// What follows the plan's data finds its marks right and no more roundings than the algorithm states,
// groups whole (a provider rounds once) and by their definitions.
void expect_stated_roundings(const Algorithm& algorithm, const Request& request, const plan::Plan& plan) {
  if (!is_reduction(algorithm.collective)) {
    EXPECT_EQ(algorithm.roundings, nullptr) << algorithm.name;
    return;
  }
  ASSERT_NE(algorithm.roundings, nullptr) << algorithm.name;
  for (const bool groups_whole : {true, false}) {
    const plan::FoldDepths depths = plan::fold_depths(plan, groups_whole);
    const std::string what = std::string(name_of(algorithm.collective)) + ":" + std::string(algorithm.name) +
                             " of " + std::to_string(request.topology->nranks()) + " ranks";
    EXPECT_TRUE(depths.marks.ok) << what << ": " << where(depths.marks.violation);
    if (!request.narrow) continue;
    const uint32_t stated = algorithm.roundings(request);
    EXPECT_LE(depths.deepest, stated) << what;
    // A tree of ranks that do not fill it is less deep.
    if (algorithm.name != "double_binary_tree") {
      EXPECT_EQ(depths.deepest, stated) << what;
    }
  }
}

// Proves one plan; false (and a failure on record) if it does not hold.
bool expect_proved(const Algorithm& algorithm, const Request& request) {
  const auto made = make_plan(algorithm, request);
  EXPECT_TRUE(made.ok()) << made.status().message();
  if (!made.ok()) return false;
  EXPECT_EQ(made->shape.placement, plan::Placement::kBoth);
  const plan::VerifyResult proof = plan::verify(*made);
  EXPECT_TRUE(proof.ok) << name_of(algorithm.collective) << ":" << algorithm.name << " of "
                        << request.topology->nranks() << " ranks, root " << request.root << ", block "
                        << request.block_bytes << ": " << where(proof.violation);
  for (const plan::Part& part : made->parts) EXPECT_TRUE(plan::check_part(made->shape, part).ok);
  expect_stated_roundings(algorithm, request, *made);
  return proof.ok;
}

// Short blocks, and long ones that take other lanes, chunks and windows.
constexpr uint64_t kBlocks[] = {64, 64 << 20};

class AlgorithmsAreProved : public testing::TestWithParam<uint32_t> {};

TEST_P(AlgorithmsAreProved, OnOneHost) {
  const topology::Topology topology = one_host_with_reach(GetParam());
  int proved = 0;
  for (const Algorithm& algorithm : all()) {
    if (!algorithm.applies(topology)) continue;
    for (uint64_t block : kBlocks) {
      for (const bool rounds : {false, true})
        proved += expect_proved(algorithm, {&topology, 0, block, nullptr, rounds}) ? 1 : 0;
    }
  }
  EXPECT_EQ(proved, 26 * 2 * 2);  // all but the hierarchical one, which needs two hosts
}

TEST_P(AlgorithmsAreProved, ForOtherRoots) {
  const topology::Topology topology = one_host_with_reach(GetParam());
  const uint32_t ranks = GetParam();
  for (const Algorithm& algorithm : all()) {
    if (algorithm.collective != Collective::kBroadcast && algorithm.collective != Collective::kReduce)
      continue;
    for (uint32_t root : {ranks - 1, ranks / 2})
      expect_proved(algorithm, {&topology, root, 4096, nullptr, true});
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, AlgorithmsAreProved,
                         testing::Values(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 31, 32,
                                         33, 64));

TEST(HierarchicalIsProved, OnEqualAndUnequalHostsHoweverPlaced) {
  const std::vector<std::vector<uint32_t>> placements = {
      {0, 0, 1, 1},
      {0, 1, 0, 1},
      {0, 0, 0, 1, 1},
      {0, 0, 0, 1},
      {0, 0, 0, 1, 1, 2, 2, 2},
      {0, 1, 1, 2, 2, 2, 3, 3, 3, 3},
      {0, 1, 2, 3, 3},
      {0, 1, 2, 1, 0, 3, 2, 1, 1, 4, 4, 0},
      {0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2},
      {0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6},
  };
  const Algorithm* hierarchical = find(Collective::kAllReduce, "hierarchical");
  ASSERT_NE(hierarchical, nullptr);
  for (const auto& placement : placements) {
    const topology::Topology topology = placed(placement);
    for (uint64_t block : kBlocks) {
      for (const bool rounds : {false, true})
        expect_proved(*hierarchical, {&topology, 0, block, nullptr, rounds});
    }
  }
}

TEST(HierarchicalIsProved, UpToSixteenHostsOfUnequalSize) {
  const Algorithm* hierarchical = find(Collective::kAllReduce, "hierarchical");
  ASSERT_NE(hierarchical, nullptr);
  for (uint32_t hosts = 2; hosts <= 16; ++hosts) {
    std::vector<uint32_t> group_of_rank;
    for (uint32_t host = 0; host < hosts; ++host)
      group_of_rank.insert(group_of_rank.end(), 1 + (host * 5 + hosts) % 4, host);
    group_of_rank.push_back(hosts - 1);
    const topology::Topology topology = placed(group_of_rank);
    ASSERT_TRUE(hierarchical->applies(topology));
    for (uint64_t block : kBlocks) {
      for (const bool rounds : {false, true})
        expect_proved(*hierarchical, {&topology, 0, block, nullptr, rounds});
    }
  }
}

TEST(HierarchicalApplies, OnlyWhereThereAreHostsToCrossAndRanksToShareThem) {
  const Algorithm* hierarchical = find(Collective::kAllReduce, "hierarchical");
  ASSERT_NE(hierarchical, nullptr);
  EXPECT_FALSE(hierarchical->applies(placed({0, 0, 0})));
  EXPECT_FALSE(hierarchical->applies(placed({0, 1, 2})));
  EXPECT_TRUE(hierarchical->applies(placed({0, 1, 1})));
}

}  // namespace
}  // namespace comity::algorithms
