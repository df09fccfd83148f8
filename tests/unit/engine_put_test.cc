// Long messages that nothing in the middle copies: claimed by their receiver, or put where it says.
#include "tests/support/sim_rows.h"

namespace comity::test {
namespace {

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

// Two rails of one transport that puts, one of another that does not.
sim::NetworkOptions mixed_network() {
  sim::NetworkOptions network = putting_network();
  network.rails = 3;
  network.stream_rails = 1;
  return network;
}

TEST(LongMessages, EveryAlgorithmIsExactWhereMessagesAreClaimedOrPut) {
  for (const sim::NetworkOptions& network : {claimed_network(), putting_network(), mixed_network()}) {
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

TEST(LongMessages, RanksThatComeLateAreNotPutToBeforeTheySaySo) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SimWorldOptions options;
    options.nranks = 3;
    options.seed = seed;
    options.network = seed % 2 == 0 ? mixed_network() : putting_network();
    options.network.rails = std::max(options.network.rails, 2u);
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
TEST(LongMessages, OnlyWhatIsPromisedToStayIsRegisteredBeyondACall) {
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

TEST(LongMessages, AnArenaIsRegisteredOnceAndForgottenWhenItIsGivenBack) {
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

// Of transports that differ, too: each carries by its speed, and together they take hardly longer than the
// sum of them would.
TEST(LongMessages, AreStripedOverTransportsOfUnequalSpeed) {
  constexpr uint64_t kFast = 4'000'000'000, kSlow = 1'000'000'000;
  for (const bool fast_one_puts : {true, false}) {
    SimWorldOptions options;
    options.nranks = 2;
    options.network = putting_network();
    options.network.rails = 2;
    options.network.stream_rails = 1;
    options.network.segment_bytes = 64 * 1024;
    options.network.stall_percent = 0;
    options.network.link_of = [=](uint32_t, uint32_t, uint32_t rail) {
      return sim::LinkModel{1000, (rail == 0) == fast_one_puts ? kFast : kSlow, 0};
    };
    options.devices = &registry();
    options.forced = "broadcast:binomial";
    SimWorld world(options);
    const Row row{Collective::kBroadcast, DataType::kInt8, RedOp::kSum, 2, 0, 32 << 20, false};
    const uint64_t before = world.network().clock().now_ns();
    run_row(world, row, registry().host());
    const auto took_ns = static_cast<double>(world.network().clock().now_ns() - before);
    const double least_ns = 1e9 * (32 << 20) / (kFast + kSlow);
    EXPECT_LT(took_ns, 1.15 * least_ns);
    const auto link = world.rank(0).link_to(1, 1);
    ASSERT_TRUE(link.ok());
    const auto fast = static_cast<double>((*link)->segments_sent_on(fast_one_puts ? 0 : 1));
    const auto slow = static_cast<double>((*link)->segments_sent_on(fast_one_puts ? 1 : 0));
    EXPECT_GT(fast, 3 * slow);
    EXPECT_LT(fast, 5 * slow);
  }
}

// Bytes that the library itself copies, of all that arrive: none of a plain receive, and of a reduction what
// it writes.
TEST(LongMessages, NothingInTheMiddleCopiesALongMessage) {
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
      EXPECT_GE((*link)->segments_sent_on(0), 16u) << "it went over the link";
      EXPECT_EQ((*link)->bytes_copied(), 0u);
    }
  }
}

}  // namespace
}  // namespace comity::test
