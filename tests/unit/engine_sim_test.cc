// The engine over the simulated network: every collective and algorithm, host and sim device, bit for bit.
#include <gtest/gtest.h>

#include "tests/support/sim_rows.h"

namespace comity::test {
namespace {

void run_algorithm(const algorithms::Algorithm& algorithm, Device& device, uint32_t nranks,
                   const topology::Topology& topology) {
  SimWorldOptions options;
  options.nranks = nranks;
  options.seed = nranks * 31 + 7;
  options.topology = topology;
  options.devices = &registry();
  options.forced = std::string(name_of(algorithm.collective)) + ":" + std::string(algorithm.name);
  SimWorld world(options);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr uint64_t kMost = 9001;  // several segments and tiles still; the release build does the rest
#else
  constexpr uint64_t kMost = 65537;
#endif
  for (const uint64_t count : {uint64_t{0}, uint64_t{1}, uint64_t{3}, uint64_t{257}, uint64_t{5000}, kMost}) {
    for (const bool in_place : {false, true}) {
      if (in_place && algorithm.collective == Collective::kAllToAll) continue;
      for (const RedOp op : {RedOp::kSum, RedOp::kAvg}) {
        if (op == RedOp::kAvg && !is_reduction(algorithm.collective)) continue;
        Row row{algorithm.collective, DataType::kFloat32, op, nranks, nranks / 2, count, in_place};
        run_row(world, row, device);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

class EngineSim : public testing::TestWithParam<const algorithms::Algorithm*> {};

TEST_P(EngineSim, GivesExactResultsOnHostMemory) {
  for (const uint32_t nranks : {1u, 2u, 3u, 4u, 7u, 8u}) {
    const auto topology = topology::one_host(nranks);
    if (GetParam()->applies(topology)) run_algorithm(*GetParam(), registry().host(), nranks, topology);
    if (HasFatalFailure()) return;
  }
}

TEST_P(EngineSim, GivesExactResultsOnTwoHosts) {
  for (const uint32_t nranks : {2u, 3u, 5u, 8u}) {
    std::vector<std::string> hosts;
    for (uint32_t r = 0; r < nranks; ++r) hosts.push_back(r < (nranks + 1) / 2 ? "a" : "b");
    const auto topology = topology::from_hosts(hosts);
    ASSERT_TRUE(topology.ok());
    if (GetParam()->applies(*topology)) run_algorithm(*GetParam(), registry().host(), nranks, *topology);
    if (HasFatalFailure()) return;
  }
}

TEST_P(EngineSim, GivesExactResultsOnDeviceMemory) {
  Device* device = registry().find("sim");
  ASSERT_NE(device, nullptr);
  for (const uint32_t nranks : {2u, 3u, 4u}) {
    const auto topology = topology::one_host(nranks);
    if (GetParam()->applies(topology)) run_algorithm(*GetParam(), *device, nranks, topology);
    if (HasFatalFailure()) return;
  }
}

// Starts rows of all-reduce in a world with these options and checks them.
void expect_all_reduce_works(SimWorldOptions options, uint64_t count) {
  options.devices = &registry();
  SimWorld world(options);
  for (const bool in_place : {false, true}) {
    run_row(world,
            {Collective::kAllReduce, DataType::kInt32, RedOp::kSum, options.nranks, 0, count, in_place},
            registry().host());
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(EngineWorlds, SourcesKeptUntilDoneGiveTheSameResults) {
  for (const char* algorithm : {"direct", "ring", "recursive_doubling", "double_binary_tree"}) {
    SimWorldOptions options;
    options.nranks = 5;
    options.release = engine::ReleaseRule::kDone;
    options.forced = std::string("all_reduce:") + algorithm;
    expect_all_reduce_works(options, 100'003);
  }
}

TEST(EngineWorlds, SegmentsOverSeveralRailsArriveWhole) {
  SimWorldOptions options;
  options.nranks = 3;
  options.network.rails = 3;
  options.network.link.jitter_ns = 50'000;  // rails overtake each other
  options.forced = "all_reduce:ring";
  expect_all_reduce_works(options, 200'001);
}

TEST(EngineWorlds, AFasterRailCarriesMore) {
  SimWorldOptions options;
  options.nranks = 2;
  options.network.rails = 2;
  options.network.link_of = [](uint32_t, uint32_t, uint32_t rail) {
    return sim::LinkModel{1000, rail == 0 ? 4'000'000'000u : 1'000'000'000u, 0};
  };
  options.forced = "all_reduce:ring";
  options.devices = &registry();
  SimWorld world(options);
  run_row(world, {Collective::kAllReduce, DataType::kFloat32, RedOp::kSum, 2, 0, 1'000'000, false},
          registry().host());
  auto link = world.rank(0).link_to(1, 1);
  ASSERT_TRUE(link.ok());
  EXPECT_GT((*link)->segments_sent_on(0), 2 * (*link)->segments_sent_on(1));
}

TEST(EngineWorlds, TheSameSeedReplaysExactly) {
  uint64_t hashes[2] = {};
  for (uint64_t& hash : hashes) {
    SimWorldOptions options;
    options.nranks = 6;
    options.seed = 99;
    options.devices = &registry();
    SimWorld world(options);
    run_row(world, {Collective::kAllReduce, DataType::kFloat32, RedOp::kSum, 6, 0, 5000, false},
            registry().host());
    hash = world.network().trace_hash();
  }
  EXPECT_EQ(hashes[0], hashes[1]);
}

TEST(EngineWorlds, TwoHundredRanksInOneThreadFinish) {
  SimWorldOptions options;
  options.nranks = 200;
  options.forced = "all_reduce:recursive_doubling";
  expect_all_reduce_works(options, 1000);
}

TEST(EngineWorlds, RanksThatComeLateGetWhatWasSentBefore) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SimWorldOptions options;
    options.nranks = 4;
    options.seed = seed;
    options.devices = &registry();
    SimWorld world(options);
    for (const Collective collective :
         {Collective::kBroadcast, Collective::kReduce, Collective::kAllGather, Collective::kAllReduce}) {
      const Row row{collective, DataType::kInt64, RedOp::kMax, 4, static_cast<uint32_t>(seed % 4), 3001,
                    false};
      std::vector<std::unique_ptr<Buffers>> buffers;
      std::vector<engine::Call> calls;
      for (uint32_t r = 0; r < 4; ++r) {
        buffers.push_back(std::make_unique<Buffers>(row, r, registry().host()));
        calls.push_back(buffers.back()->call());
      }
      const auto shift = static_cast<uint32_t>(seed);
      const Status status = world.run(calls, {0, shift % 7 * 40, shift % 5 * 60, shift % 3 * 100});
      ASSERT_TRUE(status.ok()) << describe(row) << " seed " << seed << ": " << status.message();
      for (auto& buffer : buffers) ASSERT_EQ(buffer->wrong(), 0u) << describe(row) << " seed " << seed;
    }
  }
}

TEST(EngineWorlds, APeerThatIsACallAheadMayUseLanesNotBoundYet) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SimWorldOptions options;
    options.nranks = 3;
    options.seed = seed;
    options.devices = &registry();
    options.forced = "all_reduce:double_binary_tree,broadcast:binomial";
    SimWorld world(options);
    // The root's broadcast is over long before the others': its second call opens lanes while they are in the
    // first.
    const Row row{Collective::kBroadcast, DataType::kInt32, RedOp::kSum, 3, 0, 20'000, false};
    const Row next{Collective::kAllReduce, DataType::kInt32, RedOp::kSum, 3, 0, 20'000, false};
    std::vector<std::unique_ptr<Buffers>> first, second;
    std::vector<std::vector<engine::Call>> calls(3);
    for (uint32_t r = 0; r < 3; ++r) {
      first.push_back(std::make_unique<Buffers>(row, r, registry().host()));
      second.push_back(std::make_unique<Buffers>(next, r, registry().host()));
      calls[r] = {first.back()->call(), second.back()->call()};
    }
    const Status status = world.run_sequences(calls);
    ASSERT_TRUE(status.ok()) << "seed " << seed << ": " << status.message();
    for (auto& buffers : second) ASSERT_EQ(buffers->wrong(), 0u) << "seed " << seed;
  }
}

TEST(EngineWorlds, DifferentCallsAreAnErrorAndNotAHang) {
  SimWorldOptions options;
  options.nranks = 2;
  options.devices = &registry();
  SimWorld world(options);
  std::vector<float> a(64), b(64), c(64), d(64);
  const Status status =
      world.run({{Collective::kAllReduce, DataType::kFloat32, RedOp::kSum, 64, 0, a.data(), b.data()},
                 {Collective::kAllReduce, DataType::kFloat32, RedOp::kMax, 64, 0, c.data(), d.data()}});
  EXPECT_EQ(status.code(), Code::kInvalidUsage) << status.message();
}

TEST(EngineWorlds, ABrokenConnectionIsAnErrorThatNamesThePeer) {
  for (const uint64_t segment : {0u, 1u, 5u, 20u}) {
    SimWorldOptions options;
    options.nranks = 2;
    options.devices = &registry();
    options.forced = "all_reduce:ring";
    SimWorld world(options);
    world.network().fail_at(0, 1, 0, segment);
    std::vector<float> a(50'000), b(50'000), c(50'000), d(50'000);
    const Status status =
        world.run({{Collective::kAllReduce, DataType::kFloat32, RedOp::kSum, 50'000, 0, a.data(), b.data()},
                   {Collective::kAllReduce, DataType::kFloat32, RedOp::kSum, 50'000, 0, c.data(), d.data()}});
    EXPECT_EQ(status.code(), Code::kRemoteError) << status.message();
    EXPECT_NE(status.message().find("rank"), std::string_view::npos) << status.message();
  }
}

std::vector<const algorithms::Algorithm*> every_algorithm() {
  std::vector<const algorithms::Algorithm*> all;
  for (const auto& algorithm : algorithms::all()) all.push_back(&algorithm);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Every, EngineSim, testing::ValuesIn(every_algorithm()), [](const auto& each) {
  return std::string(name_of(each.param->collective)) + "_" + std::string(each.param->name);
});

}  // namespace
}  // namespace comity::test
