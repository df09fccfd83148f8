// Plans move the bytes and take the steps that their files and docs/algorithms.md state.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "algorithms/algorithm.h"
#include "src/plan/plan.h"

namespace comity::algorithms {
namespace {

// One tile, so long that rounding chunks to 64 bytes is lost, and divisible by every number of ranks in use.
constexpr uint64_t kTile = uint64_t{64} * 27720 * 64;

struct Counts {
  uint64_t most_sent = 0;  // bytes sent by the rank that sends most
  uint64_t all_sent = 0;   // by all ranks
  uint32_t steps = 0;      // messages on the longest chain of dependent ones
};

plan::Plan expanded(const plan::Plan& plan) {
  plan::Plan result{plan.shape, {}};
  for (const plan::Part& part : plan.parts) result.parts.push_back(plan::expand(part));
  return result;
}

// Executes one tile of the plan on paper: the depth of a step is the number of messages that had to arrive
// before it.
class Paper {
 public:
  explicit Paper(const plan::Plan& plan) : plan_(expanded(plan)) {
    plan::chunk_begins(plan_.shape, kTile, begins_);
    for (const plan::Part& part : plan_.parts) {
      next_.emplace_back(part.lanes.size(), 0);
      depth_.emplace_back(part.lanes.size());
    }
  }

  Counts run() {
    bool moved = true;
    while (moved) {
      moved = false;
      for (uint32_t rank = 0; rank < plan_.parts.size(); ++rank) {
        for (uint32_t lane = 0; lane < plan_.parts[rank].lanes.size(); ++lane) {
          while (issue(rank, lane)) moved = true;
        }
      }
    }
    for (uint32_t rank = 0; rank < plan_.parts.size(); ++rank) {
      for (uint32_t lane = 0; lane < next_[rank].size(); ++lane) {
        EXPECT_EQ(next_[rank][lane], plan_.parts[rank].lanes[lane].steps.size())
            << "rank " << rank << " is stuck";
      }
    }
    for (uint64_t sent : sent_by_) counts_.most_sent = std::max(counts_.most_sent, sent);
    return counts_;
  }

 private:
  bool issue(uint32_t rank, uint32_t lane) {
    const std::vector<plan::Step>& steps = plan_.parts[rank].lanes[lane].steps;
    const uint32_t index = next_[rank][lane];
    if (index == steps.size()) return false;
    const plan::Step& step = steps[index];
    uint32_t depth = 0;
    for (const plan::After& after : step.after) {
      if (after.step >= depth_[rank][after.lane].size()) return false;
      // That a buffer may be overwritten again is not a message to wait for.
      if (plan_.parts[rank].lanes[after.lane].steps[after.step].kind == plan::StepKind::kSend) continue;
      depth = std::max(depth, depth_[rank][after.lane][after.step]);
    }
    if (step.kind == plan::StepKind::kSend) {
      messages_[{rank, step.peer, lane}].push_back(depth);
      account(rank, step.src[0]);
    } else if (step.kind == plan::StepKind::kRecv) {
      std::vector<uint32_t>& waiting = messages_[{step.peer, rank, lane}];
      if (waiting.empty()) return false;
      depth = std::max(depth, waiting.front() + 1);
      waiting.erase(waiting.begin());
    }
    counts_.steps = std::max(counts_.steps, depth);
    depth_[rank][lane].push_back(depth);
    ++next_[rank][lane];
    return true;
  }

  void account(uint32_t rank, const plan::ChunkRun& run) {
    const uint64_t length = begins_[run.first + run.count] - begins_[run.first];
    sent_by_.resize(plan_.parts.size());
    sent_by_[rank] += length;
    counts_.all_sent += length;
  }

