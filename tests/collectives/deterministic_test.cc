// COMITY_DETERMINISTIC: the same bits, those of the balanced tree over ranks, whatever carries a reduction
// out: over the simulated network in many orders of events, over shared memory, over sockets, and over hosts
// however ranks are placed on them; by the algorithm chosen and by each that may be forced.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cstring>

#include "src/device/registry.h"
#include "tests/collectives/balanced_rows.h"
#include "tests/support/effort.h"
#include "tests/support/ranks.h"
#include "tests/support/sim_world.h"
#include "tests/support/spawn.h"
#include "tests/support/spawned_rank.h"

namespace comity::test {
namespace {

constexpr const char* kForced[] = {"", "all_reduce:balanced_direct,reduce:balanced_direct",
                                   "all_reduce:balanced_two_shot,reduce:balanced_two_shot",
                                   "all_reduce:binomial_tree,reduce:balanced_tree"};

TEST(Deterministic, TheNumbersShowInWhichOrderTheyWereFolded) {
  for (const uint32_t nranks : {3u, 4u, 7u}) {
    for (const BalancedCase& numbers : balanced_cases(nranks)) {
      // Of products and of three ranks, whose tree is the fold from the left, less.
      const bool shows = nranks > 3 && is_floating(numbers.type) && numbers.op != RedOp::kProd;
      EXPECT_TRUE(!shows || is_narrow_float(numbers.type) || numbers.differing > numbers.elements / 50)
          << name_of(numbers.type) << " " << name_of(numbers.op) << ": " << numbers.differing;
      if (!is_floating(numbers.type)) {
        EXPECT_EQ(numbers.differing, 0u);
      }
    }
  }
}

class Simulated {
 public:
  Simulated(uint32_t nranks, uint32_t hosts, const char* forced, uint64_t seed, bool deterministic = true)
      : nranks_(nranks) {
    SimWorldOptions options;
    options.nranks = nranks;
    options.seed = seed;
    std::vector<std::string> names;
    for (uint32_t rank = 0; rank < nranks; ++rank) names.push_back(fmt::format("host {}", rank % hosts));
    options.topology = *topology::from_hosts(names);
    options.forced = forced;
    options.rules.deterministic = deterministic;
    options.network.link.jitter_ns = 20'000;
    static DeviceRegistry& registry = *DeviceRegistry::open()->release();
    options.devices = &registry;
    world_ = std::make_unique<SimWorld>(options);
  }

  // Runs the three reductions; the first that gives other bits, or "".
  std::string run(const BalancedCase& numbers) {
    const size_t size = size_of(numbers.type);
    for (const Collective collective :
         {Collective::kAllReduce, Collective::kReduce, Collective::kReduceScatter}) {
      const bool scatters = collective == Collective::kReduceScatter;
      const uint64_t whole = scatters ? numbers.elements / nranks_ : numbers.elements;
      for (const uint64_t count : {uint64_t{3}, whole}) {
        const auto root = static_cast<uint32_t>(count % nranks_);
        std::vector<std::vector<std::byte>> outputs(nranks_, std::vector<std::byte>(count * size));
        std::vector<engine::Call> calls(nranks_);
        for (uint32_t rank = 0; rank < nranks_; ++rank) {
          calls[rank].collective = collective;
          calls[rank].type = numbers.type;
          calls[rank].op = numbers.op;
          calls[rank].count = count;
          calls[rank].root = root;
          calls[rank].input = numbers.inputs[rank].data();
          calls[rank].output = outputs[rank].data();
        }
        if (const Status status = world_->run(calls); !status.ok()) return std::string(status.message());
        for (uint32_t rank = 0; rank < nranks_; ++rank) {
          if (collective == Collective::kReduce && rank != root) continue;
          const std::byte* wanted = numbers.wanted.data() + (scatters ? rank * count * size : 0);
          if (std::memcmp(outputs[rank].data(), wanted, count * size) == 0) continue;
          return fmt::format("{} of {} {} ({}) of {} ranks, rank {}", name_of(collective), count,
                             name_of(numbers.type), name_of(numbers.op), nranks_, rank);
        }
      }
    }
    return "";
  }

