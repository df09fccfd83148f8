// The engine over the simulated network: every collective and algorithm, host and sim device, bit for bit.
#include <gtest/gtest.h>

#include <cstring>

#include "src/device/registry.h"
#include "tests/support/pattern.h"
#include "tests/support/sim_world.h"

namespace comity::test {
namespace {

// One rank's buffers on one device, with host mirrors for filling and checking.
class Buffers {
 public:
  Buffers(const Row& row, uint32_t rank, Device& device) : row_(row), rank_(rank), device_(device) {
    const size_t size = size_of(row.type);
    input_bytes_ = input_count(row) * size;
    output_bytes_ = output_count(row) * size;
    const uint64_t most = std::max(input_bytes_, output_bytes_);
    memory_ = allocate(most + (row.in_place ? 0 : most + 64));
    input_ = memory_;
    output_ = row.in_place ? memory_ : memory_ + (most + 63) / 64 * 64;
    const uint64_t block = row.count * size;
    if (row.in_place && has_output_blocks(row.collective)) input_ = output_ + rank * block;
    if (row.in_place && has_input_blocks(row.collective)) output_ = input_ + rank * block;
    std::vector<std::byte> mirror(input_bytes_);
    fill_input(row, rank, mirror.data());
    if (!row.in_place) write(output_, std::vector<std::byte>(output_bytes_, std::byte{0xee}));
    write(input_, mirror);
  }
  ~Buffers() {
    if (memory_ == nullptr) return;
    EXPECT_TRUE(device_.release(memory_).ok());
  }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  engine::Call call() const {
    return {row_.collective, row_.type, row_.op, row_.count, row_.root, input_, output_};
  }
  // Number of wrong bytes.
  uint64_t wrong() {
    if (!has_output(row_, rank_)) return 0;
    std::vector<std::byte> want(output_bytes_), got(output_bytes_);
    fill_expected(row_, rank_, want.data());
    read(got, output_);
    uint64_t count = 0;
    for (uint64_t i = 0; i < output_bytes_; ++i) count += want[i] != got[i];
    return count;
  }

 private:
  std::byte* allocate(uint64_t bytes) {
    if (bytes == 0) return nullptr;
    auto memory = device_.allocate(bytes);
    EXPECT_TRUE(memory.ok()) << memory.status().message();
    return static_cast<std::byte*>(*memory);
  }
  void move(void* to, const void* from, uint64_t bytes) {
    if (bytes == 0) return;
    auto token = device_.copy(0, to, from, bytes);
    ASSERT_TRUE(token.ok()) << token.status().message();
    for (;;) {
      auto done = device_.poll(0, *token);
      ASSERT_TRUE(done.ok());
      if (*done) return;
    }
  }
  void write(std::byte* to, const std::vector<std::byte>& from) { move(to, from.data(), from.size()); }
  void read(std::vector<std::byte>& to, const std::byte* from) { move(to.data(), from, to.size()); }