  struct Channel {
    uint32_t from, to, lane;
    auto operator<=>(const Channel&) const = default;
  };
  plan::Plan plan_;
  std::vector<uint64_t> begins_;
  std::vector<std::vector<uint32_t>> next_;                // by rank and lane
  std::vector<std::vector<std::vector<uint32_t>>> depth_;  // by rank, lane and step
  std::map<Channel, std::vector<uint32_t>> messages_;      // depths of those under way
  std::vector<uint64_t> sent_by_;
  Counts counts_;
};

Counts counts_of(Collective collective, const std::string& name, uint32_t ranks, uint64_t block = 4096) {
  const topology::Topology topology = topology::one_host(ranks);
  const Algorithm* algorithm = find(collective, name);
  EXPECT_NE(algorithm, nullptr) << name;
  const auto made = make_plan(*algorithm, {&topology, 0, block});
  EXPECT_TRUE(made.ok());
  return Paper(*made).run();
}

uint32_t log2_up(uint32_t n) {
  return static_cast<uint32_t>(std::bit_width(n - 1));
}

class CountsAreAsStated : public testing::TestWithParam<uint32_t> {
 protected:
  const uint32_t p = GetParam();
  const uint32_t q = std::bit_floor(p);
  const bool power = p == q;
  const uint64_t n = kTile;

