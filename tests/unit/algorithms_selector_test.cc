#include "algorithms/selector.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "src/plan/plan.h"

namespace comity::algorithms {
namespace {

constexpr Collective kCollectives[] = {
    Collective::kAllReduce, Collective::kReduce,        Collective::kBroadcast,
    Collective::kAllGather, Collective::kReduceScatter, Collective::kBarrier,
    Collective::kAllToAll,  Collective::kGather,        Collective::kScatter};

// A cluster of hosts with shared memory inside and 10 Gbit/s sockets across.
topology::Topology cluster(uint32_t hosts, uint32_t ranks_per_host, bool direct = false) {
  topology::Topology topology;
  for (uint32_t rank = 0; rank < hosts * ranks_per_host; ++rank)
    topology.group_of_rank.push_back(rank / ranks_per_host);
  topology.inside = {300, 8'000'000'000, 1, direct, "shm"};
  topology.across = {20'000, 1'250'000'000, 1, false, "tcp"};
  return topology;
}

Selection select(const topology::Topology& topology, std::string_view forced = "") {
  auto made = Selection::make(topology, forced);
  EXPECT_TRUE(made.ok()) << made.status().message();
  return std::move(made).value();
}

std::string refusal(const topology::Topology& topology, std::string_view forced) {
  const auto made = Selection::make(topology, forced);
  EXPECT_FALSE(made.ok()) << forced;
  EXPECT_EQ(made.status().code(), Code::kInvalidArgument);
  return std::string(made.status().message());
}

std::string_view picked(const Selection& selection, Collective collective, uint64_t bytes) {
  return selection.pick(collective, bytes).algorithm->name;
}

TEST(Selector, RangesCoverEveryLengthWithoutGapsOrOverlaps) {
  for (const auto& topology :
       {cluster(1, 1), cluster(1, 2), cluster(1, 7, true), cluster(3, 4), cluster(64, 1)}) {
    const Selection selection = select(topology);
    for (Collective collective : kCollectives) {
      uint64_t expected = 0;
      for (const Range& range : selection.ranges(collective)) {
        EXPECT_EQ(range.min_bytes, expected);
        ASSERT_NE(range.algorithm, nullptr);
        EXPECT_EQ(range.algorithm->collective, collective);
        EXPECT_FALSE(range.why.empty());
        for (uint64_t bytes :
             {range.min_bytes, range.min_bytes + (range.max_bytes - range.min_bytes) / 2, range.max_bytes}) {
          EXPECT_EQ(&selection.pick(collective, bytes), &range);
        }
        expected = range.max_bytes + 1;
      }
      EXPECT_EQ(expected, 0u) << "the last range must end at 2^64 - 1";
    }
  }
}

TEST(Selector, OneShapeServesAWholeRange) {
  const topology::Topology topology = cluster(2, 4);
  const Selection selection = select(topology);
  for (Collective collective : kCollectives) {
    for (const Range& range : selection.ranges(collective)) {
      const plan::Shape shape = range.algorithm->shape({&topology, 0, range.min_bytes});
      for (uint64_t bytes = std::max<uint64_t>(range.min_bytes, 1); bytes != 0 && bytes <= range.max_bytes;
           bytes *= 2) {
        EXPECT_EQ(range.algorithm->shape({&topology, 0, bytes}), shape)
            << range.algorithm->name << " at " << bytes;
      }
    }
  }
}

TEST(Selector, PicksTheCheapestOfAllThatApply) {
  const topology::Topology topology = cluster(3, 5);
  const Selection selection = select(topology);
  for (uint64_t bytes = 8; bytes <= (uint64_t{1} << 40); bytes *= 2) {
    for (Collective collective : kCollectives) {
      const Request request{&topology, 0, bytes};
      const uint64_t cost_ns = selection.pick(collective, bytes).algorithm->cost_ns(request);
      for (const Algorithm& algorithm : all()) {
        if (algorithm.collective != collective || algorithm.for_narrow || algorithm.for_balanced ||
            !algorithm.applies(topology))
          continue;
        EXPECT_LE(cost_ns, algorithm.cost_ns(request)) << algorithm.name << " at " << bytes;
      }
    }
  }
}

TEST(Selector, EqualTopologiesGiveEqualSelections) {
  EXPECT_EQ(select(cluster(4, 3)).describe(), select(cluster(4, 3)).describe());
  topology::Topology slower = cluster(4, 3);
  slower.across.bandwidth_bytes_per_s /= 8;
  EXPECT_NE(select(slower).describe(), select(cluster(4, 3)).describe());
}

TEST(Selector, ShortBlocksTakeTheLeastLatencyAndLongOnesTheLeastBytes) {
  const Selection two = select(cluster(1, 2));
  EXPECT_EQ(picked(two, Collective::kAllReduce, 8), "direct");
  const Selection many = select(cluster(64, 1));
  EXPECT_EQ(picked(many, Collective::kAllReduce, 8), "recursive_doubling");
  EXPECT_EQ(picked(many, Collective::kBroadcast, 8), "binomial");
  EXPECT_EQ(picked(many, Collective::kReduce, 8), "binomial");
  EXPECT_EQ(picked(many, Collective::kBroadcast, 256 << 20), "chain");
  EXPECT_EQ(picked(many, Collective::kReduce, 256 << 20), "chain");
  const std::set<std::string_view> least_bytes = {"ring", "two_shot", "halving_doubling"};
  for (const auto& selection : {two, many, select(cluster(1, 7))}) {
    EXPECT_TRUE(least_bytes.contains(picked(selection, Collective::kAllReduce, 256 << 20)))
        << picked(selection, Collective::kAllReduce, 256 << 20);
  }
}

TEST(Selector, HostsWithSeveralRanksReduceLongBlocksHierarchically) {
  for (uint32_t hosts : {2u, 3u, 8u}) {
    EXPECT_EQ(picked(select(cluster(hosts, 4)), Collective::kAllReduce, 64 << 20), "hierarchical") << hosts;
  }
}

TEST(Selector, ShortBlocksCrossBetweenHostsOnce) {
  // One crossing at the shortest: doubling over two aligned hosts, with only the last round across.
  EXPECT_EQ(picked(select(cluster(2, 2)), Collective::kAllReduce, 8), "recursive_doubling");
}

TEST(Selector, RanksThatReachEachOthersMemoryFormAGroup) {
  const Selection selection = select(cluster(1, 4, true));
  for (Collective collective : kCollectives) {
    if (find(collective, "group") == nullptr) continue;
    for (uint64_t bytes : {8, 4096, 64 << 20}) EXPECT_EQ(picked(selection, collective, bytes), "group");
  }
}

TEST(Selector, AForcedAlgorithmIsTheOnlyOneForItsCollective) {
  const Selection selection = select(cluster(2, 2, true), " all_reduce : ring , broadcast:chain,");
  for (uint64_t bytes : {uint64_t{0}, uint64_t{8}, uint64_t{1} << 30, UINT64_MAX}) {
    EXPECT_EQ(picked(selection, Collective::kAllReduce, bytes), "ring");
    EXPECT_EQ(picked(selection, Collective::kBroadcast, bytes), "chain");
  }
  EXPECT_NE(selection.pick(Collective::kAllReduce, 8).why.find("forced by COMITY_ALGO"), std::string::npos);
  EXPECT_EQ(selection.pick(Collective::kReduce, 8).why.find("forced"), std::string::npos);
}

TEST(Selector, EveryAlgorithmThatAppliesCanBeForced) {
  const topology::Topology topology = cluster(1, 4, true);
  for (const Algorithm& algorithm : all()) {
    if (!algorithm.applies(topology)) continue;
    const std::string text = std::string(name_of(algorithm.collective)) + ":" + std::string(algorithm.name);
    EXPECT_EQ(picked(select(topology, text), algorithm.collective, 4096), algorithm.name);
  }
}

TEST(Selector, AMistakeInTheForcedTextIsNamedWithWhatThereIs) {
  const topology::Topology topology = cluster(1, 4);
  std::string message = refusal(topology, "allreduce:ring");
  EXPECT_NE(message.find("'allreduce'"), std::string::npos) << message;
  EXPECT_NE(message.find("all_reduce, reduce, broadcast"), std::string::npos) << message;
  message = refusal(topology, "all_reduce:rings");
  EXPECT_NE(message.find("'rings'"), std::string::npos) << message;
  EXPECT_NE(message.find("ring, two_shot, recursive_doubling"), std::string::npos) << message;
  message = refusal(topology, "all_reduce:hierarchical");
  EXPECT_NE(message.find("4 ranks in 1 groups"), std::string::npos) << message;
  message = refusal(topology, "all_reduce:group");
  EXPECT_NE(message.find("does not apply"), std::string::npos) << message;
  message = refusal(topology, "ring");
  EXPECT_NE(message.find("collective:algorithm"), std::string::npos) << message;
  message = refusal(topology, "all_reduce:ring,all_reduce:direct");
  EXPECT_NE(message.find("again"), std::string::npos) << message;
  refusal(topology, ":");
  refusal(topology, "all_reduce:");
}

constexpr Collective kReductions[] = {Collective::kAllReduce, Collective::kReduce,
                                      Collective::kReduceScatter};
constexpr Partials kRounded[] = {Partials::kRounded16, Partials::kRounded8};

TEST(Selector, RoundsPartialResultsOncePerLevelAndNotAtAllWhereBytesCostNothing) {
  for (uint32_t hosts : {1u, 2u, 3u, 8u, 64u, 100u}) {
    for (uint32_t ranks : {1u, 2u, 5u, 16u}) {
      const topology::Topology topology = cluster(hosts, ranks);
      const Selection selection = select(topology);
      const uint32_t across = hosts == 1 ? 0 : hosts <= 64 ? 1 : 7;
      EXPECT_EQ(roundings_allowed(topology), across + (ranks > 1 ? 1 : 0));
      for (const Collective collective : kReductions) {
        for (const Partials partials : kRounded) {
          for (const Range& range : selection.ranges(collective, partials))
            EXPECT_LE(range.roundings, std::max(1u, roundings_allowed(topology))) << range.algorithm->name;
          EXPECT_LE(selection.pick(collective, 8, partials).roundings, 1u) << hosts << " x " << ranks;
        }
        for (const Range& range : selection.ranges(collective)) {
          EXPECT_EQ(range.roundings, 0u);
          EXPECT_FALSE(range.in_fp32);
        }
      }
    }
  }
}

TEST(Selector, InFp32NothingIsRoundedTwiceForcedOrNot) {
  const topology::Topology topology = cluster(3, 4);
  for (const char* forced : {"", "all_reduce:ring,reduce:chain,reduce_scatter:halving"}) {
    const auto made = Selection::make(topology, forced, {.accumulate = Accumulate::kFp32});
    ASSERT_TRUE(made.ok());
    for (const Collective collective : kReductions) {
      for (const Partials partials : kRounded) {
        for (const Range& range : made->ranges(collective, partials)) {
          EXPECT_EQ(range.roundings, 1u) << range.algorithm->name;
          if (*forced != '\0') {
            EXPECT_TRUE(range.in_fp32) << range.algorithm->name;
          }
        }
      }
    }
  }
  const Selection ring = select(topology, "all_reduce:ring");
  const Range& native = ring.pick(Collective::kAllReduce, 8, Partials::kRounded16);
  EXPECT_EQ(native.roundings, 11u);
  EXPECT_FALSE(native.in_fp32);
}

TEST(Selector, TheSettingOfAccumulationIsFp32OrNothing) {
  EXPECT_EQ(accumulate_named("").value(), Accumulate::kByLevel);
  EXPECT_EQ(accumulate_named("fp32").value(), Accumulate::kFp32);
  const auto refused = accumulate_named("fp64");
  EXPECT_EQ(refused.status().code(), Code::kInvalidArgument);
  EXPECT_NE(refused.status().message().find("COMITY_ACCUMULATE=\"fp64\""), std::string_view::npos);
}

constexpr Collective kVarying[] = {Collective::kAllGatherV, Collective::kReduceScatterV,
                                   Collective::kAllToAllV, Collective::kGatherV, Collective::kScatterV};

TEST(Selector, VVariantsArePlannedByWhatServesAnyLengths) {
  for (const auto& topology : {cluster(1, 1), cluster(1, 7, true), cluster(3, 4), cluster(64, 1)}) {
    const Selection selection = select(topology);
    for (const Collective collective : kVarying) {
      for (uint64_t bytes = 1; bytes != 0; bytes *= 2) {
        const Range& range = selection.pick(collective, bytes);
        EXPECT_EQ(range.algorithm->collective, planned_as(collective));
        EXPECT_TRUE(range.algorithm->shape({&topology, 0, bytes}).any_lengths) << range.algorithm->name;
      }
    }
  }
}

TEST(Selector, AVVariantWhoseLengthsNotEveryRankIsGivenHasOnePlan) {
  const Selection selection = select(cluster(3, 4));
  for (const Collective collective : {Collective::kAllToAllV, Collective::kGatherV, Collective::kScatterV}) {
    EXPECT_EQ(selection.ranges(collective).size(), 1u) << name_of(collective);
    EXPECT_EQ(&selection.pick(collective, 0), &selection.pick(collective, UINT64_MAX));
  }
}

TEST(Selector, AVVariantIsForcedByItsOwnName) {
  const Selection selection =
      select(cluster(2, 2), "all_gather:bruck,all_gather_v:direct,all_to_all_v:pairwise");
  EXPECT_EQ(picked(selection, Collective::kAllGather, 4096), "bruck");
  EXPECT_EQ(picked(selection, Collective::kAllGatherV, 4096), "direct");
  EXPECT_EQ(picked(selection, Collective::kAllToAllV, 4096), "pairwise");
  const std::string message = refusal(cluster(2, 2), "all_gather_v:bruck");
  EXPECT_NE(message.find("does not serve blocks of different lengths"), std::string::npos) << message;
}

TEST(Selector, TheSameBitsAreGivenByTheBalancedTreeInFp32Alone) {
  for (const auto& topology : {cluster(1, 1), cluster(1, 2, true), cluster(1, 7, true), cluster(3, 4),
                               cluster(64, 1), cluster(5, 41)}) {
    const auto made = Selection::make(topology, "", {.deterministic = true});
    ASSERT_TRUE(made.ok()) << made.status().message();
    for (const Collective collective : {Collective::kAllReduce, Collective::kReduce,
                                        Collective::kReduceScatter, Collective::kReduceScatterV}) {
      for (const Partials partials : {Partials::kExact, Partials::kRounded16, Partials::kRounded8}) {
        for (const Range& range : made->ranges(collective, partials)) {
          ASSERT_NE(range.algorithm->balanced, nullptr) << range.algorithm->name;
          EXPECT_TRUE(range.algorithm->balanced(topology)) << range.algorithm->name;
          EXPECT_EQ(range.in_fp32, partials != Partials::kExact) << range.algorithm->name;
        }
      }
    }
    EXPECT_NE(made->describe(), select(topology).describe());
  }
}

TEST(Selector, TheSameBitsForALongBlockTakeTheLeastBytesAndForAShortOneFewSteps) {
  const auto made = Selection::make(cluster(64, 1), "", {.deterministic = true});
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(picked(*made, Collective::kAllReduce, 64 << 20), "balanced_two_shot");
  EXPECT_EQ(picked(*made, Collective::kReduce, 64 << 20), "balanced_two_shot");
  EXPECT_EQ(picked(*made, Collective::kAllReduce, 8), "recursive_doubling");
  EXPECT_EQ(picked(*made, Collective::kReduce, 8), "balanced_tree");
}

TEST(Selector, AForcedAlgorithmThatCannotGiveTheSameBitsIsRefused) {
  const auto made = Selection::make(cluster(1, 5), "all_reduce:ring", {.deterministic = true});
  ASSERT_FALSE(made.ok());
  EXPECT_NE(made.status().message().find("COMITY_DETERMINISTIC"), std::string_view::npos)
      << made.status().message();
  EXPECT_TRUE(
      Selection::make(cluster(1, 5), "all_reduce:binomial_tree,all_gather:ring", {.deterministic = true})
          .ok());
}

TEST(Selector, PlansHaveNoMoreLanesThanAreAllowed) {
  for (const auto& topology : {cluster(1, 7), cluster(3, 4), cluster(64, 1)}) {
    for (const uint32_t most : {1u, 2u, 3u}) {
      const auto made = Selection::make(topology, "", {.max_lanes = most});
      ASSERT_TRUE(made.ok()) << made.status().message();
      for (const Collective collective : kCollectives) {
        for (const Range& range : made->ranges(collective)) {
          const Request request = request_for(range, topology, Partials::kExact, 0, range.min_bytes);
          const plan::Part part = range.algorithm->part(request, range.algorithm->shape(request), 0);
          EXPECT_LE(part.lanes.size(), most) << range.algorithm->name;
        }
      }
    }
  }
  const auto refused = Selection::make(cluster(3, 4), "all_reduce:hierarchical", {.max_lanes = 2});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("COMITY_MAX_LANES"), std::string_view::npos);
}

TEST(Selector, EveryAlgorithmKeepsTheLanesThatItIsAllowed) {
  for (const auto& topology : {cluster(1, 7), cluster(3, 4)}) {
    for (const Algorithm& algorithm : all()) {
      if (!algorithm.applies(topology)) continue;
      Request request{&topology, 0, 64 << 20};
      request.max_lanes = algorithm.least_lanes;
      const plan::Part part = algorithm.part(request, algorithm.shape(request), 0);
      EXPECT_LE(part.lanes.size(), algorithm.least_lanes) << algorithm.name;
    }
  }
}

TEST(Selector, RefusesATopologyWithoutRanks) {
  EXPECT_FALSE(Selection::make(topology::Topology{}, "").ok());
}

TEST(Registry, NamesAreUniqueAndFound) {
  std::set<std::string> seen;
  for (const Algorithm& algorithm : all()) {
    const std::string key = std::string(name_of(algorithm.collective)) + ":" + std::string(algorithm.name);
    EXPECT_TRUE(seen.insert(key).second) << key;
    EXPECT_EQ(find(algorithm.collective, algorithm.name), &algorithm);
    EXPECT_FALSE(algorithm.summary.empty());
  }
  EXPECT_EQ(seen.size(), 43u);
  EXPECT_EQ(find(Collective::kBarrier, "ring"), nullptr);
  EXPECT_EQ(names_of(Collective::kBarrier), "dissemination, group");
}

TEST(Registry, RefusesARootOrAnAlgorithmThatDoesNotFit) {
  const topology::Topology topology = cluster(1, 3);
  EXPECT_FALSE(make_plan(*find(Collective::kBroadcast, "chain"), {&topology, 3, 64}).ok());
  EXPECT_FALSE(make_plan(*find(Collective::kAllReduce, "hierarchical"), {&topology, 0, 64}).ok());
  const topology::Topology none;
  EXPECT_FALSE(make_plan(*find(Collective::kAllReduce, "ring"), {&none, 0, 64}).ok());
}

}  // namespace
}  // namespace comity::algorithms
