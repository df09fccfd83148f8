// Calibration measures a few pairs, over the links that collectives use, and waits for nobody for ever.
#include <gtest/gtest.h>

#include <cstdlib>
#include <future>
#include <memory>
#include <set>

#include "src/api/calibrate.h"
#include "src/base/clock.h"
#include "src/engine/link.h"
#include "transports/tcp/tcp_transport.h"

namespace comity::api {
namespace {

topology::Topology hosts_of(uint32_t hosts, uint32_t ranks_each) {
  topology::Topology made;
  for (uint32_t host = 0; host < hosts; ++host) {
    for (uint32_t i = 0; i < ranks_each; ++i) made.group_of_rank.push_back(host);
  }
  return made;
}

TEST(SampledPairs, AreFewDisjointAndOfDifferentHosts) {
  for (const uint32_t hosts : {2u, 3u, 4u, 7u, 8u, 9u, 64u, 1000u}) {
    for (const uint32_t ranks_each : {1u, 3u}) {
      const auto made = hosts_of(hosts, ranks_each);
      const auto pairs = sampled_pairs(made, false);
      EXPECT_EQ(pairs.size(), std::min(hosts / 2, 4u)) << hosts << " hosts";
      std::set<uint32_t> seen;
      for (const auto& [leader, follower] : pairs) {
        EXPECT_LT(leader, made.nranks());
        EXPECT_LT(follower, made.nranks());
        EXPECT_NE(made.group_of_rank[leader], made.group_of_rank[follower]);
        EXPECT_TRUE(seen.insert(leader).second && seen.insert(follower).second) << hosts << " hosts";
      }
    }
  }
}

TEST(SampledPairs, AreOneOnOneHostAndNoneWhereMemoryIsShared) {
  auto made = hosts_of(1, 16);
  made.inside.direct = false;
  EXPECT_EQ(sampled_pairs(made, false), (std::vector<std::pair<uint32_t, uint32_t>>{{0, 8}}));
  EXPECT_EQ(sampled_pairs(hosts_of(16, 1), true), (std::vector<std::pair<uint32_t, uint32_t>>{{0, 8}}));
  made.inside.direct = true;
  EXPECT_TRUE(sampled_pairs(made, false).empty());
  auto alone = hosts_of(1, 1);
  alone.inside.direct = false;
  EXPECT_TRUE(sampled_pairs(alone, false).empty());
}

// Two ranks on the loopback, with the link between them.
struct Rank {
  Rank(uint32_t rank, uint64_t communicator) {
    TransportContext context;
    context.rank = rank;
    context.nranks = 2;
    context.communicator = communicator;
    ::setenv("COMITY_SOCKET_ADDRESS", "127.0.0.1", 1);
    auto made = tcp::make_tcp_transport(context);
    ::unsetenv("COMITY_SOCKET_ADDRESS");
    EXPECT_TRUE(made.ok()) << made.status().message();
    transport = std::move(made).value();
    number = rank;
  }
  void meet(const Rank& other) {
    ASSERT_TRUE(transport->reach(other.number, other.transport->address()).ok());
    const auto endpoints = transport->endpoints(other.number);
    ASSERT_TRUE(endpoints.ok());
    connections = std::make_unique<engine::Connections>(*endpoints);
    link = std::make_unique<engine::Link>(other.number, 7, *connections, engine::ReleaseRule::kTransmitted);
    ASSERT_TRUE(link->ensure_lanes(1).ok());
  }
  Result<PathFigures> measure(uint64_t within_ms) {
    return measure_path({*link, *transport, number, number == 0, Deadline::after_ms(within_ms), [this] {
                           return condemned ? Status(Code::kRemoteError, "the verdict") : Status();
                         }});
  }
  std::unique_ptr<Transport> transport;
  std::unique_ptr<engine::Connections> connections;
  std::unique_ptr<engine::Link> link;
  uint32_t number = 0;
  bool condemned = false;
};

TEST(MeasurePath, GivesBothFiguresOnTheLeadingEndWithinItsTime) {
  Rank first(0, 7), second(1, 7);
  first.meet(second);
  second.meet(first);
  auto following = std::async(std::launch::async, [&] { return second.measure(60'000); });
  const uint64_t began_ns = now_ns();
  const auto figures = first.measure(60'000);
  const uint64_t took_ns = now_ns() - began_ns;
  ASSERT_TRUE(figures.ok()) << figures.status().message();
  EXPECT_TRUE(following.get().ok());
  EXPECT_GT(figures->latency_ns, 1'000u);          // nothing through a kernel is faster
  EXPECT_LT(figures->latency_ns, 1'000'000'000u);  // on a loaded machine
  EXPECT_GT(figures->bandwidth_bytes_per_s, 1'000'000u);
  EXPECT_LT(figures->bandwidth_bytes_per_s, 1'000'000'000'000u);
  EXPECT_LT(took_ns, 2'000'000'000u) << "100 ms are promised, and more only on a loaded machine";
}

TEST(MeasurePath, AStuckPeerIsNamedBeforeTheDeadlineOfInit) {
  for (const bool stuck_follower : {true, false}) {
    Rank first(0, 7), second(1, 7);
    first.meet(second);
    second.meet(first);
    Rank& waiting = stuck_follower ? first : second;
    const uint64_t began_ns = now_ns();
    const auto figures = waiting.measure(1000);
    EXPECT_LT(now_ns() - began_ns, 10'000'000'000u);
    EXPECT_EQ(figures.status().code(), Code::kTimeout);
    const std::string named = stuck_follower ? "rank 0 waited for rank 1" : "rank 1 waited for rank 0";
    EXPECT_NE(figures.status().message().find(named), std::string::npos) << figures.status().message();
  }
}

TEST(MeasurePath, AVerdictEndsIt) {
  Rank first(0, 7), second(1, 7);
  first.meet(second);
  second.meet(first);
  first.condemned = true;
  EXPECT_EQ(first.measure(60'000).status().message(), "the verdict");
}

}  // namespace
}  // namespace comity::api