  // Stated steps are rounds. Where a number of ranks is no power of two, some rounds are not on the longest
  // chain.
  void expect_steps(const Counts& counts, uint32_t stated) const {
    EXPECT_LE(counts.steps, stated);
    EXPECT_GE(counts.steps, power ? stated : stated / 2);
  }
};

TEST_P(CountsAreAsStated, AllReduceInFewSteps) {
  const Counts direct = counts_of(Collective::kAllReduce, "direct", p);
  EXPECT_EQ(direct.steps, 1u);
  EXPECT_EQ(direct.most_sent, (p - 1) * n);
  const Counts two_shot = counts_of(Collective::kAllReduce, "two_shot", p);
  EXPECT_EQ(two_shot.steps, 2u);
  EXPECT_EQ(two_shot.most_sent, 2 * (p - 1) * n / p);
  const Counts doubling = counts_of(Collective::kAllReduce, "recursive_doubling", p);
  expect_steps(doubling, log2_up(q) + (power ? 0 : 2));
  EXPECT_EQ(doubling.most_sent, log2_up(q) * n + (power ? 0 : n));
}

TEST_P(CountsAreAsStated, AllReduceWithFewBytes) {
  for (uint64_t block : {uint64_t{4096}, uint64_t{64} << 20}) {
    const Counts ring = counts_of(Collective::kAllReduce, "ring", p, block);
    EXPECT_EQ(ring.steps, 2 * (p - 1));
    EXPECT_EQ(ring.most_sent, 2 * (p - 1) * n / p);
  }
  const Counts halving = counts_of(Collective::kAllReduce, "halving_doubling", p);
  expect_steps(halving, 2 * log2_up(q) + (power ? 0 : 2));
  EXPECT_EQ(halving.most_sent, 2 * (q - 1) * n / q + (power ? 0 : n));
}

TEST_P(CountsAreAsStated, AllReduceByTrees) {
  const Counts binomial = counts_of(Collective::kAllReduce, "binomial_tree", p);
  expect_steps(binomial, 2 * log2_up(p));
  EXPECT_EQ(binomial.all_sent, 2 * (p - 1) * n);
  const Counts pair = counts_of(Collective::kAllReduce, "double_binary_tree", p);
  EXPECT_LE(pair.steps, 2 * log2_up(p));
  EXPECT_LE(pair.most_sent, 2 * n);
  EXPECT_EQ(pair.all_sent, 2 * (p - 1) * n);
}

TEST_P(CountsAreAsStated, BroadcastAndReduce) {
  for (Collective collective : {Collective::kBroadcast, Collective::kReduce}) {
    const Counts binomial = counts_of(collective, "binomial", p);
    expect_steps(binomial, log2_up(p));
    EXPECT_EQ(binomial.all_sent, (p - 1) * n);
    const Counts chain = counts_of(collective, "chain", p);
    EXPECT_EQ(chain.steps, p - 1);
    EXPECT_EQ(chain.most_sent, n);
    EXPECT_EQ(chain.all_sent, (p - 1) * n);
  }
  EXPECT_EQ(counts_of(Collective::kBroadcast, "binomial", p).most_sent, log2_up(p) * n);
}

TEST_P(CountsAreAsStated, AllGatherAndReduceScatter) {
  for (const auto& [collective, halving] :
       {std::pair{Collective::kAllGather, "bruck"}, std::pair{Collective::kReduceScatter, "halving"}}) {
    const Counts direct = counts_of(collective, "direct", p);
    EXPECT_EQ(direct.steps, 1u);
    EXPECT_EQ(direct.most_sent, (p - 1) * n);
    const Counts ring = counts_of(collective, "ring", p);
    EXPECT_EQ(ring.steps, p - 1);
    EXPECT_EQ(ring.most_sent, (p - 1) * n);
    const Counts logarithmic = counts_of(collective, halving, p);
    expect_steps(logarithmic, log2_up(p));
    EXPECT_EQ(logarithmic.most_sent, (p - 1) * n) << halving;
  }
}

TEST_P(CountsAreAsStated, AllToAll) {
  const Counts direct = counts_of(Collective::kAllToAll, "direct", p);
  EXPECT_EQ(direct.steps, 1u);
  EXPECT_EQ(direct.most_sent, (p - 1) * n);
  const Counts pairwise = counts_of(Collective::kAllToAll, "pairwise", p);
  EXPECT_EQ(pairwise.steps, p - 1);
  EXPECT_EQ(pairwise.most_sent, (p - 1) * n);
  const Counts bruck = counts_of(Collective::kAllToAll, "bruck", p);
  expect_steps(bruck, log2_up(p));
  uint64_t hops = 0;
  for (uint32_t distance = 1; distance < p; ++distance)
    hops += static_cast<uint64_t>(std::popcount(distance));
  EXPECT_EQ(bruck.most_sent, hops * n);
}

TEST_P(CountsAreAsStated, GatherAndScatter) {
  for (const Collective collective : {Collective::kGather, Collective::kScatter}) {
    const Counts direct = counts_of(collective, "direct", p);
    EXPECT_EQ(direct.steps, 1u);
    EXPECT_EQ(direct.all_sent, (p - 1) * n);
    const Counts binomial = counts_of(collective, "binomial", p);
    expect_steps(binomial, log2_up(p));
    uint64_t hops = 0;  // of the block of each distance from the root
    for (uint32_t distance = 1; distance < p; ++distance)
      hops += static_cast<uint64_t>(std::popcount(distance));
    EXPECT_EQ(binomial.all_sent, hops * n);
  }
  EXPECT_EQ(counts_of(Collective::kScatter, "binomial", p).most_sent, (p - 1) * n);
}

TEST_P(CountsAreAsStated, ReductionsByTheBalancedTree) {
  EXPECT_EQ(counts_of(Collective::kAllReduce, "balanced_direct", p).steps, 1u);
  EXPECT_EQ(counts_of(Collective::kAllReduce, "balanced_direct", p).most_sent, (p - 1) * n);
  EXPECT_EQ(counts_of(Collective::kAllReduce, "balanced_two_shot", p).steps, 2u);
  EXPECT_EQ(counts_of(Collective::kAllReduce, "balanced_two_shot", p).most_sent, 2 * (p - 1) * n / p);
  EXPECT_EQ(counts_of(Collective::kReduceScatter, "balanced", p).steps, 1u);
  EXPECT_EQ(counts_of(Collective::kReduceScatter, "balanced", p).most_sent, (p - 1) * n);
  EXPECT_EQ(counts_of(Collective::kReduce, "balanced_direct", p).steps, 1u);
  EXPECT_EQ(counts_of(Collective::kReduce, "balanced_two_shot", p).steps, 2u);
  expect_steps(counts_of(Collective::kReduce, "balanced_tree", p), log2_up(p));
}

TEST_P(CountsAreAsStated, Barrier) {
  EXPECT_EQ(counts_of(Collective::kBarrier, "dissemination", p).steps, log2_up(p));
}

INSTANTIATE_TEST_SUITE_P(Ranks, CountsAreAsStated, testing::Values(2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16));

TEST(HierarchicalCounts, AHostsWayOutCarriesTheLeastPossible) {
  const Algorithm* hierarchical = find(Collective::kAllReduce, "hierarchical");
  for (const std::vector<uint32_t>& hosts :
       {std::vector<uint32_t>{0, 0, 1, 1}, {0, 0, 0, 1, 1, 1, 2, 2, 2}, {0, 0, 0, 1, 2, 2, 3, 3, 3}}) {
    topology::Topology topology;
    topology.group_of_rank = hosts;
    const uint64_t m = topology.ngroups();
    const auto made = make_plan(*hierarchical, {&topology, 0, 64 << 20});
    ASSERT_TRUE(made.ok());
    std::vector<uint64_t> begins;
    plan::chunk_begins(made->shape, kTile, begins);
    std::vector<uint64_t> out_of_host(m, 0);
    for (const plan::Part& grouped : made->parts) {
      const plan::Part part = plan::expand(grouped);
      for (const plan::Lane& lane : part.lanes) {
        for (const plan::Step& step : lane.steps) {
          if (step.kind != plan::StepKind::kSend || hosts[step.peer] == hosts[part.rank]) continue;
          out_of_host[hosts[part.rank]] +=
              begins[step.src[0].first + step.src[0].count] - begins[step.src[0].first];
        }
      }
    }
    for (uint64_t bytes : out_of_host) EXPECT_EQ(bytes, 2 * (m - 1) * kTile / m);
  }
}

TEST(Plans, DoNotGrowWithTheCount) {
  const topology::Topology topology = topology::one_host(8);
  for (const Algorithm& algorithm : all()) {
    if (!algorithm.applies(topology)) continue;
    const Request huge{&topology, 0, uint64_t{1} << 40};
    const plan::Shape shape = algorithm.shape(huge);
    const plan::Part part = algorithm.part(huge, shape, 5);
    size_t steps = 0;
    for (const plan::Lane& lane : part.lanes) steps += lane.steps.size();
    EXPECT_LE(steps, 10u * 8) << algorithm.name;
    EXPECT_LE(shape.scratch_slots * shape.window * shape.tile_bytes, uint64_t{32} << 20) << algorithm.name;
    EXPECT_EQ(shape.tile_bytes % 64, 0u);
    EXPECT_LE(shape.window, 64u);
  }
}

TEST(Costs, GrowWithTheBlockAndAreFreeForOneRank) {
  topology::Topology topology;
  topology.group_of_rank = {0, 0, 0, 1, 1, 2, 2, 2};
  const topology::Topology alone = topology::one_host(1);
  for (const Algorithm& algorithm : all()) {
    if (algorithm.applies(alone)) {
      EXPECT_EQ(algorithm.cost_ns({&alone, 0, 1 << 20}), 0u) << algorithm.name;
    }
    if (!algorithm.applies(topology) || algorithm.collective == Collective::kBarrier) continue;
    EXPECT_GT(algorithm.cost_ns({&topology, 0, 8}), 0u) << algorithm.name;
    EXPECT_GT(algorithm.cost_ns({&topology, 0, 1 << 30}), algorithm.cost_ns({&topology, 0, 1 << 10}))
        << algorithm.name;
    EXPECT_GT(algorithm.cost_ns({&topology, 0, UINT64_MAX}), 0u) << algorithm.name;
  }
}

}  // namespace
}  // namespace comity::algorithms
