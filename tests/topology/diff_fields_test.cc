// Differences field by field: each that a graph can hold is changed, one at a time, and must be told.

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "topology/catalogue/notation.h"
#include "topology/diff.h"
#include "topology/import/recognize.h"

namespace comity::topology {
namespace {

using Lines = std::vector<std::string>;

Lines lines(const Graph& before, const Graph& after) {
  Lines all;
  for (const Difference& each : diff(before, after))
    all.push_back(fmt::format("{}: {}", name_of(each.kind), each.text));
  return all;
}

// A NIC and its cable, with everything said of them that can be.
Graph example() {
  Graph graph;
  Node host{
      .kind = NodeKind::kHost, .name = "alpha", .attributes = {{"hostname", "alpha"}, {"boot_id", "1"}}};
  Node nic{.kind = NodeKind::kNic,
           .name = "mlx5_0",
           .vendor = "mellanox",
           .numa = 0,
           .bus_id = "0000:17:00.0",
           .attributes = {{"net.bandwidth_bytes_per_s", "25000000000"},
                          {"net.state", "active"},
                          {"pcie.current", "16 GT/s x16"}}};
  Node numa{.kind = NodeKind::kNuma,
            .name = "NUMA 0",
            .numa = 0,
            .attributes = {{"cpuset", "0-15"}, {"memory_bytes", "274877906944"}}};
  Node net{.kind = NodeKind::kNetSwitch, .name = "leaf", .host = kNoHost};
  for (Node* each : {&host, &nic, &numa, &net}) graph.add(*each);
  graph.join({.from = 0, .to = 2, .kind = LinkKind::kMemory});
  graph.join({.from = 2, .to = 1, .kind = LinkKind::kPcie, .bandwidth_bytes_per_s = 31'500'000'000});
  graph.join({.from = 1,
              .to = 3,
              .kind = LinkKind::kInfiniband,
              .bandwidth_bytes_per_s = 25'000'000'000,
              .latency_ns = 600,
              .count = 2,
              .source = Source::kReported,
              .shared = "h0.port",
              .attributes = {{"cable", "copper"}}});
  canonicalize(graph);
  return graph;
}

size_t nic_of(const Graph& graph) {
  return graph.nodes_of(NodeKind::kNic).at(0);
}

template <typename Thing>
struct Change {
  const char* field;
  std::function<void(Thing&)> change;
  Lines told;
};

// Whoever adds a field to Node must name it here to compile, and then say what is told of it.
TEST(DiffFields, TellsOfEachFieldOfANode) {
  Node node;
  const auto& [id, kind, name, host, vendor, numa, bus_id, attributes] = node;
  constexpr size_t kFields = 8;
  (void)id, (void)kind, (void)name, (void)host, (void)vendor, (void)numa, (void)bus_id, (void)attributes;
  const std::vector<Change<Node>> changes = {
      {"id", [](Node& nic) { nic.id = "h0.nic9"; }, {}},  // follows from the place
      {"kind",
       [](Node& nic) { nic.kind = NodeKind::kDevice; },
       {"missing: nic h0.nic0, mlx5_0, 0000:17:00.0", "added: device h0.nic0, mlx5_0, 0000:17:00.0"}},
      {"name", [](Node& nic) { nic.name = "mlx5_1"; }, {"other: h0.nic0 is \"mlx5_1\", was \"mlx5_0\""}},
      {"host",
       [](Node& nic) { nic.host = kNoHost; },
       {"missing: nic h0.nic0, mlx5_0, 0000:17:00.0", "added: nic h0.nic0, mlx5_0, 0000:17:00.0"}},
      {"vendor",
       [](Node& nic) { nic.vendor = "intel"; },
       {"other: h0.nic0 is of vendor \"intel\", was of \"mellanox\""}},
      {"numa", [](Node& nic) { nic.numa = 1; }, {"moved: h0.nic0 is near NUMA domain 1, was near 0"}},
      {"bus_id",
       [](Node& nic) { nic.bus_id = "0000:18:00.0"; },
       {"moved: h0.nic0 is at 0000:18:00.0, was at 0000:17:00.0"}},
      {"attributes",
       [](Node& nic) { nic.attributes["new"] = "1"; },
       {"other: h0.nic0: new \"1\", was not told"}},
  };
  ASSERT_EQ(changes.size(), kFields);
  for (const auto& each : changes) {
    const Graph before = example();
    Graph after = before;
    each.change(after.nodes[nic_of(after)]);
    EXPECT_EQ(lines(before, after), each.told) << each.field;
  }
}

TEST(DiffFields, TellsOfEachFieldOfALink) {
  Link link;
  const auto& [from, to, kind, bandwidth, latency, count, source, shared, attributes] = link;
  constexpr size_t kFields = 9;
  (void)from, (void)to, (void)kind, (void)bandwidth, (void)latency, (void)count, (void)source, (void)shared;
  (void)attributes;
  const std::string name = "h0.nic0 - net.switch0: infiniband";
  // From and to are changed together: the cable goes to the host instead.
  const Lines moved = {"moved: h0.nic0: infiniband to h0, was to net.switch0"};
  const auto to_host = [](Link& each) { (each.from > each.to ? each.from : each.to) = 0; };
  const std::vector<Change<Link>> changes = {
      {"from", to_host, moved},
      {"to", to_host, moved},
      {"kind",
       [](Link& each) { each.kind = LinkKind::kRoce; },
       {"missing: " + name + " 2 x 25 GB/s", "added: h0.nic0 - net.switch0: roce 2 x 25 GB/s"}},
      {"bandwidth_bytes_per_s",
       [](Link& each) { each.bandwidth_bytes_per_s = 5'000'000'000; },
       {"slower: " + name + " 2 x 5 GB/s, was 2 x 25 GB/s"}},
      {"latency_ns", [](Link& each) { each.latency_ns = 900; }, {"slower: " + name + " 900 ns, was 600 ns"}},
      {"count", [](Link& each) { each.count = 3; }, {"faster: " + name + " 3 x 25 GB/s, was 2 x 25 GB/s"}},
      {"source",
       [](Link& each) { each.source = Source::kMeasured; },
       {"other: " + name + " 2 x 25 GB/s by measured, was by reported"}},
      {"shared",
       [](Link& each) { each.shared.clear(); },
       {"other: " + name + " no longer shares its capacity with other links"}},
      {"attributes",
       [](Link& each) { each.attributes["cable"] = "optical"; },
       {"other: " + name + ": cable \"optical\", was \"copper\""}},
  };
  ASSERT_EQ(changes.size(), kFields);
  for (const auto& each : changes) {
    const Graph before = example();
    Graph after = before;
    for (Link& cable : after.links) {
      if (is_network(cable.kind)) each.change(cable);
    }
    EXPECT_EQ(lines(before, after), each.told) << each.field;
  }
}

TEST(DiffFields, TellsOfTheSpeedOfACableThatMoved) {
  const Graph before = example();
  Graph after = before;
  for (Link& cable : after.links) {
    if (!is_network(cable.kind)) continue;
    (cable.from > cable.to ? cable.from : cable.to) = 0;
    cable.bandwidth_bytes_per_s = 1'000'000'000;
  }
  EXPECT_EQ(lines(before, after), (Lines{"slower: h0.nic0 - h0: infiniband 2 x 1 GB/s, was 2 x 25 GB/s",
                                         "moved: h0.nic0: infiniband to h0, was to net.switch0"}));
}

TEST(DiffFields, TellsOfEachAttributeButThoseOfThisBoot) {
  const auto told = [](std::string_view id, const char* key, const std::string& value) {
    const Graph before = example();
    Graph after = before;
    after.nodes[static_cast<size_t>(after.find(id))].attributes[key] = value;
    return lines(before, after);
  };
  EXPECT_EQ(told("h0.nic0", "net.bandwidth_bytes_per_s", "3125000000"),
            Lines{"slower: h0.nic0: net.bandwidth 3.125 GB/s, was 25 GB/s"});
  EXPECT_EQ(told("h0.nic0", "net.state", "down"),
            Lines{"other: h0.nic0: net.state \"down\", was \"active\""});
  EXPECT_EQ(told("h0.nic0", "pcie.current", "16 GT/s x8"),
            Lines{"other: h0.nic0: pcie.current \"16 GT/s x8\", was \"16 GT/s x16\""});
  EXPECT_EQ(told("h0.numa0", "cpuset", "0-14"), Lines{"other: h0.numa0: cpuset \"0-14\", was \"0-15\""});
  EXPECT_EQ(told("h0.numa0", "memory_bytes", "137438953472"),
            Lines{"missing: h0.numa0: memory 128 GiB, was 256 GiB"});
  EXPECT_EQ(told("h0", "boot_id", "2"), Lines{});
}

TEST(DiffFields, TellsOfAFigureThatIsNoLongerKnown) {
  const Graph before = example();
  Graph after = before;
  for (Link& link : after.links) {
    if (is_network(link.kind)) link.bandwidth_bytes_per_s = link.latency_ns = 0;
  }
  EXPECT_EQ(lines(before, after),
            (Lines{"other: h0.nic0 - net.switch0: infiniband 2 x unknown, was 2 x 25 GB/s",
                   "other: h0.nic0 - net.switch0: infiniband latency unknown, was 600 ns"}));
}

Graph sample(const std::string& name) {
  std::ifstream file(std::filesystem::path(COMITY_TEST_SAMPLES) / "shown" / name);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  Result<Imported> imported = import_any(text, name);
  EXPECT_TRUE(imported.ok()) << imported.status().message();
  return imported.ok() ? std::move(imported->graph) : Graph();
}

TEST(DiffFields, TellsThatANicIsSlower) {
  const Lines all = lines(sample("nccl-nic-200g.xml"), sample("nccl-nic-25g.xml"));
  EXPECT_EQ(std::count(all.begin(), all.end(), "slower: h0.nic0: net.bandwidth 3.125 GB/s, was 25 GB/s"), 1)
      << ::testing::PrintToString(all);
}

TEST(DiffFields, ComparesEachOfSeveralParallelLinks) {
  const Graph before = sample("ibnetdiscover-mixed-speed.txt");
  Graph slower = before, cut = before;
  for (Link& link : slower.links) {
    if (link.bandwidth_bytes_per_s == 2'000'000'000) link.bandwidth_bytes_per_s = 1'000'000'000;
  }
  std::erase_if(cut.links, [](const Link& link) { return link.bandwidth_bytes_per_s == 2'000'000'000; });
  EXPECT_EQ(lines(before, slower), Lines{"slower: net.switch0 - net.switch1: infiniband 1 GB/s, was 2 GB/s"});
  EXPECT_EQ(lines(before, cut),
            Lines{"missing: net.switch0 - net.switch1: infiniband 2 GB/s, one of 2 that are parallel"});
  EXPECT_EQ(lines(before, before), Lines{});
}

// What links share is called by numbers of hosts, and those shift.
TEST(DiffFields, ComparesWhoSharesACapacityAndNotWhatItIsCalled) {
  Result<Graph> before = graph_from_notation("dgx-a100{slices=2}");
  ASSERT_TRUE(before.ok());
  Graph renamed = *before, parted = *before;
  for (Link& link : renamed.links) {
    if (!link.shared.empty()) link.shared = "other." + link.shared;
  }
  EXPECT_EQ(lines(*before, renamed), Lines{});
  const auto gpu = parted.find("h0.gpu1");
  for (Link& link : parted.links) {
    if (!link.shared.empty() && (link.from == gpu || link.to == gpu)) link.shared += ".own";
  }
  const Lines all = lines(*before, parted);
  EXPECT_EQ(
      std::count(all.begin(), all.end(),
                 "other: h0.gpu1 - h0.vswitch0: nvlink shares its capacity with other links than before"),
      1)
      << ::testing::PrintToString(all);
}

}  // namespace
}  // namespace comity::topology
