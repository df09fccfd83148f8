// Every algorithm's plan is proved, for every number of ranks and for placements on several hosts.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "algorithms/algorithm.h"
#include "algorithms/catalogue.h"
#include "src/plan/balanced.h"
#include "src/plan/extents.h"
#include "src/plan/fold_depth.h"
#include "src/plan/plan.h"
#include "src/plan/verify.h"
#include "tests/support/effort.h"
#include "topology/topology.h"

namespace comity::algorithms {
namespace {

using test::kInstrumented;

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
  // An all-to-all is never in place.
  EXPECT_EQ(made->shape.placement, algorithm.collective == Collective::kAllToAll
                                       ? plan::Placement::kOutOfPlaceOnly
                                       : plan::Placement::kBoth);
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
  EXPECT_EQ(proved, 42 * 2 * 2);  // all but the hierarchical one, which needs two hosts
}

TEST_P(AlgorithmsAreProved, AsGroupsOfExchangesForEveryRoot) {
  const topology::Topology topology = one_host_with_reach(GetParam());
  const uint32_t ranks = GetParam();
  for (const Algorithm* algorithm : {&kAllToAllGroup, &kGatherGroup, &kScatterGroup}) {
    for (uint32_t root : {0u, ranks - 1, ranks / 2}) expect_proved(*algorithm, {&topology, root, 4096});
  }
}

TEST_P(AlgorithmsAreProved, ForOtherRoots) {
  const topology::Topology topology = one_host_with_reach(GetParam());
  const uint32_t ranks = GetParam();
  for (const Algorithm& algorithm : all()) {
    if (!is_rooted(algorithm.collective)) continue;
    for (uint32_t root : {ranks - 1, ranks / 2})
      expect_proved(algorithm, {&topology, root, 4096, nullptr, true});
  }
}

// A proof grows with the square of the ranks; instrumented, it is the code that is looked at, not the plans.
std::vector<uint32_t> proved_ranks() {
  if (kInstrumented) return {1, 2, 3, 4, 5, 7, 8, 9, 13};
  return {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 31, 32, 33, 64};
}

INSTANTIATE_TEST_SUITE_P(Ranks, AlgorithmsAreProved, testing::ValuesIn(proved_ranks()));

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
  const uint32_t most_hosts = kInstrumented ? 5 : 16;
  for (uint32_t hosts = 2; hosts <= most_hosts; ++hosts) {
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

// Alone on hosts, together, and mixed.
std::vector<topology::Topology> spread(uint32_t ranks) {
  std::vector<topology::Topology> all = {one_host_with_reach(ranks)};
  std::vector<uint32_t> halves, rotated;
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    halves.push_back(rank * 2 / ranks);
    rotated.push_back(rank % 3);
  }
  if (ranks > 3) all.push_back(placed(halves));
  if (ranks > 3) all.push_back(placed(rotated));
  return all;
}

class BalancedTree : public testing::TestWithParam<uint32_t> {};

TEST_P(BalancedTree, IsWhatThoseThatSaySoFoldByForEveryRootSizeAndTopology) {
  const uint32_t ranks = GetParam();
  int proved = 0;
  for (const topology::Topology& topology : spread(ranks)) {
    for (const Algorithm& algorithm : all()) {
      if (algorithm.balanced == nullptr || !algorithm.applies(topology) || !algorithm.balanced(topology))
        continue;
      for (const uint32_t root : {0u, ranks / 2, ranks - 1}) {
        if (root != 0 && !is_rooted(algorithm.collective)) continue;
        for (const uint64_t block : kBlocks) {
          const auto made = make_plan(algorithm, {&topology, root, block});
          ASSERT_TRUE(made.ok());
          const plan::VerifyResult proof = plan::verify_balanced(*made);
          EXPECT_TRUE(proof.ok) << name_of(algorithm.collective) << ":" << algorithm.name << " of " << ranks
                                << " ranks, root " << root << ": " << where(proof.violation);
          ++proved;
        }
      }
    }
  }
  EXPECT_GE(proved, 2 * (3 + 1));
}

INSTANTIATE_TEST_SUITE_P(Ranks, BalancedTree,
                         testing::Values(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 24, 31,
                                         33, 64));

TEST(BalancedTree, IsNotWhatOthersFoldBy) {
  const topology::Topology topology = one_host_with_reach(5);
  for (const Algorithm& algorithm : all()) {
    if (!is_reduction(algorithm.collective) || !algorithm.applies(topology)) continue;
    if (algorithm.balanced != nullptr && algorithm.balanced(topology)) continue;
    const auto made = make_plan(algorithm, {&topology, 1, 4096});
    ASSERT_TRUE(made.ok());
    EXPECT_EQ(plan::verify_balanced(*made).violation.rule, "tree")
        << name_of(algorithm.collective) << ":" << algorithm.name;
  }
}

TEST(BalancedTree, WithOperandsExchangedIsRefused) {
  const topology::Topology topology = topology::one_host(4);
  const auto made = make_plan(*find(Collective::kReduce, "balanced_direct"), {&topology, 0, 4096});
  ASSERT_TRUE(made.ok());
  uint32_t exchanged = 0;
  for (size_t i = 0; i < made->parts[0].lanes[0].steps.size(); ++i) {
    plan::Plan other = *made;
    plan::Step& step = other.parts[0].lanes[0].steps[i];
    if (step.kind != plan::StepKind::kReduce) continue;
    std::swap(step.src[0], step.src[1]);
    EXPECT_TRUE(plan::verify(other).ok);
    EXPECT_EQ(plan::verify_balanced(other).violation.rule, "tree");
    ++exchanged;
  }
  EXPECT_EQ(exchanged, 3u);
}

std::vector<const Algorithm*> serving_any_lengths(const topology::Topology& topology) {
  std::vector<const Algorithm*> serving;
  for (const Algorithm& algorithm : all()) {
    if (algorithm.shape({&topology, 0, 0}).any_lengths) serving.push_back(&algorithm);
  }
  return serving;
}

TEST(AnyLengths, AreServedByAtLeastOneAlgorithmOfEachCollectiveWithBlocks) {
  std::set<Collective> collectives;
  for (const Algorithm* algorithm : serving_any_lengths(topology::one_host(4)))
    collectives.insert(algorithm->collective);
  EXPECT_EQ(collectives,
            (std::set<Collective>{Collective::kAllGather, Collective::kReduceScatter, Collective::kAllToAll,
                                  Collective::kGather, Collective::kScatter}));
}

// The rule broken, of a plan whose one step has another extent; empty if it is still proved.
std::string rule_with_extent(const plan::Plan& plan, uint32_t rank, size_t index, uint32_t extent) {
  plan::Plan other = plan;
  other.parts[rank].lanes[0].steps[index].extent = extent;
  const plan::VerifyResult verdict = plan::verify(other);
  const std::string place = "rank " + std::to_string(verdict.violation.rank);
  EXPECT_TRUE(verdict.ok || verdict.violation.message.find(place) != std::string::npos);
  return verdict.violation.rule;
}

TEST(AnyLengths, AStepWithAnotherExtentIsRefused) {
  const std::set<std::string> kRules = {"extent", "match"};
  for (const uint32_t ranks : {3u, 4u}) {
    topology::Topology topology = topology::one_host(ranks);
    topology.inside.direct = true;  // `group` too
    for (const Algorithm* algorithm : serving_any_lengths(topology)) {
      const auto made = make_plan(*algorithm, {&topology, 1, 4096});
      ASSERT_TRUE(made.ok());
      for (uint32_t rank = 0; rank < ranks; ++rank) {
        const auto& steps = made->parts[rank].lanes[0].steps;
        for (size_t i = 0; i < steps.size(); ++i) {
          for (uint32_t extent = 0; extent <= plan::extents(made->shape); ++extent) {
            const auto own = plan::extent_of(made->shape, rank, steps[i]);
            if (extent == own) continue;
            EXPECT_TRUE(kRules.contains(rule_with_extent(*made, rank, i, extent)))
                << algorithm->name << " rank " << rank << " step " << i << " extent " << extent;
          }
          if (steps[i].extent == plan::kImplied) continue;
          EXPECT_EQ(rule_with_extent(*made, rank, i, plan::kImplied), "extent") << "its length is unknown";
        }
      }
    }
  }
}

TEST(AnyLengths, AreNotServedByWhatRelaysBlocks) {
  const topology::Topology topology = topology::one_host(5);
  for (const auto& [collective, name] :
       {std::pair{Collective::kAllToAll, "bruck"}, std::pair{Collective::kGather, "binomial"},
        std::pair{Collective::kScatter, "binomial"}}) {
    auto made = make_plan(*find(collective, name), {&topology, 0, 4096});
    ASSERT_TRUE(made.ok());
    EXPECT_FALSE(made->shape.any_lengths);
    made->shape.any_lengths = true;
    EXPECT_EQ(plan::verify(*made).violation.rule, "extent") << name;
  }
}

TEST(AnyLengths, AValueTakenForAnotherBlocksIsRefused) {
  // A ring whose middle rank sends on, as long as block 2, what it has of block 1.
  const topology::Topology topology = topology::one_host(4);
  auto made = make_plan(*find(Collective::kAllGather, "direct"), {&topology, 0, 4096});
  ASSERT_TRUE(made.ok());
  made->shape.scratch_slots = 1;
  plan::Step keep, back;
  keep.kind = back.kind = plan::StepKind::kCopy;
  keep.src = {{plan::Space::kInput, 0, 0, 1}};
  keep.dst = {{plan::Space::kScratch, 0, 0, 1}};
  auto& steps = made->parts[0].lanes[0].steps;
  back.src = keep.dst;
  back.dst = {{plan::Space::kOutput, 1, 0, 1}};
  back.after = {{0, static_cast<uint32_t>(steps.size()), false}};
  for (uint32_t i = 0; i < steps.size(); ++i) {
    if (steps[i].kind == plan::StepKind::kRecv && steps[i].dst[0].block == 1)
      back.after.push_back({0, i, false});
  }
  steps.push_back(keep);
  steps.push_back(back);
  const plan::VerifyResult verdict = plan::verify(*made);
  EXPECT_EQ(verdict.violation.rule, "extent") << verdict.violation.message;
  EXPECT_NE(verdict.violation.message.find("for as long as extent 1"), std::string::npos)
      << verdict.violation.message;
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
