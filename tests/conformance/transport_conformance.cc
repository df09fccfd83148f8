#include "tests/conformance/transport_conformance.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <set>
#include <thread>

#include "src/base/berth.h"
#include "src/base/clock.h"
#include "tests/conformance/transport_party.h"

namespace comity::conformance {
namespace {

// The longest payload that is sent, and not put.
uint32_t longest_of(Parties& parties) {
  const EndpointTraits& traits = parties.channel(0, 1).endpoint().traits();
  return traits.put_bytes == 0 ? traits.segment_bytes : traits.put_bytes - 64;
}

}  // namespace

TEST_P(TransportConformance, DeliversEverySizeOnceAndInOrder) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  const uint32_t most = longest_of(parties);
  ASSERT_GE(most, 1024u);
  for (size_t i = 0; i < parties.endpoint_count(0, 1); ++i) {
    for (const uint32_t bytes :
         {1u, 7u, 8u, 48u, 63u, 64u, 65u, 511u, 1000u, most / 2 + 1, most - 1, most, 1u, most}) {
      parties.channel(0, 1, i).queue(0, bytes);
      parties.channel(1, 0, i).queue(0, bytes);
    }
  }
  EXPECT_TRUE(parties.run_until_delivered());
  parties.expect_delivered();
}

TEST_P(TransportConformance, SegmentsWithoutPayloadArrive) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  for (uint64_t n = 0; n < 100; ++n) {
    SegmentHeader done = header_of(n % kLanes, 0, 0);
    done.kind = SegmentKind::kDone;
    done.done = n;
    parties.channel(0, 1).queue(done, {});
    if (n % 3 == 0) parties.channel(0, 1).queue(0, 17);
  }
  EXPECT_TRUE(parties.run_until_delivered());
  parties.expect_delivered();
}

TEST_P(TransportConformance, EveryHeaderFieldArrivesIntact) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  std::mt19937_64 random(7);
  for (uint64_t n = 0; n < 40; ++n) {
    SegmentHeader header = header_of(n % kLanes, random(), 1 + static_cast<uint32_t>(random() % 300));
    header.flags = static_cast<uint8_t>(n % 2 == 0 ? kSegmentLast : 0);
    header.offset = random();
    header.signature = random();
    header.done = random();
    parties.channel(0, 1).queue(header, payload_of(header.lane, header.number, header.length));
  }
  EXPECT_TRUE(parties.run_until_delivered());
  parties.expect_delivered();
}

TEST_P(TransportConformance, InterleavedLanesKeepTheOrderOfTheEndpoint) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  const uint32_t most = longest_of(parties);
  std::mt19937 random(11);
  for (int n = 0; n < 120; ++n) {
    const uint32_t bytes = random() % 4 == 0 ? 1 + random() % most : 1 + random() % 256;
    parties.channel(0, 1).queue(random() % kLanes, bytes);
  }
  EXPECT_TRUE(parties.run_until_delivered());
  parties.expect_delivered();
}

TEST_P(TransportConformance, BothDirectionsAreFullAtOnce) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  const uint32_t most = longest_of(parties);
  for (size_t i = 0; i < parties.endpoint_count(0, 1); ++i) {
    for (uint32_t n = 0; n < 48; ++n) {
      parties.channel(0, 1, i).queue(n % kLanes, most);
      parties.channel(1, 0, i).queue(n % kLanes, most - n);
    }
  }
  EXPECT_TRUE(parties.run_until_delivered());
  parties.expect_delivered();
}

TEST_P(TransportConformance, OneDirectionFlowsWhileTheOtherIsSilent) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  const uint32_t most = longest_of(parties);
  for (uint32_t n = 0; n < 64; ++n) parties.channel(1, 0).queue(0, most);
  EXPECT_TRUE(parties.run_until_delivered());
  parties.expect_delivered();
  EXPECT_TRUE(parties.channel(1, 0).recorder().arrivals.empty());
}

