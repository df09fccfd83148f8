#include "transports/sim/sim_network.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace comity::sim {
namespace {

// Counts what arrives; hands out one buffer.
class Counter final : public SegmentSink {
 public:
  std::byte* place(const SegmentHeader& header) override {
    buffer_.resize(header.length);
    return buffer_.data();
  }
  bool arrived(const SegmentHeader& header, const std::byte*) override {
    ++segments;
    bytes += header.length;
    return true;
  }
  uint64_t segments = 0;
  uint64_t bytes = 0;

 private:
  std::vector<std::byte> buffer_;
};

// Every rank sends `messages` segments to the next one; polls until nothing can happen any more.
struct Ring {
  Ring(Network& network, uint32_t nranks, uint64_t messages, uint32_t bytes)
      : payload(bytes), counters(nranks), sent(nranks) {
    for (uint32_t rank = 0; rank < nranks; ++rank) transports.push_back(network.make_transport(rank));
    do {
      bool moved = true;
      while (moved) moved = poll(nranks, messages);
    } while (network.advance());
  }
  bool poll(uint32_t nranks, uint64_t messages) {
    bool moved = false;
    for (uint32_t rank = 0; rank < nranks; ++rank) {
      Endpoint& out = endpoint(rank, (rank + 1) % nranks);
      SegmentHeader header;
      header.number = sent[rank];
      header.length = static_cast<uint32_t>(payload.size());
      if (sent[rank] < messages && out.try_send(header, payload.data())) {
        ++sent[rank];
        moved = true;
      }
      moved |= endpoint(rank, (rank + nranks - 1) % nranks).progress(counters[rank]);
    }
    return moved;
  }
  Endpoint& endpoint(uint32_t self, uint32_t peer) { return *(*transports[self]->endpoints(peer))[0]; }

  std::vector<std::unique_ptr<Transport>> transports;
  std::vector<std::byte> payload;
  std::vector<Counter> counters;
  std::vector<uint64_t> sent;
};

uint64_t hash_of_run(uint64_t seed) {
  Network network(seed, 9);
  Ring ring(network, 9, 30, 1000);
  EXPECT_EQ(ring.counters[0].segments, 30u);
  return network.trace_hash();
}

TEST(SimNetwork, TheSameSeedReplaysExactlyAndAnotherDoesNot) {
  EXPECT_EQ(hash_of_run(1), hash_of_run(1));
  EXPECT_NE(hash_of_run(1), hash_of_run(2));
}

TEST(SimNetwork, TimeIsLatencyPlusBytesOverBandwidth) {
  NetworkOptions options;
  options.link = {5000, 1'000'000'000, 0};
  options.stall_percent = 0;
  options.split_percent = 0;
  Network network(1, 3, options);
  Ring ring(network, 3, 1, 952);  // 1000 bytes on the wire with the header
  EXPECT_EQ(ring.counters[1].segments, 1u);
  EXPECT_EQ(network.clock().now_ns(), 6000u);
}

TEST(SimNetwork, LinksDifferByTheOverrideFunction) {
  NetworkOptions options;
  options.stall_percent = 0;
  options.link_of = [](uint32_t from, uint32_t, uint32_t) {
    return LinkModel{from == 2 ? 90'000u : 10u, 1'000'000'000'000, 0};
  };
  Network network(1, 3, options);
  Ring ring(network, 3, 1, 64);
  EXPECT_GE(network.clock().now_ns(), 90'000u);
  EXPECT_EQ(ring.endpoint(2, 0).traits().latency_ns, 90'000u);
  EXPECT_EQ(ring.endpoint(0, 2).traits().latency_ns, 10u);
}

TEST(SimNetwork, HundredsOfRanksFitIntoOneThread) {
  Network network(4, 400);
  Ring ring(network, 400, 5, 4096);
  for (const Counter& counter : ring.counters) ASSERT_EQ(counter.bytes, 5u * 4096);
}

TEST(SimNetwork, AdvanceSaysWhenNothingWillHappen) {
  NetworkOptions options;
  options.stall_percent = 0;
  Network network(1, 2, options);
  auto transport = network.make_transport(0);
  ASSERT_TRUE(transport->endpoints(1).ok());
  EXPECT_FALSE(network.advance());
  EXPECT_EQ(network.clock().now_ns(), 0u);
}

TEST(SimNetwork, AChosenSegmentBreaksItsConnectionAtBothEnds) {
  Network network(1, 3);
  network.fail_at(0, 1, 0, 4);
  Ring ring(network, 3, 10, 100);
  EXPECT_LE(ring.counters[1].segments, 4u);  // what was in flight may be lost with it
  EXPECT_EQ(ring.endpoint(0, 1).status().code(), Code::kRemoteError);
  EXPECT_EQ(ring.endpoint(1, 0).status().code(), Code::kRemoteError);
  EXPECT_EQ(ring.endpoint(0, 1).transmitted(), 4u);
  EXPECT_TRUE(ring.endpoint(1, 2).status().ok());
  EXPECT_EQ(ring.counters[2].segments, 10u);
}

TEST(SimNetwork, ADeadRankFailsEveryEndpointOfItAndToItOnly) {
  Network network(1, 4);
  Ring ring(network, 4, 3, 100);
  network.fail_rank(2);
  for (uint32_t self = 0; self < 4; ++self) {
    for (uint32_t peer = 0; peer < 4; ++peer) {
      if (self == peer) continue;
      const Endpoint& endpoint = ring.endpoint(self, peer);  // those not yet opened included
      EXPECT_EQ(endpoint.status().ok(), self != 2 && peer != 2) << endpoint.describe();
    }
  }
}

TEST(SimNetwork, ATransportThatEndsDeliversWhatItSentThenFailsItsPeers) {
  NetworkOptions options;
  options.stall_percent = 0;
  Network network(1, 2, options);
  auto first = network.make_transport(0);
  auto second = network.make_transport(1);
  Endpoint& out = *(*first->endpoints(1))[0];
  Endpoint& in = *(*second->endpoints(0))[0];
  const std::vector<std::byte> payload(100);
  SegmentHeader header;
  header.length = 100;
  ASSERT_TRUE(out.try_send(header, payload.data()));
  while (out.transmitted() == 0) ASSERT_TRUE(network.advance());
  first.reset();
  Counter counter;
  do {
    in.progress(counter);
  } while (network.advance());
  in.progress(counter);
  EXPECT_EQ(counter.segments, 1u);
  EXPECT_FALSE(in.status().ok());
}

// The payload is read when it leaves, not when it is accepted: overwriting it too early shows.
TEST(SimNetwork, PayloadIsCopiedAtTheLastMomentThatTheContractAllows) {
  NetworkOptions options;
  options.stall_percent = 0;
  options.delivery = Delivery::kDirect;
  Network network(1, 2, options);
  auto first = network.make_transport(0);
  auto second = network.make_transport(1);
  Endpoint& out = *(*first->endpoints(1))[0];
  Endpoint& in = *(*second->endpoints(0))[0];
  std::byte payload{1};
  SegmentHeader header;
  header.length = 1;
  ASSERT_TRUE(out.try_send(header, &payload));
  payload = std::byte{2};
  struct Keep final : SegmentSink {
    std::byte* place(const SegmentHeader&) override { return nullptr; }
    bool arrived(const SegmentHeader&, const std::byte* data) override {
      value = *data;
      return true;
    }
    std::byte value{0};
  } keep;
  do {
    in.progress(keep);
  } while (network.advance());
  in.progress(keep);
  EXPECT_EQ(keep.value, std::byte{2});
}

}  // namespace
}  // namespace comity::sim
