// Classes, figures and places of paths; islands and rails.
#include "topology/paths.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/topology/machines.h"

namespace comity::topology {
namespace {

uint32_t at(const Graph& graph, const char* id) {
  const int64_t index = graph.find(id);
  EXPECT_GE(index, 0) << id;
  return index < 0 ? 0 : static_cast<uint32_t>(index);
}

Graph canonical(Graph graph) {
  canonicalize(graph);
  return graph;
}

PathInfo path(const Graph& graph, const char* from, const char* to) {
  return paths_from(graph, at(graph, from))[at(graph, to)];
}

struct Expected {
  const char* name;
  Graph (*make)();
  const char* from;
  const char* to;
  PathClass path_class;
  uint64_t bandwidth_bytes_per_s;
  uint32_t hops;
};
Graph two_boxes() {
  return test::railed_cluster(2);
}
Graph box() {
  return test::switched_box();
}

class Paths : public testing::TestWithParam<Expected> {};
INSTANTIATE_TEST_SUITE_P(
    Known, Paths,
    testing::Values(
        Expected{"Itself", box, "h0.gpu0", "h0.gpu0", PathClass::kLoc, UINT64_MAX, 0},
        Expected{"OverAVendorSwitch", box, "h0.gpu0", "h0.gpu7", PathClass::kNvl, 225'000'000'000, 2},
        Expected{"ToTheNicBeside", box, "h0.gpu0", "h0.nic0", PathClass::kPix, 63'000'000'000, 2},
        Expected{"ToAFarNicByANeighbour", box, "h0.gpu0", "h0.nic3", PathClass::kPxn, 63'000'000'000, 4},
        Expected{"FromAFarNicByANeighbour", box, "h0.nic3", "h0.gpu0", PathClass::kPxn, 63'000'000'000, 4},
        Expected{"BetweenNicsOfASocket", box, "h0.nic0", "h0.nic1", PathClass::kPhb, 63'000'000'000, 6},
        Expected{"BetweenNicsOfSockets", box, "h0.nic0", "h0.nic3", PathClass::kSys, 60'000'000'000, 7},
        Expected{"ToMemory", box, "h0.gpu0", "h0.numa0", PathClass::kPhb, 63'000'000'000, 3},
        Expected{"BetweenHosts", two_boxes, "h0.gpu0", "h1.gpu7", PathClass::kNet, 50'000'000'000, 11},
        Expected{"DirectlyJoined", test::cube_mesh, "h0.gpu0", "h0.gpu1", PathClass::kNvl, 25'000'000'000, 1},
        Expected{"RootPorts", test::pcie_box, "h0.gpu0", "h0.gpu3", PathClass::kPhb, 63'000'000'000, 4},
        Expected{"PairsDirect", test::pairs_box, "h0.gpu0", "h0.gpu1", PathClass::kNvl, 64'000'000'000, 1},
        Expected{"PairsAcross", test::pairs_box, "h0.gpu1", "h0.gpu2", PathClass::kSys, 60'000'000'000, 3}),
    [](const auto& each) { return std::string(each.param.name); });

TEST_P(Paths, HaveTheirClassBottleneckAndHops) {
  const Expected& expected = GetParam();
  const Graph graph = canonical(expected.make());
  const PathInfo found = path(graph, expected.from, expected.to);
  EXPECT_EQ(name_of(found.path_class), name_of(expected.path_class));
  EXPECT_EQ(found.bandwidth_bytes_per_s, expected.bandwidth_bytes_per_s);
  EXPECT_EQ(found.hops, expected.hops);
  EXPECT_EQ(found.links.size(), found.hops);
  EXPECT_EQ(found.latency_ns, 100 * found.hops);
  uint32_t node = at(graph, expected.from);
  for (uint32_t number : found.links) {
    EXPECT_EQ(graph.links[number].from, node);
    node = graph.links[number].to;
  }
  EXPECT_EQ(node, at(graph, expected.to));
}

// In the cube mesh three pairs of eight have no link of their own: over one device between.
TEST(PathsOfACubeMesh, AreDirectOrByOneOtherDevice) {
  const Graph graph = canonical(test::cube_mesh());
  uint32_t direct = 0, by_another = 0;
  for (uint32_t from : graph.nodes_of(NodeKind::kDevice)) {
    const auto paths = paths_from(graph, from);
    for (uint32_t to : graph.nodes_of(NodeKind::kDevice)) {
      direct += paths[to].path_class == PathClass::kNvl;
      by_another += paths[to].path_class == PathClass::kNvb;
    }
  }
  EXPECT_EQ(direct, 8u * 4);
  EXPECT_EQ(by_another, 8u * 3);
}

TEST(Paths, ThatDoNotExistSaySo) {
  Graph graph = test::pcie_box();
  graph.add({.kind = NodeKind::kNic, .name = "loose", .host = 0});
  canonicalize(graph);
  const PathInfo found = path(graph, "h0.gpu0", "h0.nic0");
  EXPECT_EQ(found.path_class, PathClass::kDis);
  EXPECT_TRUE(found.links.empty());
}

TEST(Paths, TakeTheWiderOfTwoOfOneClass) {
  Graph graph = test::pairs_box();
  const uint32_t wide = graph.add({.kind = NodeKind::kVendorSwitch, .host = 0});
  for (uint32_t device : graph.nodes_of(NodeKind::kDevice)) {
    graph.join(
        {.from = device, .to = wide, .kind = LinkKind::kXgmi, .bandwidth_bytes_per_s = 90'000'000'000});
  }
  canonicalize(graph);
  EXPECT_EQ(path(graph, "h0.gpu0", "h0.gpu1").bandwidth_bytes_per_s, 90'000'000'000u);
}

TEST(Islands, AreWhatVendorsLinksJoin) {
  EXPECT_EQ(islands(canonical(test::switched_box())).size(), 1u);
  EXPECT_EQ(islands(canonical(test::switched_box()))[0].size(), 8u);
  EXPECT_EQ(islands(canonical(test::pairs_box())).size(), 2u);
  EXPECT_TRUE(islands(canonical(test::pcie_box())).empty());
  EXPECT_EQ(islands(canonical(test::railed_cluster(3))).size(), 3u);
}

TEST(Rails, AreThePlanesOfTheNetwork) {
  const Graph graph = canonical(test::railed_cluster(3));
  const auto found = rails(graph);
  ASSERT_EQ(found.size(), 4u);
  for (const auto& rail : found) EXPECT_EQ(rail.size(), 3u);
}

TEST(Rails, StayApartWhenASpineJoinsTheirSwitches) {
  Graph graph = test::railed_cluster(3);
  const uint32_t spine = graph.add({.kind = NodeKind::kNetSwitch, .name = "spine", .host = kNoHost});
  for (uint32_t i : graph.nodes_of(NodeKind::kNetSwitch)) {
    if (i != spine) graph.join({.from = i, .to = spine, .kind = LinkKind::kInfiniband});
  }
  canonicalize(graph);
  EXPECT_EQ(rails(graph).size(), 4u);
}

TEST(Rails, AreOneWhereASwitchHoldsAllPortsOfAHost) {
  const auto found = rails(canonical(test::flat_cluster(3)));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].size(), 6u);
}

TEST(Rails, OfNicsThatLeadNowhereFollowTheirPlaceInTheHost) {
  const auto found = rails(canonical(test::switched_box()));
  ASSERT_EQ(found.size(), 4u);
  for (const auto& rail : found) EXPECT_EQ(rail.size(), 1u);
}

}  // namespace
}  // namespace comity::topology