// A refused segment leaves no trace; an accepted one arrives though the sender is not asked again for it.
TEST_P(TransportConformance, RefusalTakesNothing) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  const uint32_t most = longest_of(parties);
  Endpoint& out = parties.channel(0, 1).endpoint();
  std::vector<std::vector<std::byte>> payloads;
  uint64_t accepted = 0;
  for (uint64_t n = 0; n < kSegmentsInFlight; ++n) payloads.push_back(payload_of(0, n, most));
  EXPECT_TRUE(parties.run_until([&] {
    uint64_t before = out.transmitted();
    if (parties.channel(0, 1).offer(header_of(0, accepted, most), payloads[accepted].data())) ++accepted;
    EXPECT_GE(out.transmitted(), before);
    EXPECT_LE(out.transmitted(), accepted);
    return accepted == kSegmentsInFlight;
  }));
  auto& arrivals = parties.channel(1, 0).recorder().arrivals;
  EXPECT_TRUE(
      parties.run_until([&] { return arrivals.size() >= accepted && out.transmitted() >= accepted; }));
  for (int i = 0; i < 100; ++i) parties.poll(1);
  ASSERT_EQ(arrivals.size(), accepted);
  for (uint64_t n = 0; n < accepted; ++n) {
    const uint64_t number = arrivals[n].header.number;
    EXPECT_TRUE(number == n || !out.traits().in_order) << number << " came as " << n;
    ASSERT_LT(number, accepted);
    EXPECT_EQ(arrivals[n].payload, payloads[number]);
    payloads[number].clear();
  }
}

TEST_P(TransportConformance, ManyPeersAtOnce) {
  Parties parties(GetParam(), 7);
  parties.open_all();
  const uint32_t most = longest_of(parties);
  std::mt19937 random(3);
  for (uint32_t self = 0; self < parties.size(); ++self) {
    for (uint32_t peer = 0; peer < parties.size(); ++peer) {
      if (self == peer) continue;
      for (int n = 0; n < 12; ++n) {
        const uint32_t bytes = n % 6 == 5 ? 1 + random() % most : 1 + random() % 100;
        parties.channel(self, peer).queue(random() % kLanes, bytes);
      }
    }
  }
  EXPECT_TRUE(parties.run_until_delivered());
  parties.expect_delivered();
}

TEST_P(TransportConformance, EndpointsAreTheSameAtEveryCall) {
  Parties parties(GetParam(), 3);
  parties.open_all();
  for (int round = 0; round < 3; ++round) {
    for (uint32_t peer : {1u, 2u}) {
      auto endpoints = parties.transport(0).endpoints(peer);
      ASSERT_TRUE(endpoints.ok());
      ASSERT_EQ((*endpoints).size(), parties.endpoint_count(0, peer));
      for (size_t i = 0; i < (*endpoints).size(); ++i) {
        EXPECT_EQ((*endpoints)[i], &parties.channel(0, peer, i).endpoint());
      }
    }
    parties.channel(0, 1).queue(0, 100);
    EXPECT_TRUE(parties.run_until_delivered());
  }
}

TEST_P(TransportConformance, OneSideMayOpenMuchLater) {
  Parties parties(GetParam(), 3);
  // Rank 1 asks for both its neighbours long before they ask for it; one is lower, one higher.
  for (uint32_t peer : {0u, 2u}) {
    ASSERT_TRUE(parties.transport(1).endpoints(peer).ok());
  }
  for (int i = 0; i < 200; ++i) {
    for (uint32_t rank = 0; rank < 3; ++rank) parties.poll(rank);
  }
  parties.open(0, 1);
  parties.open(1, 2);
  for (uint32_t peer : {0u, 2u}) {
    parties.channel(1, peer).queue(0, 64);
    parties.channel(peer, 1).queue(0, 64);
  }
  EXPECT_TRUE(parties.run_until_delivered());
  parties.expect_delivered();
}

TEST_P(TransportConformance, TraitsAreSaneAndEqualOnBothEnds) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  for (size_t i = 0; i < parties.endpoint_count(0, 1); ++i) {
    const EndpointTraits& here = parties.channel(0, 1, i).endpoint().traits();
    const EndpointTraits& there = parties.channel(1, 0, i).endpoint().traits();
    EXPECT_EQ(here.segment_bytes, there.segment_bytes);
    EXPECT_EQ(here.segment_bytes % 64, 0u);
    EXPECT_GT(here.latency_ns, 0u);
    EXPECT_GT(here.bandwidth_bytes_per_s, 0u);
  }
}

