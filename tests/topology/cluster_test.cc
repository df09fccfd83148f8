// A folded cluster answers as its expanded graph does.
#include "topology/cluster.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/topology/machines.h"

namespace comity::topology {
namespace {

// Two leaves per rail of four, joined by a spine; hosts of two shapes, one with a slow NIC.
Graph leaves_and_spine() {
  Graph graph = test::railed_cluster(4);
  std::vector<uint32_t> second;
  const uint32_t spine = graph.add({.kind = NodeKind::kNetSwitch, .name = "spine", .host = kNoHost});
  for (uint32_t i = 0; i < 4; ++i)
    second.push_back(
        graph.add({.kind = NodeKind::kNetSwitch, .name = "leaf" + std::to_string(i), .host = kNoHost}));
  for (Link& link : graph.links) {
    const Node& from = graph.nodes[link.from];
    const Node& to = graph.nodes[link.to];
    if (!is_network(link.kind)) continue;
    if (from.kind == NodeKind::kNic && from.host >= 2) link.to = second[link.to];
    if (to.kind == NodeKind::kNic && to.host >= 2) link.from = second[link.from];
    if (from.kind == NodeKind::kNic && from.host == 1) link.bandwidth_bytes_per_s /= 2;
  }
  for (uint32_t i : graph.nodes_of(NodeKind::kNetSwitch)) {
    if (i != spine)
      graph.join(
          {.from = i, .to = spine, .kind = LinkKind::kInfiniband, .bandwidth_bytes_per_s = 40'000'000'000});
  }
  return graph;
}

// Two hosts whose devices hang on vendor switches outside them: one island.
Graph rack() {
  Graph graph;
  std::vector<uint32_t> planes;
  for (uint32_t i = 0; i < 2; ++i)
    planes.push_back(
        graph.add({.kind = NodeKind::kVendorSwitch, .name = "plane" + std::to_string(i), .host = kNoHost}));
  for (uint32_t host = 0; host < 2; ++host) {
    const uint32_t node = graph.add({.kind = NodeKind::kHost, .host = host});
    for (uint32_t i = 0; i < 3; ++i) {
      const uint32_t device = graph.add(
          {.kind = NodeKind::kDevice, .name = "B200", .host = host, .numa = static_cast<int32_t>(i)});
      graph.join({.from = node, .to = device, .kind = LinkKind::kPcie, .bandwidth_bytes_per_s = 10});
      for (uint32_t plane : planes)
        graph.join({.from = device,
                    .to = plane,
                    .kind = LinkKind::kNvlink,
                    .bandwidth_bytes_per_s = 50,
                    .count = 9});
    }
  }
  return graph;
}
Graph two_railed() {
  return test::railed_cluster(2);
}
Graph three_flat() {
  return test::flat_cluster(3);
}

class Clusters : public testing::TestWithParam<test::Machine> {
 protected:
  void SetUp() override {
    graph_ = GetParam().make();
    const Status status = cluster_.add(graph_);
    ASSERT_TRUE(status.ok()) << status.message();
    auto expanded = cluster_.expand();
    ASSERT_TRUE(expanded.ok());
    whole_ = std::move(*expanded);
    // The expanded graph lists each host's nodes in its shape's order.
    for (uint32_t host = 0; host < cluster_.host_count(); ++host) {
      base_.emplace_back();
      for (uint32_t i = 0; i < whole_.nodes.size(); ++i) {
        if (whole_.nodes[i].host == host) base_.back().push_back(i);
      }
    }
  }
  uint32_t in_whole(Place place) const { return base_[place.host][place.node]; }
  std::vector<std::vector<uint32_t>> in_whole(const std::vector<std::vector<Place>>& sets) const {
    std::vector<std::vector<uint32_t>> all;
    for (const auto& set : sets) {
      all.emplace_back();
      for (Place place : set) all.back().push_back(in_whole(place));
      std::sort(all.back().begin(), all.back().end());
    }
    std::sort(all.begin(), all.end());
    return all;
  }

  Graph graph_, whole_;
  Cluster cluster_;
  std::vector<std::vector<uint32_t>> base_;
};
INSTANTIATE_TEST_SUITE_P(All, Clusters,
                         testing::Values(test::Machine{"Railed", two_railed},
                                         test::Machine{"Flat", three_flat},
                                         test::Machine{"LeavesAndSpine", leaves_and_spine},
                                         test::Machine{"Rack", rack},
                                         test::Machine{"CubeMesh", test::cube_mesh}),
                         [](const auto& each) { return std::string(each.param.name); });

TEST_P(Clusters, ExpandToWhatWasAdded) {
  for (Node& node : graph_.nodes) {
    if (node.kind == NodeKind::kHost) node.name.clear();
  }
  canonicalize(graph_);
  EXPECT_TRUE(whole_ == graph_);
}

TEST_P(Clusters, HaveTheIslandsAndRailsOfTheWholeGraph) {
  EXPECT_EQ(in_whole(cluster_.islands()), islands(whole_));
  EXPECT_EQ(in_whole(cluster_.rails()), rails(whole_));
}

TEST_P(Clusters, HaveThePathsOfTheWholeGraph) {
  for (uint32_t a = 0; a < cluster_.host_count(); ++a) {
    for (uint32_t x = 0; x < cluster_.shape_of(a).nodes.size(); ++x) {
      const auto expected = paths_from(whole_, in_whole({a, x}));
      for (uint32_t b = 0; b < cluster_.host_count(); ++b) {
        for (uint32_t y = 0; y < cluster_.shape_of(b).nodes.size(); ++y) {
          const PathInfo path = cluster_.path({a, x}, {b, y});
          const PathInfo& other = expected[in_whole({b, y})];
          ASSERT_EQ(name_of(path.path_class), name_of(other.path_class))
              << a << "." << x << " to " << b << "." << y;
          ASSERT_EQ(path.bandwidth_bytes_per_s, other.bandwidth_bytes_per_s)
              << a << "." << x << " to " << b << "." << y;
        }
      }
    }
  }
}

TEST(ClustersOfAlikeHosts, KeepOneDescription) {
  Cluster cluster;
  ASSERT_TRUE(cluster.add(test::railed_cluster(16)).ok());
  EXPECT_EQ(cluster.host_count(), 16u);
  EXPECT_EQ(cluster.shape_count(), 1u);
  ASSERT_TRUE(cluster.add(test::flat_cluster(2)).ok());
  EXPECT_EQ(cluster.shape_count(), 2u);
  EXPECT_EQ(cluster.switches().nodes.size(), 5u);
}

TEST(ClustersOfSeveralGraphs, AreOneWhereSwitchesHaveTheSameName) {
  Cluster apart, together;
  const Graph whole = test::flat_cluster(2);
  ASSERT_TRUE(together.add(whole).ok());
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(apart.add(test::flat_cluster(1)).ok());
  EXPECT_EQ(apart.hash(), together.hash());
  EXPECT_EQ(apart.path({0, 0}, {1, 0}).path_class, PathClass::kNet);
}

TEST(ClustersOfSeveralGraphs, DifferInHashWhereTheyDiffer) {
  Cluster one, other;
  Graph graph = test::railed_cluster(3);
  ASSERT_TRUE(one.add(graph).ok());
  graph.links.back().bandwidth_bytes_per_s -= 1;
  ASSERT_TRUE(other.add(graph).ok());
  EXPECT_NE(one.hash(), other.hash());
}

TEST(ClustersOfHosts, RefuseThoseJoinedWithoutASwitch) {
  Graph graph = test::flat_cluster(2);
  const auto nics = graph.nodes_of(NodeKind::kNic);
  graph.join({.from = nics.front(), .to = nics.back(), .kind = LinkKind::kEthernet});
  Cluster cluster;
  const Status status = cluster.add(graph);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(cluster.host_count(), 0u);
}

TEST(PathsOfClusters, DoNotGoThroughAThirdHost) {
  Graph graph = test::flat_cluster(3);
  const uint32_t island = graph.add({.kind = NodeKind::kNetSwitch, .name = "apart", .host = kNoHost});
  const auto nics = graph.nodes_of(NodeKind::kNic);
  for (Link& link : graph.links) {  // host 2's NICs and one of host 1's hang on a switch of their own
    for (uint32_t nic : {nics[3], nics[4], nics[5]}) {
      if (is_network(link.kind) && link.from == nic) link.to = island;
      if (is_network(link.kind) && link.to == nic) link.from = island;
    }
  }
  canonicalize(graph);
  const auto hosts = graph.nodes_of(NodeKind::kHost);
  EXPECT_EQ(paths_from(graph, hosts[0])[hosts[1]].path_class, PathClass::kNet);
  EXPECT_EQ(paths_from(graph, hosts[1])[hosts[2]].path_class, PathClass::kNet);
  EXPECT_EQ(paths_from(graph, hosts[0])[hosts[2]].path_class, PathClass::kDis);
}

}  // namespace
}  // namespace comity::topology
