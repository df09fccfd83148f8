// Properties of every algorithm's plans: they do not grow with the count, parts are generated alone, prices
// are finite, and damage to them is found exactly when some order of events breaks them.

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <utility>

#include "algorithms/algorithm.h"
#include "src/plan/cost.h"
#include "src/plan/json.h"
#include "src/plan/print.h"
#include "src/plan/verify.h"
#include "tests/support/brute_force.h"
#include "tests/support/effort.h"
#include "tests/support/mutate.h"
#include "topology/topology.h"

namespace comity::test {
namespace {

using algorithms::Algorithm;
using algorithms::Request;
using topology::Topology;

Topology hosts(const std::vector<uint32_t>& ranks_of_host) {
  std::vector<std::string> names;
  for (size_t host = 0; host < ranks_of_host.size(); ++host) {
    names.insert(names.end(), ranks_of_host[host], fmt::format("host {}", host));
  }
  Topology topology = *topology::from_hosts(names);
  topology.inside.direct = true;
  topology.across.latency_ns = 20'000;
  return topology;
}

// One host; two equal ones; unequal ones.
std::vector<Topology> topologies(uint32_t ranks) {
  std::vector<Topology> all = {hosts({ranks})};
  if (ranks % 2 == 0) all.push_back(hosts({ranks / 2, ranks / 2}));
  if (ranks >= 3) all.push_back(hosts({ranks - 1, 1}));
  if (ranks >= 5) all.push_back(hosts({1, ranks - 4, 3}));
  return all;
}

std::vector<uint32_t> roots(const Algorithm& algorithm, uint32_t ranks) {
  const bool rooted = is_rooted(algorithm.collective);
  if (!rooted || ranks == 1) return {0};
  if (ranks == 2) return {0, 1};
  return {0, ranks / 2, ranks - 1};
}

// Calls each(algorithm, request) for all that apply, of two sizes.
template <typename Each>
void for_all(uint32_t ranks, Each each) {
  std::vector<Topology> all = topologies(ranks);
  constexpr uint32_t kMany = 31;  // instrumented, these few take what all others take together
  if (kInstrumented && ranks >= kMany && !full_effort()) all.resize(1);
  for (const Topology& topology : all) {
    for (const Algorithm& algorithm : algorithms::all()) {
      if (!algorithm.applies(topology)) continue;
      for (const uint32_t root : roots(algorithm, ranks)) {
        for (const uint64_t block : {uint64_t{1} << 10, uint64_t{1} << 40}) {
          each(algorithm, Request{&topology, root, block});
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

std::string name(const Algorithm& algorithm, const Request& request) {
  return fmt::format("{}:{}, {} ranks on {} hosts, root {}, {} bytes", name_of(algorithm.collective),
                     algorithm.name, request.topology->nranks(), request.topology->ngroups(), request.root,
                     request.block_bytes);
}

class Algorithms : public ::testing::TestWithParam<uint32_t> {};

TEST_P(Algorithms, AreProvedOnEveryTopologyForEveryRoot) {
  int proved = 0;
  for_all(GetParam(), [&](const Algorithm& algorithm, const Request& request) {
    const auto plan = algorithms::make_plan(algorithm, request);
    ASSERT_TRUE(plan.ok()) << name(algorithm, request) << ": " << plan.status().message();
    const plan::VerifyResult verdict = plan::verify(*plan);
    EXPECT_TRUE(verdict.ok) << name(algorithm, request) << ": " << verdict.violation.rule << ", "
                            << verdict.violation.message;
    ++proved;
  });
  EXPECT_GE(proved, 2 * 24);
}

TEST_P(Algorithms, GenerateEachPartAlone) {
  for_all(GetParam(), [&](const Algorithm& algorithm, const Request& request) {
    const auto plan = algorithms::make_plan(algorithm, request);
    ASSERT_TRUE(plan.ok());
    ASSERT_EQ(algorithm.shape(request), plan->shape) << name(algorithm, request);
    for (uint32_t rank = 0; rank < request.topology->nranks(); ++rank) {
      ASSERT_EQ(algorithm.part(request, plan->shape, rank), plan->parts[rank]) << name(algorithm, request);
    }
  });
}

class PricedAlgorithms : public ::testing::TestWithParam<uint32_t> {};

TEST_P(PricedAlgorithms, HaveAFinitePriceThatGrowsWithTheCount) {
  for_all(GetParam(), [&](const Algorithm& algorithm, const Request& request) {
    const auto plan = algorithms::make_plan(algorithm, request);
    ASSERT_TRUE(plan.ok());
    plan::CostInput input;
    input.path = [&request](uint32_t from, uint32_t to) {
      const topology::Path& path = request.topology->path(from, to);
      return plan::PathFigures{path.latency_ns, path.bandwidth_bytes_per_s};
    };
    input.reduce_bytes_per_s = request.topology->reduce_bytes_per_s;
    input.copy_bytes_per_s = request.topology->reduce_bytes_per_s;
    uint64_t before = 0;
    for (const uint64_t block : {uint64_t{1}, uint64_t{1} << 16, uint64_t{1} << 26, uint64_t{1} << 40}) {
      input.block_bytes = block;
      const auto cost = plan::price(*plan, input);
      ASSERT_TRUE(cost.ok()) << name(algorithm, request) << ": " << cost.status().message();
      if (request.topology->nranks() > 1) {
        ASSERT_GT(cost->time_ns, 0u) << name(algorithm, request);
      }
      ASSERT_LT(cost->time_ns, uint64_t{1} << 60) << name(algorithm, request);
      ASSERT_GE(cost->time_ns, before) << name(algorithm, request) << " priced at " << block;
      before = cost->time_ns;
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, Algorithms,
                         ::testing::Values(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 31, 32,
                                           33, 64));

INSTANTIATE_TEST_SUITE_P(Ranks, PricedAlgorithms, ::testing::Values(1, 2, 3, 4, 5, 7, 8, 13, 16));

uint64_t steps_of(const plan::Part& part) {
  uint64_t steps = 0;
  for (const plan::Lane& lane : plan::expand(part).lanes) steps += lane.steps.size();
  return steps;
}

// What a binding allocates, at most, in tiles of at most the block.
uint64_t scratch_bytes(const plan::Shape& shape, uint64_t block) {
  return uint64_t{shape.scratch_slots} * shape.window * std::min(shape.tile_bytes, block);
}

TEST(PlansAndScratch, DoNotGrowWithTheCount) {
  for (const uint32_t ranks : {2u, 7u, 16u}) {
    const Topology topology = hosts({ranks / 2, ranks - ranks / 2});
    for (const Algorithm& algorithm : algorithms::all()) {
      if (!algorithm.applies(topology)) continue;
      // One plan serves all counts of its size class: the longest class is as long at 1 GiB as at 1 TiB.
      const auto small = algorithms::make_plan(algorithm, {&topology, 0, uint64_t{1} << 10});
      const auto large = algorithms::make_plan(algorithm, {&topology, 0, uint64_t{1} << 30});
      const auto huge = algorithms::make_plan(algorithm, {&topology, 0, uint64_t{1} << 40});
      ASSERT_TRUE(small.ok() && large.ok() && huge.ok()) << algorithm.name;
      EXPECT_EQ(*large, *huge) << algorithm.name;
      for (uint32_t rank = 0; rank < ranks; ++rank) {
        EXPECT_LE(steps_of(huge->parts[rank]), 16 * steps_of(small->parts[rank]))
            << name_of(algorithm.collective) << ":" << algorithm.name;
      }
      EXPECT_LE(scratch_bytes(huge->shape, uint64_t{1} << 40), uint64_t{64} << 20)
          << name_of(algorithm.collective) << ":" << algorithm.name;
    }
  }
}

TEST(AlgorithmJson, RoundTrips) {
  for_all(5, [&](const Algorithm& algorithm, const Request& request) {
    const auto plan = algorithms::make_plan(algorithm, request);
    ASSERT_TRUE(plan.ok());
    const auto read = plan::plan_from_json(plan::to_json(*plan));
    ASSERT_TRUE(read.ok()) << name(algorithm, request) << ": " << read.status().message();
    EXPECT_EQ(*read, *plan);
  });
}

class AlgorithmMutants : public ::testing::TestWithParam<uint32_t> {};

TEST_P(AlgorithmMutants, AreRefusedExactlyWhenAnOrderBreaksThem) {
  int accepted = 0, refused = 0, given_up = 0;
  uint64_t seed = uint64_t{GetParam()} << 32;
  for_all(GetParam(), [&](const Algorithm& algorithm, const Request& request) {
    auto plan = algorithms::make_plan(algorithm, request);
    ASSERT_TRUE(plan.ok());
    for (plan::Part& part : plan->parts) part = plan::expand(part);
    // Brute force knows blocks of one length. What is proved for any lengths is proved for those too.
    const bool any_lengths = std::exchange(plan->shape.any_lengths, false);
    const bool barrier_alone = plan->parts.size() == 1 && algorithm.collective == Collective::kBarrier;
    if (barrier_alone) return;  // no step to damage
    for (uint64_t mutants = effort(6); mutants > 0; --mutants) {
      const Mutant mutant = mutate(*plan, ++seed);
      const plan::VerifyResult verdict = plan::verify(mutant.plan);
      const BruteForceResult truth =
          brute_force(mutant.plan, {.most_states = kInstrumented ? 3000u : 20000u});
      if (truth.gave_up) {
        ++given_up;
        continue;
      }
      ++(verdict.ok ? accepted : refused);
      ASSERT_EQ(verdict.ok, !truth.fault)
          << name(algorithm, request) << ", seed " << seed << ": " << mutant.what
          << "\nverifier: " << verdict.violation.rule << ", " << verdict.violation.message
          << "\nbrute force: " << truth.what << "\n"
          << plan::to_text(mutant.plan);
      if (!any_lengths) continue;
      plan::Plan any = mutant.plan;
      any.shape.any_lengths = true;
      ASSERT_TRUE(verdict.ok || !plan::verify(any).ok) << name(algorithm, request) << ", seed " << seed;
    }
  });
  fmt::print("{} accepted, {} refused, {} given up\n", accepted, refused, given_up);
  EXPECT_GT(accepted, 0);
  EXPECT_GT(refused, 0);
  EXPECT_LT(given_up, (accepted + refused) / 4);
}

INSTANTIATE_TEST_SUITE_P(Ranks, AlgorithmMutants, ::testing::Values(2, 3, 4));

}  // namespace
}  // namespace comity::test