TEST_P(TransportConformance, ARefusingSinkFailsTheEndpointForGood) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  Channel& receiver = parties.channel(1, 0);
  receiver.recorder().refuse_from = 3;
  for (int n = 0; n < 6; ++n) parties.channel(0, 1).queue(0, 200);
  EXPECT_TRUE(parties.run_until([&] { return !receiver.endpoint().status().ok(); }));
  EXPECT_EQ(receiver.endpoint().status().code(), Code::kRemoteError);
  EXPECT_FALSE(receiver.endpoint().status().message().empty());
  EXPECT_EQ(receiver.recorder().arrivals.size(), 3u);
  const std::string first(receiver.endpoint().status().message());
  receiver.recorder().refuse_from = UINT64_MAX;
  for (int i = 0; i < 50; ++i) parties.poll(1);
  EXPECT_EQ(receiver.recorder().arrivals.size(), 3u) << "a failed endpoint delivers nothing";
  const auto payload = payload_of(0, 0, 8);
  EXPECT_FALSE(receiver.endpoint().try_send(header_of(0, 0, 8), payload.data()));
  EXPECT_EQ(receiver.endpoint().status().message(), first) << "the first error stays";
}

TEST_P(TransportConformance, AFailedPairLeavesOthersAlone) {
  Parties parties(GetParam(), 3);
  parties.open_all();
  parties.channel(1, 0).recorder().refuse_from = 0;
  parties.channel(0, 1).queue(0, 100);
  EXPECT_TRUE(parties.run_until([&] { return !parties.channel(1, 0).endpoint().status().ok(); }));
  for (const auto& [from, to] : {std::pair(0u, 2u), std::pair(2u, 1u), std::pair(1u, 2u)}) {
    auto& arrivals = parties.channel(to, from).recorder().arrivals;
    parties.channel(from, to).queue(0, 100);
    EXPECT_TRUE(parties.run_until([&] { return arrivals.size() == 1; })) << from << " -> " << to;
  }
}

TEST_P(TransportConformance, NamesAndDescriptionsAreForPeople) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  parties.channel(0, 1).queue(0, 8);
  EXPECT_TRUE(parties.run_until_delivered());
  std::set<std::string> seen;
  const std::string name(parties.transport(0).name());
  EXPECT_FALSE(name.empty());
  for (size_t i = 0; i < parties.endpoint_count(0, 1); ++i) {
    const std::string text = parties.channel(0, 1, i).endpoint().describe();
    EXPECT_EQ(text.rfind(name, 0), 0u) << text;
    EXPECT_TRUE(seen.insert(text).second) << "two endpoints are described alike: " << text;
  }
}

TEST_P(TransportConformance, QuietEndpointsAreQuietAndNothingBlocks) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  parties.channel(0, 1).queue(0, 8);
  parties.channel(1, 0).queue(0, 8);
  EXPECT_TRUE(parties.run_until_delivered());
  const uint64_t start_ns = now_ns();
  int moved = 0;
  for (int i = 0; i < 1000; ++i) moved += parties.poll(0) || parties.poll(1) ? 1 : 0;
  EXPECT_LE(moved, 10) << "progress() says that it moved something though nothing was sent";
  EXPECT_LT(now_ns() - start_ns, 5'000'000'000u);
}

TEST_P(TransportConformance, AddressesFromStrangersAreRefused) {
  World world = GetParam().make(2);
  Transport& transport = *world.transports[0];
  const std::vector<std::byte> good = world.transports[1]->address();
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(transport.reach(1, std::span(good.data(), length)).ok())
        << length << " of " << good.size() << " bytes";
  }
  auto longer = good;
  longer.push_back(std::byte{1});
  EXPECT_FALSE(transport.reach(1, longer).ok());
  std::mt19937 random(5);
  for (int n = 0; n < 2000;
       ++n) {  // any answer will do; staying inside the buffer is what the sanitizers check
    auto mutated = good;
    mutated[random() % mutated.size()] = static_cast<std::byte>(random());
    mutated[random() % mutated.size()] = static_cast<std::byte>(random());
    mutated.resize(random() % 8 == 0 ? random() % (good.size() + 1) : good.size());
    (void)world.transports[0]->reach(1, mutated).ok();
  }
}

// --- in real time ------------------------------------------------------------------------------------------

// Around a thread's sleep on one transport: alone, or as if it waited for others, too.
class Sleeping {
 public:
  Sleeping(Transport& transport, bool alone) : transport_(transport) {
    berth_->open(alone);
    transport_.arm(*berth_);
  }
  ~Sleeping() {
    transport_.disarm(*berth_);
    berth_->close();
  }
  Berth& berth() { return *berth_; }

 private:
  Transport& transport_;
  BerthLoan berth_ = borrow_berth();
};

