// The notation: what it composes, what it cuts and degrades, and how it complains.

#include "topology/catalogue/notation.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "topology/paths.h"

namespace comity::topology {
namespace {

Graph graph_of(std::string_view text) {
  Result<Graph> graph = graph_from_notation(text);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  return graph.ok() ? *std::move(graph) : Graph();
}

// Links from a node to another, by ids; empty `to`: to network switches.
std::vector<Link> links(const Graph& graph, const std::string& from, const std::string& to) {
  std::vector<Link> found;
  for (const Link& link : graph.links) {
    const Node& far = graph.nodes[link.to];
    if (graph.nodes[link.from].id == from && (to.empty() ? far.kind == NodeKind::kNetSwitch : far.id == to))
      found.push_back(link);
  }
  return found;
}

TEST(Notation, ComposesHostsOfDifferentMachinesInOrder) {
  const Graph graph = graph_of("2*dgx-h100 + 1*mi300x-8 via rail(8, 50GB/s)");
  EXPECT_EQ(graph.host_count(), 3u);
  EXPECT_EQ(graph.nodes_of(NodeKind::kDevice).size(), 24u);
  EXPECT_EQ(graph.nodes_of(NodeKind::kNetSwitch).size(), 8u);
  const int64_t last = graph.find("h2.gpu0"), first = graph.find("h0.gpu0");
  ASSERT_GE(last, 0);
  ASSERT_GE(first, 0);
  EXPECT_EQ(graph.nodes[static_cast<size_t>(last)].vendor, "amd");
  EXPECT_EQ(graph.nodes[static_cast<size_t>(first)].vendor, "nvidia");
  EXPECT_EQ(islands(graph).size(), 3u);
  EXPECT_EQ(graph.origin, "2*dgx-h100 + 1*mi300x-8 via rail(8, 50GB/s)");
}

TEST(Notation, RailsJoinTheNicsOfOnePlaceInEveryHost) {
  const Graph graph = graph_of("3*dgx-h100 via rail(8, 50GB/s)");
  const auto found = rails(graph);
  ASSERT_EQ(found.size(), 8u);
  for (const auto& rail : found) {
    ASSERT_EQ(rail.size(), 3u);
    std::set<std::string> places;
    for (uint32_t nic : rail) places.insert(graph.nodes[nic].id.substr(3));
    EXPECT_EQ(places.size(), 1u) << "one place in all hosts";
  }
}

TEST(Notation, ALinkHasTheLowerOfTheNicsSpeedAndTheNetworks) {
  const Graph slow_network = graph_of("2*dgx-h100 via rail(8, 25GB/s)");
  EXPECT_EQ(links(slow_network, "h0.nic0", "").at(0).bandwidth_bytes_per_s, 25'000'000'000u);
  const Graph slow_nics = graph_of("2*dgx-a100 via rail(8, 400Gbit/s)");
  EXPECT_EQ(links(slow_nics, "h0.nic0", "").at(0).bandwidth_bytes_per_s, 25'000'000'000u);
}

TEST(Notation, TakesUnequalNicsAndSpeeds) {
  const Graph graph = graph_of(
      "dgx-h100{nics=[50GB/s, 12.5GB/s, 100Gbit/s]} + dgx-h100{nics=2, nic_speed=25GB/s} "
      "via switch(50GB/s)");
  EXPECT_EQ(graph.nodes_of(NodeKind::kNic).size(), 5u);
  EXPECT_EQ(links(graph, "h0.nic0", "").at(0).bandwidth_bytes_per_s, 50'000'000'000u);
  EXPECT_EQ(links(graph, "h0.nic1", "").at(0).bandwidth_bytes_per_s, 12'500'000'000u);
  EXPECT_EQ(links(graph, "h0.nic2", "").at(0).bandwidth_bytes_per_s, 12'500'000'000u);
  EXPECT_EQ(links(graph, "h1.nic1", "").at(0).bandwidth_bytes_per_s, 25'000'000'000u);
}

TEST(Notation, SlicesOfADeviceShareItsLinks) {
  const Graph graph = graph_of("dgx-h100{slices=4}");
  EXPECT_EQ(graph.nodes_of(NodeKind::kDevice).size(), 32u);
  std::set<std::string> shared;
  size_t vendor_links = 0;
  for (const Link& link : graph.links) {
    if (link.kind != LinkKind::kNvlink || graph.nodes[link.from].kind != NodeKind::kDevice) continue;
    EXPECT_FALSE(link.shared.empty());
    shared.insert(link.shared);
    ++vendor_links;
  }
  EXPECT_EQ(vendor_links, 32u);
  EXPECT_EQ(shared.size(), 8u) << "four slices share the links of one device";
}

TEST(Notation, LeavesOutDevices) {
  const Graph graph = graph_of("dgx-h100{devices=7} + dgx-h100 via switch(50GB/s)");
  EXPECT_EQ(graph.nodes_of(NodeKind::kDevice).size(), 15u);
  EXPECT_EQ(graph_of("mi300x-8{devices=0}").nodes_of(NodeKind::kDevice).size(), 0u);
}

TEST(Notation, CutsALink) {
  const Graph graph = graph_of("2*dgx-h100 via rail(8, 50GB/s) - link(h0.nic3)");
  EXPECT_TRUE(links(graph, "h0.nic3", "").empty());
  EXPECT_EQ(links(graph, "h1.nic3", "").size(), 1u);
  EXPECT_EQ(links(graph, "h0.nic2", "").size(), 1u);
  const Graph mesh = graph_of("mi300x-8 - link(h0.gpu0, h0.gpu1)");
  EXPECT_TRUE(links(mesh, "h0.gpu0", "h0.gpu1").empty());
  EXPECT_TRUE(links(mesh, "h0.gpu1", "h0.gpu0").empty()) << "both directions";
  const Graph fallen = graph_of("dgx-h100 - link(h0.gpu5)");
  ASSERT_EQ(islands(fallen).size(), 1u);
  EXPECT_EQ(islands(fallen)[0].size(), 7u) << "without its vendor's links";
}

TEST(Notation, DegradesALink) {
  const Graph graph = graph_of("2*dgx-h100 via rail(8, 50GB/s) ~ link(h0.nic3, 10GB/s) - link(h1.nic0)");
  EXPECT_EQ(links(graph, "h0.nic3", "").at(0).bandwidth_bytes_per_s, 10'000'000'000u);
  EXPECT_TRUE(links(graph, "h1.nic0", "").empty());
  const Graph half = graph_of("dgx-h100 ~ link(h0.gpu0, 225GB/s)");
  const auto to_switch = std::find_if(half.links.begin(), half.links.end(), [&half](const Link& link) {
    return half.nodes[link.from].id == "h0.gpu0" && link.kind == LinkKind::kNvlink;
  });
  ASSERT_NE(to_switch, half.links.end());
  EXPECT_EQ(to_switch->total_bytes_per_s(), 225'000'000'000u) << "all parallel links together";
}

TEST(Notation, OneSwitchSpeaksOneNetwork) {
  const auto kinds = [](std::string_view text) {
    std::set<std::string> found;
    for (const Link& link : graph_of(text).links) {
      if (is_network(link.kind)) found.emplace(name_of(link.kind));
    }
    return found;
  };
  EXPECT_EQ(kinds("2*dgx-h100 via rail(8, 50GB/s)"), std::set<std::string>{"infiniband"});
  EXPECT_EQ(kinds("dgx-h100 + mi300x-8 via rail(8, 50GB/s)"), std::set<std::string>{"roce"});
  EXPECT_EQ(kinds("dgx-h100 + mi250-8 via rail(8, 50GB/s)"), std::set<std::string>{"ethernet"});
  EXPECT_EQ(kinds("2*mi300x-8 via rail(8, 50GB/s, ethernet)"), std::set<std::string>{"ethernet"});
}

TEST(Notation, BuildsFatTrees) {
  const Graph graph = graph_of("8*dgx-h100 via fat_tree(4, 2, 50GB/s)");
  EXPECT_EQ(graph.nodes_of(NodeKind::kNetSwitch).size(), 4u) << "two leaves and two spines";
  size_t between = 0;
  for (const Link& link : graph.links) {
    between += graph.nodes[link.from].kind == NodeKind::kNetSwitch &&
               graph.nodes[link.to].kind == NodeKind::kNetSwitch;
  }
  EXPECT_EQ(between, 8u) << "both directions of four";
}

TEST(Notation, CountsTheHostsOfARack) {
  const Graph graph = graph_of("2*nvl72 via rail(4, 50GB/s)");
  EXPECT_EQ(graph.host_count(), 36u);
  EXPECT_EQ(islands(graph).size(), 2u) << "each rack its own";
  EXPECT_GE(graph.find("h35.gpu3"), 0);
}

TEST(Notation, MeansTheSameWithOtherBlanks) {
  const Graph a = graph_of("2*dgx-h100+mi300x-8 via rail(8,50GB/s)-link(h0.nic3)");
  const Graph b = graph_of(" 2 * dgx-h100\n + 1*mi300x-8   via rail ( 8 , 50 GB/s ) - link ( h0.nic3 ) ");
  EXPECT_EQ(a.nodes, b.nodes);
  EXPECT_EQ(a.links, b.links);
  EXPECT_EQ(hash(a), hash(b));
}

TEST(Notation, TakesWhatIsClear) {
  const uint64_t plain = hash(graph_of("2*dgx-h100 via rail(8, 400Gbit/s)"));
  for (const char* text :
       {"2*DGX-H100 via rail(8, 400Gbit/s)", "2x dgx-h100 via rail(8, 400Gb/s)",
        "2xdgx-h100 via rail(8, 400Gbps)", "2 X Dgx-h100 via rail(8, 0.4 Tb/s)",
        "2\xc3\x97 dgx-h100 via rail(8, 400 gbit/s)", "2*dgx-h100 via rail(8, 50GB/s, InfiniBand)"})
    EXPECT_EQ(hash(graph_of(text)), plain) << text;
}

// Links of one edit that are not equal: what is slower already stays.
TEST(Notation, NeverMakesALinkFasterThanItWas) {
  const Graph graph = graph_of(
      "mi300x-8 ~ link(h0.gpu0, h0.gpu1, 10GB/s) ~ link(h0.gpu0, 20GB/s) ~ link(h0.gpu0, h0.gpu2, 20GB/s)");
  EXPECT_EQ(links(graph, "h0.gpu0", "h0.gpu1").at(0).bandwidth_bytes_per_s, 10'000'000'000u);
  EXPECT_EQ(links(graph, "h0.gpu1", "h0.gpu0").at(0).bandwidth_bytes_per_s, 10'000'000'000u);
  EXPECT_EQ(links(graph, "h0.gpu0", "h0.gpu2").at(0).bandwidth_bytes_per_s, 20'000'000'000u);
}

struct Wrong {
  const char* text;
  size_t column;  // from 1
  const char* says;
};

class WrongNotation : public testing::TestWithParam<Wrong> {};

TEST_P(WrongNotation, IsRefusedWithACaretBelowItsColumn) {
  const Result<Graph> graph = graph_from_notation(GetParam().text);
  ASSERT_FALSE(graph.ok());
  EXPECT_EQ(graph.status().code(), Code::kInvalidArgument);
  const std::string message(graph.status().message());
  EXPECT_EQ(message.rfind(fmt::format("column {}: ", GetParam().column), 0), 0u) << message;
  EXPECT_NE(message.find(GetParam().says), std::string::npos) << message;
  const size_t caret = message.rfind('^');
  ASSERT_NE(caret, std::string::npos) << message;
  EXPECT_EQ(caret - message.rfind('\n') - 3, GetParam().column - 1) << message;
}

INSTANTIATE_TEST_SUITE_P(
    Each, WrongNotation,
    testing::Values(
        Wrong{"", 1, "expected a machine"}, Wrong{"2*", 3, "expected a machine"},
        Wrong{"2 dgx-h100", 3, "expected *"}, Wrong{"0*dgx-h100", 1, "from 1 to 4096"},
        Wrong{"99999999999999999999*dgx-h100", 1, "from 1 to 4096"},
        Wrong{"4097*dgx-h100", 1, "from 1 to 4096"}, Wrong{"dgx-h100 + ", 12, "expected a machine"},
        Wrong{"dgx-h10", 1, "is dgx-h100 meant?"}, Wrong{"dgx-h100 + 2*foo", 14, "there is no machine"},
        Wrong{"dgx-h100 mi300x-8", 10, "expected +, via"}, Wrong{"dgx-h100{", 10, "expected slices="},
        Wrong{"dgx-h100{slices}", 16, "expected ="}, Wrong{"dgx-h100{slices=x}", 17, "the number of slices"},
        Wrong{"dgx-h100{slices=99}", 17, "from 1 to 32"}, Wrong{"dgx-h100{cores=4}", 10, "expected slices="},
        Wrong{"dgx-h100{slices=4", 18, "expected , or }"}, Wrong{"dgx-h100{devices=9}", 1, "9 devices asked"},
        Wrong{"dgx-h100{nics=9}", 1, "9 NICs asked"}, Wrong{"dgx-h100{nics=[1GB/s}", 21, "expected , or ]"},
        Wrong{"cpu-1s{nics=[1GB/s,1GB/s]}", 1, "2 NICs asked"},
        Wrong{"dgx-h100{nic_speed=1GB/s,nics=[1GB/s]}", 26, "said twice"},
        Wrong{"dgx-h100{nics=[1GB/s],nic_speed=1GB/s}", 23, "said twice"},
        Wrong{"dgx-h100 via", 13, "expected rail("}, Wrong{"dgx-h100 via mesh(1GB/s)", 14, "expected rail("},
        Wrong{"dgx-h100 via rail 8", 19, "expected ("},
        Wrong{"dgx-h100 via rail(x)", 19, "the number of rails"},
        Wrong{"dgx-h100 via rail(0, 1GB/s)", 19, "from 1 to 1024"},
        Wrong{"dgx-h100 via rail(8, fast)", 22, "expected a speed"},
        Wrong{"dgx-h100 via rail(8, 50)", 24, "expected a unit"},
        Wrong{"dgx-h100 via rail(8, 50GB)", 24, "expected a unit"},
        Wrong{"dgx-h100 via rail(8, 0GB/s)", 22, "a speed is from"},
        Wrong{"dgx-h100 via rail(8, 99999TB/s)", 22, "a speed is from"},
        Wrong{"dgx-h100 via rail(8, 50GB/s, wifi)", 30, "expected a network"},
        Wrong{"dgx-h100 via rail(8, 50GB/s", 28, "expected )"},
        Wrong{"dgx-h100{nics=0} via switch(1GB/s)", 22, "no host has a NIC"},
        Wrong{"dgx-h100 - nic(h0.nic3)", 12, "expected - link("},
        Wrong{"dgx-h100 - link(h0.nic3", 24, "expected )"},
        Wrong{"dgx-h100 - link(3)", 17, "expected the id of a node"},
        Wrong{"dgx-h100 - link(h0.nic3)", 17, "no link from h0.nic3 into a network"},
        Wrong{"dgx-h100 - link(h1.nic3)", 17, "there is no node h1.nic3: hosts are h0 to h0"},
        Wrong{"dgx-h100 - link(h0.numa0)", 17, "name both ends"},
        Wrong{"dgx-h100 - link(h0.gpu0, h0.gpu1)", 17, "no link between h0.gpu0 and h0.gpu1"},
        Wrong{"pcie-gen5-4 - link(h0.gpu0)", 20, "no link of a vendor's kind"},
        Wrong{"mi300x-8 ~ link(h0.gpu0, h0.gpu1)", 33, "expected the speed that is left"},
        Wrong{"mi300x-8 - link(h0.gpu0, h0.gpu1, h0.gpu2)", 35, "a link has two ends"},
        Wrong{"mi300x-8 - link(h0.gpu0) + dgx-h100", 26, "expected - link(...)"},
        Wrong{"2*dgx-h100 via rail(8, 50GB/s) ~ link(h0.nic0, 100GB/s)", 39,
              "this one has 50 GB/s, less than 100"},
        Wrong{"mi300x-8 ~ link(h0.gpu0, h0.gpu1, 64.001GB/s)", 17, "this one has 64 GB/s"},
        Wrong{"h100", 1, "is dgx-h100 meant?"}, Wrong{"DGX-H10", 1, "is dgx-h100 meant?"},
        Wrong{"dgx", 1, "is dgx-1v or dgx-a100 or dgx-b200 or dgx-h100 or dgx-h200 meant?"},
        Wrong{"2x", 3, "expected a machine"}, Wrong{"2 dgx-h100", 3, "as 2*dgx-h100"},
        Wrong{"dgx-h100*2", 9, "the number stands before the machine"},
        Wrong{"dgx-h100 via switch(400gb/s)", 24, "Gbit/s for bits, GB/s for bytes"},
        Wrong{"dgx-h100 via switch(400)", 24, "expected a unit"},
        Wrong{"100*nvl72 + 100*cloudmatrix384", 17, "more than 4096 hosts"},
        Wrong{"cpu-1s + 4000*mi300x-8{slices=8}", 15, "links in all"}));

TEST(Notation, ShowsThePartOfALongTextThatIsWrong) {
  std::string text = "dgx-h100";
  for (int i = 0; i < 100; ++i) text += " + dgx-h100";
  text += " + \x1b[31mfoo";
  const Result<Graph> graph = graph_from_notation(text);
  ASSERT_FALSE(graph.ok());
  EXPECT_LT(graph.status().message().size(), 400u);
  EXPECT_EQ(graph.status().message().find('\x1b'), std::string_view::npos)
      << "no control characters to a terminal";
  EXPECT_FALSE(graph_from_notation(std::string(kMostNotationBytes + 1, 'a')).ok());
}

TEST(Notation, HoldsFourThousandHosts) {
  const Graph graph = graph_of("4096*cpu-2s via rail(1, 25GB/s)");
  EXPECT_EQ(graph.host_count(), 4096u);
}

}  // namespace
}  // namespace comity::topology