 private:
  uint32_t nranks_;
  std::unique_ptr<SimWorld> world_;
};

TEST(Deterministic, GivesTheTreesBitsOverTheSimulatedNetworkOnAnyTopologyByAnyAlgorithm) {
  for (const uint32_t nranks : {1u, 2u, 3u, 5u, 8u, 13u}) {
    if (nranks > (kThreadSanitized ? 2 : kInstrumented ? 5 : 13)) break;
    const std::vector<BalancedCase> cases = balanced_cases(nranks);
    for (const uint32_t hosts : {1u, 2u, 3u}) {
      if (hosts > nranks) continue;
      for (const char* forced : kForced) {
        Simulated world(nranks, hosts, forced, nranks * 7 + hosts);
        for (const BalancedCase& numbers : cases) {
          ASSERT_EQ(world.run(numbers), "") << hosts << " hosts, " << forced;
        }
      }
    }
  }
}

TEST(Deterministic, IsAskedForSinceOtherAlgorithmsGiveOtherBits) {
  const BalancedCase numbers(DataType::kFloat32, RedOp::kSum, 7, 4099);
  for (const char* forced : {"all_reduce:ring", "all_reduce:direct", "all_reduce:recursive_doubling"})
    EXPECT_NE(Simulated(7, 1, forced, 1, false).run(numbers), "") << forced;
}

class DeterministicOneHost : public testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(DeterministicOneHost, GivesTheTreesBits) {
  const auto& [transports, nranks] = GetParam();
  const ScopedEnv over("COMITY_TRANSPORTS", transports);
  const ScopedEnv same("COMITY_DETERMINISTIC", "1");
  const std::vector<BalancedCase> cases = balanced_cases(static_cast<uint32_t>(nranks));
  for (const char* forced : kForced) {
    const ScopedEnv by("COMITY_ALGO", forced);
    Ranks ranks(nranks);
    if (HasFailure()) return;
    std::vector<std::string> wrong(static_cast<size_t>(nranks));
    ranks.run([&](int rank, comityComm_t comm) {
      wrong[static_cast<size_t>(rank)] = run_balanced_rows(comm, static_cast<uint32_t>(rank), cases);
    });
    for (const std::string& each : wrong) ASSERT_EQ(each, "") << forced;
  }
}

INSTANTIATE_TEST_SUITE_P(Over, DeterministicOneHost,
                         testing::Combine(testing::Values("shm", "tcp"), testing::Values(2, 3, 7)),
                         [](const auto& each) {
                           return fmt::format("{}_p{}", std::get<0>(each.param), std::get<1>(each.param));
                         });

class DeterministicHosts : public testing::TestWithParam<const char*> {};

// A rank for each letter, which names its host.
TEST_P(DeterministicHosts, GiveTheTreesBits) {
  const std::string placement = GetParam();
  const ScopedEnv same("COMITY_DETERMINISTIC", "1");
  comityUniqueId id;
  ASSERT_EQ(comityGetUniqueId(&id), comitySuccess) << comityGetLastError(nullptr);
  const std::string hex = hex_of(id);
  std::vector<Child> children;
  for (size_t rank = 0; rank < placement.size(); ++rank) {
    const std::vector<std::string> command = {program_folder() + "comity_balanced_worker",
                                              std::to_string(rank), hex, std::to_string(placement.size())};
    children.emplace_back(command, std::vector<std::pair<std::string, std::string>>{
                                       {"COMITY_HOSTID", fmt::format("host-{}", placement[rank])}});
  }
  const Deadline deadline = Deadline::after_ms(600'000);
  for (Child& child : children) {
    const auto [status, output] = child.finish(deadline);
    EXPECT_EQ(status, 0) << placement << ": " << output;
  }
}

std::vector<const char*> placements() {
  if (kThreadSanitized) return {"abcaa"};
  return {"aabb", "abab", "abcaa"};
}

INSTANTIATE_TEST_SUITE_P(Placed, DeterministicHosts, testing::ValuesIn(placements()),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace comity::test
