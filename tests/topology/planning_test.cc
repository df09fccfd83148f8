// What planning reads of a graph: groups by host and by island, figures of the ways, and figures written
// back.
#include "topology/planning.h"

#include <gtest/gtest.h>

#include <ctime>

#include "algorithms/algorithm.h"
#include "algorithms/selector.h"
#include "tests/topology/machines.h"

namespace comity::topology {
namespace {

std::vector<uint32_t> of_kind(const Graph& graph, NodeKind kind) {
  return graph.nodes_of(kind);
}

Graph canonical(Graph graph) {
  canonicalize(graph);
  return graph;
}

Placement on(std::vector<uint32_t> nodes) {
  Placement placement;
  placement.node_of_rank = std::move(nodes);
  placement.direct = true;
  placement.inside_transport = "shm";
  placement.across_transport = "tcp";
  return placement;
}

TEST(Planning, GroupsRanksByHost) {
  const Graph graph = canonical(test::flat_cluster(2));
  const auto hosts = of_kind(graph, NodeKind::kHost);
  const auto topology = plan_topology(graph, on({hosts[1], hosts[0], hosts[1]}));
  ASSERT_TRUE(topology.ok()) << topology.status().message();
  EXPECT_EQ(topology->group_of_rank, (std::vector<uint32_t>{0, 1, 0}));
  EXPECT_TRUE(topology->inside.direct);
  EXPECT_EQ(topology->inside.bandwidth_bytes_per_s, 200'000'000'000u);
  EXPECT_EQ(topology->across.bandwidth_bytes_per_s, 12'500'000'000u);
  EXPECT_EQ(topology->across.latency_ns, 200u);
  EXPECT_EQ(topology->across.rails, 2u);
  EXPECT_EQ(topology->across.transport, "tcp");
}

TEST(Planning, GroupsDevicesByIsland) {
  const Graph graph = canonical(test::pairs_box());
  const auto topology = plan_topology(graph, on(of_kind(graph, NodeKind::kDevice)));
  ASSERT_TRUE(topology.ok()) << topology.status().message();
  EXPECT_EQ(topology->group_of_rank, (std::vector<uint32_t>{0, 0, 1, 1}));
  EXPECT_EQ(topology->inside.bandwidth_bytes_per_s, 64'000'000'000u);
  EXPECT_EQ(topology->across.bandwidth_bytes_per_s, 60'000'000'000u);
  EXPECT_FALSE(topology->inside.direct);
}

TEST(Planning, LetsTheTwoLevelPlanWorkOverIslandsOfOneHost) {
  const Graph graph = canonical(test::pairs_box());
  const auto topology = plan_topology(graph, on(of_kind(graph, NodeKind::kDevice)));
  ASSERT_TRUE(topology.ok());
  const auto* hierarchical = algorithms::find(Collective::kAllReduce, "hierarchical");
  ASSERT_NE(hierarchical, nullptr);
  EXPECT_TRUE(hierarchical->applies(*topology));
  EXPECT_TRUE(algorithms::Selection::make(*topology, "all_reduce:hierarchical").ok());
}

TEST(Planning, GroupsDevicesByHostWhereARankIsAloneOnItsIsland) {
  const Graph graph = canonical(test::pairs_box());
  const auto devices = of_kind(graph, NodeKind::kDevice);
  const auto topology = plan_topology(graph, on({devices[0], devices[1], devices[2]}));
  ASSERT_TRUE(topology.ok());
  EXPECT_EQ(topology->group_of_rank, (std::vector<uint32_t>{0, 0, 0}));
}

TEST(Planning, TakesTheNarrowestLinkOfTheHostsInUseOnly) {
  Graph graph = canonical(test::flat_cluster(3));
  const auto nics = of_kind(graph, NodeKind::kNic);
  for (Link& link : graph.links) {
    if (link.from == nics[5]) link.bandwidth_bytes_per_s = 1'000;  // of host 2
    if (link.from == nics[1]) link.bandwidth_bytes_per_s = 5'000'000'000;
  }
  const auto hosts = of_kind(graph, NodeKind::kHost);
  const auto topology = plan_topology(graph, on({hosts[0], hosts[1]}));
  ASSERT_TRUE(topology.ok());
  EXPECT_EQ(topology->across.bandwidth_bytes_per_s, 5'000'000'000u);
}

class Written : public testing::TestWithParam<Way> {};
INSTANTIATE_TEST_SUITE_P(Ways, Written, testing::Values(Way::kMemory, Way::kLoopback, Way::kNetwork));

TEST_P(Written, FiguresAreReadBack) {
  Graph graph = canonical(test::bare_host());
  graph.add({.kind = NodeKind::kHost, .host = 1});
  Placement placement = on(of_kind(graph, NodeKind::kHost));
  placement.inside = Way::kLoopback;
  complete_for_planning(graph, placement);
  ASSERT_TRUE(validate(graph).ok()) << validate(graph).message();
  const std::vector<uint32_t>& nodes = placement.node_of_rank;
  ASSERT_FALSE(links_of(graph, GetParam(), nodes).empty());
  set_figures(graph, GetParam(), nodes, 1'234, 987'654'321, Source::kMeasured);
  const Path path = path_of(graph, GetParam(), nodes);
  EXPECT_EQ(path.latency_ns, 1'234u);
  EXPECT_EQ(path.bandwidth_bytes_per_s, 987'654'321u);
  set_figures(graph, GetParam(), nodes, 5, 5, Source::kGuess);
  EXPECT_EQ(path_of(graph, GetParam(), nodes).latency_ns, 1'234u) << "a guess replaced what was measured";
}

TEST(Planning, CompletesAGraphOnce) {
  Graph graph;
  for (uint32_t host : {0u, 1u}) graph.add({.kind = NodeKind::kHost, .host = host});
  Placement placement = on({0, 1});
  placement.inside = Way::kLoopback;
  complete_for_planning(graph, placement);
  const Graph once = graph;
  complete_for_planning(graph, placement);
  EXPECT_TRUE(graph == once);
  EXPECT_EQ(of_kind(graph, NodeKind::kNic).size(), 2u);
  const auto topology = plan_topology(graph, placement);
  ASSERT_TRUE(topology.ok());
  EXPECT_EQ(topology->ngroups(), 2u);
  EXPECT_GT(topology->across.bandwidth_bytes_per_s, 0u);
}

Graph hosts_with_one_nic(uint32_t hosts) {
  Graph graph;
  for (uint32_t host = 0; host < hosts; ++host) {
    const uint32_t node = graph.add({.kind = NodeKind::kHost, .host = host});
    const uint32_t nic = graph.add({.kind = NodeKind::kNic, .host = host});
    graph.join({.from = node, .to = nic, .kind = LinkKind::kPcie});
  }
  return graph;
}

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// 0.02 s where time grows as the hosts do, half a minute where it grows by their square.
TEST(Planning, CompletesTenThousandHostsWithinASecond) {
  constexpr uint32_t kHosts = 10'000;
  Graph graph = hosts_with_one_nic(kHosts);
  Placement placement = on(of_kind(graph, NodeKind::kHost));
  placement.inside = Way::kLoopback;
  const double begin = cpu_seconds();
  complete_for_planning(graph, placement);
  EXPECT_LT(cpu_seconds() - begin, 1.0) << "seconds of this thread's own";
  EXPECT_EQ(graph.nodes.size(), 4u * kHosts + 1) << "a loopback and a memory each, one network";
}

TEST(Planning, RefusesRanksThatAreNowhere) {
  const Graph graph = canonical(test::flat_cluster(1));
  EXPECT_EQ(plan_topology(graph, on({})).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(plan_topology(graph, on({99'999})).status().code(), Code::kInvalidArgument);
  const auto switches = of_kind(graph, NodeKind::kNetSwitch);
  EXPECT_EQ(plan_topology(graph, on({switches[0]})).status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace comity::topology
