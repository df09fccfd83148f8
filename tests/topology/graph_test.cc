// The graph itself: what is valid, the canonical form, hashes, our JSON.
#include "topology/graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <numeric>
#include <random>
#include <string>

#include "tests/topology/machines.h"
#include "topology/json.h"

namespace comity::topology {
namespace {

// The same graph, its nodes and links listed in another order.
Graph shuffled(const Graph& graph, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint32_t> order(graph.nodes.size());
  std::iota(order.begin(), order.end(), 0u);
  std::shuffle(order.begin(), order.end(), random);
  Graph other;
  std::vector<uint32_t> place(order.size());
  for (uint32_t i = 0; i < order.size(); ++i) {
    place[order[i]] = i;
    other.add(graph.nodes[order[i]]);
    other.nodes.back().id.clear();
  }
  for (Link link : graph.links) {
    link.from = place[link.from];
    link.to = place[link.to];
    other.add(link);
  }
  std::shuffle(other.links.begin(), other.links.end(), random);
  return other;
}

class Machines : public testing::TestWithParam<test::Machine> {};
INSTANTIATE_TEST_SUITE_P(All, Machines, testing::ValuesIn(test::all_machines()),
                         [](const auto& each) { return std::string(each.param.name); });

TEST_P(Machines, AreValid) {
  const Status status = validate(GetParam().make());
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST_P(Machines, HaveOneCanonicalFormHoweverTheyAreListed) {
  Graph graph = GetParam().make();
  canonicalize(graph);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Graph other = shuffled(graph, seed);
    EXPECT_EQ(structural_hash(other), structural_hash(graph));
    canonicalize(other);
    ASSERT_TRUE(other == graph) << "seed " << seed << "\n" << to_json(other) << to_json(graph);
    EXPECT_EQ(hash(other), hash(graph));
  }
}

TEST_P(Machines, StayAsTheyAreWhenMadeCanonicalTwice) {
  Graph graph = GetParam().make();
  canonicalize(graph);
  const Graph once = graph;
  canonicalize(graph);
  EXPECT_TRUE(graph == once);
}

// The machines' links are alike; here figures differ that do not order nodes.
TEST(Graphs, StayAsTheyAreWhenOnlyFiguresTellNodesApart) {
  Graph graph;
  const uint32_t host = graph.add({.kind = NodeKind::kHost});
  for (uint64_t speed = 1; speed <= 7; ++speed)
    graph.join({.from = host, .to = graph.add({.kind = NodeKind::kDevice}), .bandwidth_bytes_per_s = speed});
  canonicalize(graph);
  const Graph once = graph;
  canonicalize(graph);
  EXPECT_TRUE(graph == once) << to_json(once) << to_json(graph);
}

TEST_P(Machines, AreReadBackEqualFromJson) {
  Graph graph = GetParam().make();
  canonicalize(graph);
  graph.origin = "x";
  const auto back = from_json(to_json(graph), "x");
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_TRUE(*back == graph);
}

TEST_P(Machines, KeepTheirStructuralHashWhenOnlyFiguresChange) {
  Graph graph = GetParam().make();
  canonicalize(graph);
  Graph measured = graph;
  for (Link& link : measured.links) {
    link.bandwidth_bytes_per_s += 1;
    link.source = Source::kMeasured;
  }
  EXPECT_EQ(structural_hash(measured), structural_hash(graph));
  EXPECT_NE(hash(measured), hash(graph));
  measured.links.pop_back();
  EXPECT_NE(structural_hash(measured), structural_hash(graph));
}

TEST(Graphs, NameNodesByHostKindAndPlace) {
  Graph graph = test::switched_box();
  canonicalize(graph);
  for (const char* id : {"h0", "h0.numa1", "h0.gpu7", "h0.nic3", "h0.vswitch1", "h0.switch0", "h0.bridge1"}) {
    EXPECT_GE(graph.find(id), 0) << id;
  }
}

TEST(Graphs, CountInNamesAsPeopleDo) {
  Graph graph;
  graph.add({.kind = NodeKind::kHost, .host = 4});
  for (const char* name : {"mlx5_10", "mlx5_9", "mlx5_2"})
    graph.add({.kind = NodeKind::kNic, .name = name, .host = 4});
  canonicalize(graph);
  EXPECT_EQ(graph.nodes[static_cast<size_t>(graph.find("h0.nic0"))].name, "mlx5_2");
  EXPECT_EQ(graph.nodes[static_cast<size_t>(graph.find("h0.nic2"))].name, "mlx5_10");
}

// What is wrong is named.
struct Fault {
  const char* name;
  void (*make)(Graph& graph);
  const char* says;
};
class Faults : public testing::TestWithParam<Fault> {};
INSTANTIATE_TEST_SUITE_P(
    All, Faults,
    testing::Values(
        Fault{"Empty", [](Graph& g) { g = {}; }, "no nodes"},
        Fault{"LinkToNowhere", [](Graph& g) { g.links[0].to = 99'999; }, "node 99999"},
        Fault{"LinkToItself", [](Graph& g) { g.links[0].to = g.links[0].from; }, "to itself"},
        Fault{"CountZero", [](Graph& g) { g.links[0].count = 0; }, "count 0"},
        Fault{"TooMuch",
              [](Graph& g) {
                g.links[0].count = 2;
                g.links[0].bandwidth_bytes_per_s = UINT64_MAX;
              },
              "beyond 64 bits"},
        Fault{"IdTwice", [](Graph& g) { g.nodes[0].id = g.nodes[1].id = "a"; }, "\"a\" is used twice"},
        Fault{"DeviceWithoutHost",
              [](Graph& g) { g.add({.kind = NodeKind::kDevice, .name = "x", .host = kNoHost}); },
              "without a host"},
        Fault{"HostWithoutNode", [](Graph& g) { g.add({.kind = NodeKind::kDevice, .host = 7}); }, "host 7"},
        Fault{"HostTwice", [](Graph& g) { g.add({.kind = NodeKind::kHost, .host = 0}); },
              "second node for host 0"}),
    [](const auto& each) { return std::string(each.param.name); });

TEST_P(Faults, AreRefusedByName) {
  Graph graph = test::switched_box();
  GetParam().make(graph);
  const Status status = validate(graph);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(std::string(status.message()).find(GetParam().says), std::string::npos) << status.message();
}

// Texts of strangers.
struct BadText {
  const char* name;
  const char* from;
  const char* to;
  const char* says;
};
class BadTexts : public testing::TestWithParam<BadText> {};
INSTANTIATE_TEST_SUITE_P(
    All, BadTexts,
    testing::Values(
        BadText{"Version", "\"version\": 1", "\"version\": 2", "version 2"},
        BadText{"NoJson", "\"version\": 1", "\"version\": ", "file.json: "},
        BadText{"Kind", "\"kind\": \"numa\"", "\"kind\": \"nvma\"", "there is no \"nvma\""},
        BadText{"MissingKind", "\"kind\": \"numa\",", "", "lacks \"kind\""},
        BadText{"UnknownField", "\"kind\": \"numa\"", "\"kind\": \"numa\", \"knid\": 1", "\"knid\""},
        BadText{"NoSuchNode", "\"to\": \"h0.numa1\"", "\"to\": \"h9\"", "no node \"h9\""},
        BadText{"Negative", "\"count\": 1", "\"count\": -1", "\"count\" is not an integer"},
        BadText{"TooLarge", "\"count\": 1", "\"count\": 4294967296", "\"count\" is not an integer"},
        BadText{"Fraction", "\"latency_ns\": 100", "\"latency_ns\": 0.5", "\"latency_ns\" is not"},
        BadText{"HostText", "\"host\": 0", "\"host\": \"0\"", "\"host\" is not"}),
    [](const auto& each) { return std::string(each.param.name); });

TEST_P(BadTexts, AreRefusedWithFileAndPlace) {
  Graph graph = test::switched_box();
  canonicalize(graph);
  std::string text = to_json(graph);
  const size_t at = text.find(GetParam().from);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, std::string(GetParam().from).size(), GetParam().to);
  const auto read = from_json(text, "file.json");
  ASSERT_FALSE(read.ok());
  const std::string message(read.status().message());
  EXPECT_NE(message.find(GetParam().says), std::string::npos) << message;
  EXPECT_NE(message.find("file.json"), std::string::npos) << message;
}

TEST(Json, OfTheSamplesIsWrittenAsItWasRead) {
  for (const char* name : {"cpu-1s-2hosts.json", "gpu-2.json"}) {
    std::ifstream file(std::string(COMITY_TEST_SAMPLES "/json/") + name);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const auto graph = from_json(text, name);
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    EXPECT_EQ(to_json(*graph), text) << name;
  }
}

TEST(Json, OfNestingWithoutEndIsRefused) {
  EXPECT_FALSE(from_json(std::string(1'000'000, '['), "deep").ok());
}

TEST(Json, OfAnyPrefixIsRefused) {
  Graph graph = test::switched_box();
  canonicalize(graph);
  const std::string text = to_json(graph);
  for (size_t length = 0; length + 2 < text.size(); length += 37)
    EXPECT_FALSE(from_json(std::string_view(text).substr(0, length), "cut").ok()) << length;
}

}  // namespace
}  // namespace comity::topology
