// Sends and Recvs over the simulated network: any order, any length, host and device memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "src/device/registry.h"
#include "tests/support/sim_world.h"

namespace comity::test {
namespace {

using engine::Call;
using engine::PointToPoint;

DeviceRegistry& registry() {
  static DeviceRegistry& instance = *[] {
    auto made = DeviceRegistry::open("host,sim");
    if (!made.ok()) std::abort();
    return made->release();
  }();
  return instance;
}

Call exchange_of(std::span<const PointToPoint> messages) {
  Call call;
  call.collective = Collective::kExchange;
  call.exchange = messages;
  return call;
}

// Memory of a device with a host's view of it.
class Memory {
 public:
  Memory(Device& device, uint64_t bytes) : device_(device), bytes_(bytes) {
    auto memory = device.allocate(bytes + 64);
    EXPECT_TRUE(memory.ok()) << memory.status().message();
    data_ = static_cast<std::byte*>(*memory);
  }
  ~Memory() { EXPECT_TRUE(device_.release(data_).ok()); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  std::byte* data() const { return data_; }
  void write(const std::vector<std::byte>& from) { move(data_, from.data()); }
  std::vector<std::byte> read() const {
    std::vector<std::byte> bytes(bytes_);
    move(bytes.data(), data_);
    return bytes;
  }

 private:
  void move(void* to, const void* from) const {
    if (bytes_ == 0) return;
    auto token = device_.copy(0, to, from, bytes_);
    ASSERT_TRUE(token.ok());
    for (auto done = device_.poll(0, *token); !*done; done = device_.poll(0, *token)) ASSERT_TRUE(done.ok());
  }

  Device& device_;
  uint64_t bytes_;
  std::byte* data_ = nullptr;
};

// Messages among ranks, each with its two buffers; the n-th from a to b is the n-th of that pair on both.
class Messages {
 public:
  explicit Messages(uint32_t nranks) : by_rank_(nranks) {}

  void add(uint32_t from, uint32_t to, uint64_t count, Device& source, Device& target) {
    const uint64_t bytes = count * sizeof(int32_t);
    All& message = all_.emplace_back();
    message.content.resize(bytes);
    std::mt19937_64 random(all_.size());
    std::generate(message.content.begin(), message.content.end(),
                  [&] { return static_cast<std::byte>(random()); });
    message.source = std::make_unique<Memory>(source, bytes);
    message.target = std::make_unique<Memory>(target, bytes);
    message.source->write(message.content);
    message.target->write(std::vector<std::byte>(bytes, std::byte{0xee}));
    by_rank_[from].push_back({true, to, DataType::kInt32, count, message.source->data()});
    by_rank_[to].push_back({false, from, DataType::kInt32, count, message.target->data()});
  }
  // Another order on each rank, in which those of one pair and direction keep theirs.
  void shuffle(uint64_t seed) {
    std::mt19937_64 random(seed);
    for (auto& messages : by_rank_) {
      std::vector<PointToPoint> shuffled = messages;
      std::shuffle(shuffled.begin(), shuffled.end(), random);
      std::vector<bool> used(messages.size(), false);
      for (PointToPoint& place : shuffled) {
        const auto found = std::find_if(messages.begin(), messages.end(), [&](const PointToPoint& message) {
          return !used[static_cast<size_t>(&message - messages.data())] && message.peer == place.peer &&
                 message.sends == place.sends;
        });
        used[static_cast<size_t>(found - messages.begin())] = true;
        place = *found;
      }
      messages = std::move(shuffled);
    }
  }
  const std::vector<PointToPoint>& of(uint32_t rank) const { return by_rank_[rank]; }
  std::vector<Call> calls() const {
    std::vector<Call> calls;
    for (const auto& messages : by_rank_) calls.push_back(exchange_of(messages));
    return calls;
  }
  size_t wrong() const {
    return static_cast<size_t>(std::count_if(all_.begin(), all_.end(), [](const All& message) {
      return message.target->read() != message.content;
    }));
  }