  Row row_;
  uint32_t rank_;
  Device& device_;
  uint64_t input_bytes_ = 0, output_bytes_ = 0;
  std::byte *memory_ = nullptr, *input_ = nullptr, *output_ = nullptr;
};

DeviceRegistry& registry() {
  static DeviceRegistry& instance = *[] {
    ::setenv("COMITY_DEVICES", "host,sim", 1);
    auto made = DeviceRegistry::open();
    if (!made.ok()) std::abort();
    return made->release();
  }();
  return instance;
}

void run_row(SimWorld& world, const Row& row, Device& device) {
  std::vector<std::unique_ptr<Buffers>> buffers;
  std::vector<engine::Call> calls;
  for (uint32_t r = 0; r < row.nranks; ++r) {
    buffers.push_back(std::make_unique<Buffers>(row, r, device));
    calls.push_back(buffers.back()->call());
  }
  const Status status = world.run(calls);
  ASSERT_TRUE(status.ok()) << describe(row) << ": " << status.message();
  for (uint32_t r = 0; r < row.nranks; ++r) {
    ASSERT_EQ(buffers[r]->wrong(), 0u) << describe(row) << " on " << device.name() << ", rank " << r;
  }
}

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

// --- long messages that nothing in the middle copies -------------------------------------------------------

sim::NetworkOptions claimed_network() {
  sim::NetworkOptions network;
  network.delivery = sim::Delivery::kClaimed;
  return network;
}
sim::NetworkOptions putting_network() {
  sim::NetworkOptions network;
  network.put_bytes = 1024;
  return network;
}

TEST(EngineWorlds, EveryAlgorithmIsExactWhereMessagesAreClaimedOrPut) {
  for (const sim::NetworkOptions& network : {claimed_network(), putting_network()}) {
    for (const auto& algorithm : algorithms::all()) {
      for (const uint32_t nranks : {2u, 5u}) {
        const auto topology = topology::one_host(nranks);
        if (!algorithm.applies(topology)) continue;
        SimWorldOptions options;
        options.nranks = nranks;
        options.seed = nranks;
        options.network = network;
        options.devices = &registry();
        options.forced = std::string(name_of(algorithm.collective)) + ":" + std::string(algorithm.name);
        SimWorld world(options);
        for (const char* device : {"host", "sim"}) {
          for (const uint64_t count : {uint64_t{3}, uint64_t{257}, uint64_t{9001}}) {
            run_row(world,
                    {algorithm.collective, DataType::kFloat32, RedOp::kSum, nranks, nranks / 2, count, false},
                    *registry().find(device));
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST(EngineWorlds, RanksThatComeLateAreNotPutToBeforeTheySaySo) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SimWorldOptions options;
    options.nranks = 3;
    options.seed = seed;
    options.network = putting_network();
    options.network.rails = 2;
    options.devices = &registry();
    options.forced = "all_reduce:ring,broadcast:binomial";
    SimWorld world(options);
    const Row first{Collective::kBroadcast, DataType::kInt32, RedOp::kSum, 3, 0, 20'000, false};
    const Row second{Collective::kAllReduce, DataType::kInt32, RedOp::kSum, 3, 0, 20'000, false};
    std::vector<std::unique_ptr<Buffers>> buffers;
    std::vector<std::vector<engine::Call>> calls(3);
    for (uint32_t r = 0; r < 3; ++r) {
      for (const Row& row : {first, second, first}) {
        buffers.push_back(std::make_unique<Buffers>(row, r, registry().host()));
        calls[r].push_back(buffers.back()->call());
      }
    }
    const Status status = world.run_sequences(calls);
    ASSERT_TRUE(status.ok()) << "seed " << seed << ": " << status.message();
    for (auto& each : buffers) ASSERT_EQ(each->wrong(), 0u) << "seed " << seed;
  }
}

// Who frees its memory between calls may get other memory at the same address.
TEST(EngineWorlds, OnlyWhatIsPromisedToStayIsRegisteredBeyondACall) {
  SimWorldOptions options;
  options.nranks = 2;
  options.network = putting_network();
  options.devices = &registry();
  options.forced = "all_gather:ring";
  SimWorld world(options);
  constexpr uint64_t kCount = 5000;
  std::vector<float> in[2], out[2];
  for (uint32_t r = 0; r < 2; ++r) {
    in[r].assign(kCount, static_cast<float>(r + 1));
    out[r].assign(2 * kCount, 0);
  }
  const auto gather = [&] {
    std::vector<engine::Call> calls;
    for (uint32_t r = 0; r < 2; ++r)
      calls.push_back(
          {Collective::kAllGather, DataType::kFloat32, RedOp::kSum, kCount, 0, in[r].data(), out[r].data()});
    const Status status = world.run(calls);
    ASSERT_TRUE(status.ok()) << status.message();
    for (const auto& each : out) ASSERT_EQ(each[kCount], 2.0f);
  };
  gather();
  const uint64_t between = world.network().registered(), made = world.network().registrations_made();
  gather();
  EXPECT_EQ(world.network().registered(), between) << "a call keeps nothing of the caller's";
  EXPECT_GT(world.network().registrations_made(), made) << "and registers again what it needs";

  std::vector<uint64_t> ids;
  for (uint32_t r = 0; r < 2; ++r) {
    for (const auto* each : {&in[r], &out[r]}) {
      ids.push_back(world.rank(r).hints().add(
          {reinterpret_cast<const std::byte*>(each->data()), each->size() * sizeof(float)}));
    }
  }
  gather();
  const uint64_t kept = world.network().registered(), made_once = world.network().registrations_made();
  EXPECT_GT(kept, between);
  gather();
  EXPECT_EQ(world.network().registrations_made(), made_once) << "registered once";
  for (uint32_t r = 0; r < 2; ++r) {
    EXPECT_TRUE(world.rank(r).hints().remove(ids[2 * r]));
    EXPECT_TRUE(world.rank(r).hints().remove(ids[2 * r + 1]));
  }
  gather();
  EXPECT_EQ(world.network().registered(), between);
}

TEST(EngineWorlds, AnArenaIsRegisteredOnceAndForgottenWhenItIsGivenBack) {
  SimWorldOptions options;
  options.nranks = 2;
  options.network = putting_network();
  options.devices = &registry();
  options.forced = "all_reduce:ring";
  SimWorld world(options);
  const auto run = [&] {
    run_row(world, {Collective::kAllReduce, DataType::kInt32, RedOp::kSum, 2, 0, 50'000, false},
            registry().host());
  };
  run();
  const uint64_t made = world.network().registrations_made();
  run();
  EXPECT_EQ(world.network().registrations_made(), made) << "the same arena";
}

// Bytes that the library itself copies, of all that arrive: none of a plain receive, and of a reduction what
// it writes.
TEST(EngineWorlds, NothingInTheMiddleCopiesALongMessage) {
  for (const sim::NetworkOptions& network : {claimed_network(), putting_network()}) {
    SimWorldOptions options;
    options.nranks = 2;
    options.network = network;
    options.network.segment_bytes = 256 * 1024;
    options.devices = &registry();
    options.forced = "all_gather:ring,all_reduce:ring";
    SimWorld world(options);
    for (const Collective collective : {Collective::kAllGather, Collective::kAllReduce}) {
      const Row row{collective, DataType::kFloat32, RedOp::kSum, 2, 0, 1 << 19, false};
      run_row(world, row, registry().host());
      run_row(world, row, registry().host());
    }
    for (uint32_t r = 0; r < 2; ++r) {
      const auto link = world.rank(r).link_to(1 - r, 1);
      ASSERT_TRUE(link.ok());
      EXPECT_GE((*link)->bytes_received(), uint64_t{4} << 20);
      EXPECT_EQ((*link)->bytes_copied(), 0u);
    }
  }
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
