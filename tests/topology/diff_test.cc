// Differences of topologies: what is missing, slower or moved is said, and nothing else.

#include "topology/diff.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "topology/catalogue/notation.h"

namespace comity::topology {
namespace {

Graph graph_of(std::string_view text) {
  Result<Graph> graph = graph_from_notation(text);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  return graph.ok() ? *std::move(graph) : Graph();
}

std::vector<std::string> lines(const Graph& before, const Graph& after) {
  std::vector<std::string> all;
  for (const Difference& each : diff(before, after))
    all.push_back(std::string(name_of(each.kind)) + ": " + each.text);
  return all;
}
std::vector<std::string> lines(std::string_view before, std::string_view after) {
  return lines(graph_of(before), graph_of(after));
}
using Lines = std::vector<std::string>;

TEST(Diff, OfATopologyAndItselfIsNothing) {
  for (const char* text :
       {"dgx-h100", "2*dgx-h100 + mi300x-8 via rail(8, 50GB/s)", "nvl72", "dgx-a100{slices=4}"})
    EXPECT_EQ(lines(text, text), Lines{}) << text;
}

TEST(Diff, NamesALinkThatIsMissingOnceForBothDirections) {
  EXPECT_EQ(lines("mi300x-8", "mi300x-8 - link(h0.gpu0, h0.gpu1)"),
            Lines{"missing: h0.gpu0 - h0.gpu1: xgmi 64 GB/s"});
  EXPECT_EQ(lines("mi300x-8 - link(h0.gpu0, h0.gpu1)", "mi300x-8"),
            Lines{"added: h0.gpu0 - h0.gpu1: xgmi 64 GB/s"});
}

TEST(Diff, NamesWhatIsSlower) {
  const char* good = "2*dgx-h100 via rail(8, 50GB/s)";
  const char* bad = "2*dgx-h100 via rail(8, 50GB/s) ~ link(h1.nic3, 10GB/s)";
  EXPECT_EQ(lines(good, bad), Lines{"slower: h1.nic3 - net.switch3: infiniband 10 GB/s, was 50 GB/s"});
  EXPECT_EQ(lines(bad, good), Lines{"faster: h1.nic3 - net.switch3: infiniband 50 GB/s, was 10 GB/s"});
}

TEST(Diff, NamesAMissingDeviceAndNothingBehindIt) {
  Graph after = graph_of("dgx-h100");
  const auto gone = static_cast<uint32_t>(after.find("h0.gpu2"));
  std::vector<Link> kept;
  for (Link link : after.links) {
    if (link.from == gone || link.to == gone) continue;
    link.from -= link.from > gone ? 1 : 0;
    link.to -= link.to > gone ? 1 : 0;
    kept.push_back(link);
  }
  after.links = kept;
  after.nodes.erase(after.nodes.begin() + gone);
  canonicalize(after);
  EXPECT_EQ(lines(graph_of("dgx-h100"), after),
            Lines{"missing: device h0.gpu2, NVIDIA H100-SXM5, 0000:28:00.0"});
}

TEST(Diff, NamesACableInAnotherSwitchAsMoved) {
  const Graph before = graph_of("2*dgx-h100 via rail(8, 50GB/s)");
  Graph after = before;
  const auto nic = static_cast<uint32_t>(after.find("h0.nic3"));
  const auto old_switch = static_cast<uint32_t>(after.find("net.switch3"));
  const auto new_switch = static_cast<uint32_t>(after.find("net.switch4"));
  for (Link& link : after.links) {
    if (link.from == nic && link.to == old_switch) link.to = new_switch;
    if (link.to == nic && link.from == old_switch) link.from = new_switch;
  }
  canonicalize(after);
  EXPECT_EQ(lines(before, after), Lines{"moved: h0.nic3: infiniband to net.switch4, was to net.switch3"});
}

TEST(Diff, NamesADeviceOfAnotherKindInItsPlace) {
  const Graph before = graph_of("dgx-h100");
  Graph after = before;
  after.nodes[static_cast<size_t>(after.find("h0.gpu5"))].name = "NVIDIA H20";
  EXPECT_EQ(lines(before, after), Lines{"other: h0.gpu5 is \"NVIDIA H20\", was \"NVIDIA H100-SXM5\""});
}

TEST(Diff, NamesAnAddedHostWithAllThatIsInIt) {
  const Lines all = lines("dgx-h100 via switch(50GB/s)", "2*dgx-h100 via switch(50GB/s)");
  EXPECT_NE(std::find(all.begin(), all.end(), "added: host h1, NVIDIA DGX H100"), all.end());
  EXPECT_TRUE(std::all_of(all.begin(), all.end(),
                          [](const std::string& each) { return each.rfind("added: ", 0) == 0; }));
}

// What is left of a cluster of named hosts without number `gone`.
Graph without_host(const Graph& whole, uint32_t gone) {
  Graph left;
  std::vector<int64_t> to(whole.nodes.size(), -1);
  for (uint32_t i = 0; i < whole.nodes.size(); ++i) {
    Node node = whole.nodes[i];
    if (node.host == gone) continue;
    if (node.host != kNoHost && node.host > gone) --node.host;
    node.id.clear();
    to[i] = left.add(node);
  }
  for (Link link : whole.links) {
    if (to[link.from] < 0 || to[link.to] < 0) continue;
    link.from = static_cast<uint32_t>(to[link.from]);
    link.to = static_cast<uint32_t>(to[link.to]);
    left.add(link);
  }
  canonicalize(left);
  return left;
}

TEST(Diff, NamesOnlyTheHostThatIsGoneAndNotThoseBehindIt) {
  Graph before = graph_of("dgx-h100 + mi300x-8 + dgx-a100 via switch(50GB/s)");
  for (const char* id : {"h0", "h1", "h2"})
    before.nodes[static_cast<size_t>(before.find(id))].attributes["hostname"] = std::string("node-") + id;
  const Lines all = lines(before, without_host(before, 1));
  EXPECT_EQ(std::count(all.begin(), all.end(), "missing: host h1, 8 x AMD Instinct MI300X"), 1)
      << ::testing::PrintToString(all);
  for (const std::string& each : all) {
    EXPECT_EQ(each.rfind("missing: ", 0), 0u) << each;
    EXPECT_NE(each.find(" h1"), std::string::npos) << each;
  }
}

TEST(Diff, KnowsARenamedHostByItsNics) {
  Graph before = graph_of("mi300x-8 + 2*dgx-h100 via switch(50GB/s)");
  for (uint32_t nic : before.nodes_of(NodeKind::kNic))
    before.nodes[nic].attributes["guid"] = before.nodes[nic].id;
  Graph after = without_host(before, 0);
  for (uint32_t host : after.nodes_of(NodeKind::kHost))
    after.nodes[host].attributes["hostname"] = "new-" + after.nodes[host].id;
  Lines renamed;
  for (const std::string& each : lines(before, after)) {
    if (each.find("hostname") != std::string::npos) {
      renamed.push_back(each);
      continue;
    }
    EXPECT_EQ(each.rfind("missing: ", 0), 0u) << each;
    EXPECT_NE(each.find(" h0"), std::string::npos) << each;
  }
  EXPECT_EQ(renamed, (Lines{"other: h1: hostname \"new-h0\", was not told",
                            "other: h2: hostname \"new-h1\", was not told"}));
}

TEST(Diff, SaysMissingBeforeSlowerBeforeMoved) {
  const Lines all = lines("2*mi300x-8 via rail(8, 50GB/s)",
                          "2*mi300x-8 via rail(8, 50GB/s) ~ link(h0.nic0, 1GB/s) - link(h1.nic7)");
  EXPECT_EQ(all, (Lines{"missing: h1.nic7 - net.switch7: roce 50 GB/s",
                        "slower: h0.nic0 - net.switch0: roce 1 GB/s, was 50 GB/s"}));
}

}  // namespace
}  // namespace comity::topology