 private:
  struct All {
    std::vector<std::byte> content;
    std::unique_ptr<Memory> source, target;
  };
  std::vector<All> all_;
  std::vector<std::vector<PointToPoint>> by_rank_;
};

control::PairCount counted(SimWorld& world, uint32_t rank, uint32_t peer) {
  for (const control::PairCount& pair : world.rank(rank).pair_counts()) {
    if (pair.peer == peer) return pair;
  }
  return {};
}

SimWorldOptions options_of(uint32_t nranks, uint64_t seed = 1) {
  SimWorldOptions options;
  options.nranks = nranks;
  options.seed = seed;
  options.devices = &registry();
  return options;
}

// How long messages come: as a stream, when they are asked for, or put where their receiver says.
std::vector<sim::NetworkOptions> every_way() {
  std::vector<sim::NetworkOptions> ways(3);
  ways[1].delivery = sim::Delivery::kClaimed;
  ways[2].put_bytes = 1024;
  return ways;
}

// Each rank sends to each, itself included, some messages of all lengths.
void run_all_to_all(SimWorldOptions options, bool devices) {
  std::mt19937_64 random(options.seed);
  SimWorld world(options);
  Messages messages(options.nranks);
  Device* const kinds[2] = {&registry().host(), registry().find("sim")};
  constexpr uint64_t kCounts[] = {0, 1, 3, 257, 5000, 16384, 40'961};
  for (uint32_t from = 0; from < options.nranks; ++from) {
    for (uint32_t to = 0; to < options.nranks; ++to) {
      for (uint64_t n = random() % 4; n > 0; --n) {
        messages.add(from, to, kCounts[random() % std::size(kCounts)], *kinds[devices ? random() % 2 : 0],
                     *kinds[devices ? random() % 2 : 0]);
      }
    }
  }
  messages.shuffle(options.seed);
  std::vector<uint32_t> start_after(options.nranks);
  for (uint32_t& polls : start_after) polls = static_cast<uint32_t>(random() % 300);
  const Status status = world.run(messages.calls(), start_after);
  ASSERT_TRUE(status.ok()) << "seed " << options.seed << ": " << status.message();
  ASSERT_EQ(messages.wrong(), 0u) << "seed " << options.seed;
  for (uint32_t rank = 0; rank < options.nranks; ++rank) {
    for (uint32_t peer = 0; peer < options.nranks; ++peer) {
      ASSERT_EQ(counted(world, rank, peer).sends, counted(world, peer, rank).receives);
    }
  }
}

TEST(Exchange, AllToAllInAnyOrderFinishes) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    run_all_to_all(options_of(8, seed), false);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Exchange, SegmentsThatOvertakeEachOtherArriveWhole) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SimWorldOptions options = options_of(4, seed);
    options.network.rails = 3;
    options.network.link.jitter_ns = 50'000;
    run_all_to_all(options, false);
    options.release = engine::ReleaseRule::kDone;
    run_all_to_all(options, false);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Exchange, HostAndDeviceMemoryMixInOneExchange) {
  for (const sim::NetworkOptions& way : every_way()) {
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      SimWorldOptions options = options_of(3, seed);
      options.network = way;
      run_all_to_all(options, true);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Exchange, LongMessagesThatAreClaimedOrPutArriveWholeOverSeveralRails) {
  for (sim::NetworkOptions way : every_way()) {
    way.rails = 3;
    way.link.jitter_ns = 50'000;
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      SimWorldOptions options = options_of(4, seed);
      options.network = way;
      run_all_to_all(options, false);
      options.release = engine::ReleaseRule::kDone;
      run_all_to_all(options, false);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Exchange, MoreMessagesOfAPairThanCanBePostedArriveInOrder) {
  SimWorld world(options_of(2));
  Messages messages(2);
  for (uint64_t n = 0; n < 300; ++n) messages.add(0, 1, n % 5 * 100, registry().host(), registry().host());
  const Status status = world.run(messages.calls());
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(messages.wrong(), 0u);
  EXPECT_EQ(counted(world, 0, 1).sends, 300u);
  EXPECT_EQ(counted(world, 1, 0).receives, 300u);
}

// Polls rank 0 alone. Whether its call ended within so much of the network's time.
bool ends_alone(SimWorld& world, const Call& call) {
  EXPECT_TRUE(world.rank(0).start(call).ok());
  for (int quiet = 0; quiet < 100;) {
    if (world.rank(0).poll() == Progress::kDone) return true;
    quiet = world.network().advance() ? 0 : quiet + 1;
  }
  return false;
}

TEST(Exchange, ShortSendsWaitForNoReceiveUpToTheWindow) {
  SimWorld world(options_of(2));
  Messages messages(2);
  for (uint32_t n = 0; n <= kSegmentsInFlight; ++n) {
    messages.add(0, 1, 10 + n, registry().host(), registry().host());
  }
  const std::vector<PointToPoint>& sends = messages.of(0);
  for (uint32_t n = 0; n < kSegmentsInFlight; ++n) {
    ASSERT_TRUE(ends_alone(world, exchange_of(std::span(sends).subspan(n, 1)))) << n;
  }
  EXPECT_FALSE(ends_alone(world, exchange_of(std::span(sends).last(1)))) << "the window holds it back";
  ASSERT_TRUE(world.rank(1).start(exchange_of(messages.of(1))).ok());
  Progress sender = Progress::kBusy, receiver = Progress::kBusy;
  for (int round = 0; round < 100'000 && (is_unfinished(sender) || is_unfinished(receiver)); ++round) {
    sender = world.rank(0).poll();
    receiver = world.rank(1).poll();
    world.network().advance();
  }
  EXPECT_EQ(sender, Progress::kDone);
  EXPECT_EQ(receiver, Progress::kDone);
  EXPECT_EQ(messages.wrong(), 0u);
}

TEST(Exchange, MessagesWaitWhileTheirReceiverIsInCollectives) {
  SimWorld world(options_of(2));
  Messages messages(2);
  messages.add(0, 1, 100, registry().host(), registry().host());
  std::vector<int32_t> a(1000, 1), b(1000, 2), c(1000), d(1000);
  const Call sum_0{Collective::kAllReduce, DataType::kInt32, RedOp::kSum, 1000, 0, a.data(), c.data()};
  const Call sum_1{Collective::kAllReduce, DataType::kInt32, RedOp::kSum, 1000, 0, b.data(), d.data()};
  const Call send = exchange_of(messages.of(0)), recv = exchange_of(messages.of(1));
  const Status status = world.run_sequences({{send, sum_0, sum_0}, {sum_1, sum_1, recv}});
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(messages.wrong(), 0u);
  EXPECT_EQ(d, std::vector<int32_t>(1000, 3));
}

TEST(Exchange, MessagesThatDifferAreAnErrorThatNamesBoth) {
  std::vector<int32_t> a(40'000), b(40'000);
  struct Case {
    uint64_t sent, received;
    DataType type;
    const char* words;
  };
  for (const Case& it :
       {Case{12, 10, DataType::kFloat32, "rank 0 sent 12 int32, rank 1 receives 10 float32"},
        Case{0, 10, DataType::kInt32, "rank 0 sent 0 int32, rank 1 receives 10 int32"},
        Case{40'000, 0, DataType::kInt32, "rank 0 sent 40000 int32, rank 1 receives 0 int32"},
        Case{100, 40'000, DataType::kInt32, "rank 0 sent 100 int32, rank 1 receives 40000 int32"}}) {
    for (const auto& [late, way] :
         std::vector<std::pair<uint32_t, size_t>>{{0, 0}, {200, 0}, {0, 1}, {200, 1}, {0, 2}, {200, 2}}) {
      SimWorldOptions options = options_of(2);
      options.network = every_way()[way];
      SimWorld world(options);
      // Alike before and after.
      const std::vector<PointToPoint> sends{{true, 1, DataType::kInt32, 5, a.data()},
                                            {true, 1, DataType::kInt32, it.sent, a.data()},
                                            {true, 1, DataType::kInt32, 7, a.data()}};
      const std::vector<PointToPoint> receives{{false, 0, DataType::kInt32, 5, b.data()},
                                               {false, 0, it.type, it.received, b.data()},
                                               {false, 0, DataType::kInt32, 7, b.data()}};
      const Status status = world.run({exchange_of(sends), exchange_of(receives)}, {0, late});
      EXPECT_EQ(status.code(), Code::kInvalidUsage) << "way " << way;
      EXPECT_NE(status.message().find(it.words), std::string_view::npos)
          << "way " << way << ": " << status.message();
    }
  }
}

TEST(Exchange, WhatCannotMatchItselfIsRefusedAndHarmless) {
  SimWorld world(options_of(2));
  std::vector<int32_t> a(64), b(64);
  const PointToPoint send{true, 0, DataType::kInt32, 4, a.data()};
  const PointToPoint recv{false, 0, DataType::kInt32, 4, b.data()};
  const PointToPoint shorter{false, 0, DataType::kInt32, 3, b.data()};
  for (const auto& messages :
       std::vector<std::vector<PointToPoint>>{{send}, {recv}, {send, recv, recv}, {send, shorter}}) {
    const Status status = world.rank(0).start(exchange_of(messages));
    EXPECT_EQ(status.code(), Code::kInvalidUsage);
    EXPECT_NE(status.message().find("rank 0"), std::string_view::npos) << status.message();
  }
  const std::vector<PointToPoint> right{recv, send};
  EXPECT_TRUE(ends_alone(world, exchange_of(right))) << "the communicator lives";
}

}  // namespace
}  // namespace comity::test