constexpr uint64_t kLongNs = 60'000'000'000;
constexpr uint64_t kLostNs = 30'000'000'000;

TEST_P(TransportSleep, EndsAtItsDeadline) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  parties.channel(0, 1).queue(0, 8);
  parties.channel(1, 0).queue(0, 8);
  EXPECT_TRUE(parties.run_until_delivered());
  for (const bool alone : {true, false}) {
    uint64_t longest_ns = 0;
    const Deadline deadline = Deadline::after_ms(5'000);
    while (longest_ns < 1'000'000 && !deadline.passed()) {  // a sleep may end early, but not for ever
      Sleeping sleeping(parties.transport(0), alone);
      parties.poll(0);
      const uint64_t start_ns = now_ns();
      sleeping.berth().sleep(20'000'000);
      longest_ns = std::max(longest_ns, now_ns() - start_ns);
    }
    EXPECT_GE(longest_ns, 1'000'000u) << "the least that a transport asks for where nothing goes on";
    EXPECT_LT(longest_ns, 5'000'000'000u);
  }
}

TEST_P(TransportSleep, ARingFromAnotherThreadEndsIt) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  for (int round = 0; round < 40; ++round) {
    const uint64_t start_ns = now_ns();
    Sleeping sleeping(parties.transport(0), round % 2 == 0);
    std::thread ringer([&] { sleeping.berth().ring(); });  // before, during or after the sleep's start
    parties.poll(0);
    sleeping.berth().sleep(kLongNs);
    ringer.join();
    ASSERT_LT(now_ns() - start_ns, kLostNs);
  }
}

TEST_P(TransportSleep, AMessageEndsIt) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  parties.channel(0, 1).queue(0, 8);
  parties.channel(1, 0).queue(0, 8);
  EXPECT_TRUE(parties.run_until_delivered());
  auto& arrivals = parties.channel(0, 1).recorder().arrivals;
  for (size_t round = 0; round < 40; ++round) {
    const size_t expected = arrivals.size() + 1;
    const uint64_t start_ns = now_ns();
    std::thread sender([&] {
      parties.channel(1, 0).queue(0, 100);
      while (!parties.channel(1, 0).sent_all() ||
             parties.channel(1, 0).endpoint().transmitted() < parties.channel(1, 0).accepted()) {
        parties.poll(1);
      }
    });
    while (arrivals.size() < expected && now_ns() - start_ns < kLostNs) {
      Sleeping sleeping(parties.transport(0), round % 2 == 0);
      if (!parties.poll(0)) sleeping.berth().sleep(kLongNs);
    }
    sender.join();
    ASSERT_EQ(arrivals.size(), expected);
    ASSERT_LT(now_ns() - start_ns, kLostNs) << "the message did not end the sleep";
  }
}

TEST_P(TransportSleep, RanksOnThreadsOfTheirOwnExchangeAll) {
  constexpr uint32_t kRanks = 3;
  Parties parties(GetParam(), kRanks);
  parties.open_all();
  const uint32_t most = longest_of(parties);
  std::mt19937 random(9);
  for (uint32_t self = 0; self < kRanks; ++self) {
    for (uint32_t peer = 0; peer < kRanks; ++peer) {
      for (int n = 0; self != peer && n < 60; ++n) {
        parties.channel(self, peer).queue(random() % kLanes, 1 + random() % (n % 5 == 0 ? most : 500));
      }
    }
  }
  const auto finished = [&](uint32_t self) {
    for (uint32_t peer = 0; peer < kRanks; ++peer) {
      if (peer == self) continue;
      Channel& channel = parties.channel(self, peer);
      if (!channel.endpoint().status().ok()) return true;
      if (!channel.sent_all() || channel.endpoint().transmitted() < channel.accepted()) return false;
      if (channel.recorder().arrivals.size() < 60) return false;
    }
    return true;
  };
  const Deadline deadline = Deadline::after_ms(60'000);
  std::vector<std::thread> threads;
  for (uint32_t self = 0; self < kRanks; ++self) {
    threads.emplace_back([&, self] {
      for (int round = 0; !finished(self) && !deadline.passed(); ++round) {
        Sleeping sleeping(parties.transport(self), round % 2 == 0);
        // A window opens without a message in this suite.
        if (!parties.poll(self)) sleeping.berth().sleep(1'000'000);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(deadline.passed());
  parties.expect_delivered();
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TransportConformance);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TransportSleep);

}  // namespace comity::conformance
