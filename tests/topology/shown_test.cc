// What an operator looks for in a topology: parallel links, ports and CPUs in figures, which NIC is beside
// which device, and a fabric of hundreds of hosts on one page.

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "src/base/hash.h"
#include "topology/catalogue/notation.h"
#include "topology/draw/dot.h"
#include "topology/draw/svg.h"
#include "topology/draw/text.h"
#include "topology/import/recognize.h"

namespace comity::topology {
namespace {

bool contains(const std::string& text, std::string_view what) {
  return text.find(what) != std::string::npos;
}

size_t count(const std::string& text, std::string_view what) {
  size_t found = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

Graph read(const std::string& text, const std::string& name) {
  Result<Imported> imported = import_any(text, name);
  EXPECT_TRUE(imported.ok()) << imported.status().message();
  return imported.ok() ? std::move(imported->graph) : Graph();
}

Graph sample(const std::string& name) {
  std::ifstream file(std::filesystem::path(COMITY_TEST_SAMPLES) / "shown" / name);
  return read({std::istreambuf_iterator<char>(file), {}}, name);
}

TEST(Shown, ParallelLinksOfUnequalSpeedAreAllInTextAndDotAndSvg) {
  const Graph graph = sample("ibnetdiscover-mixed-speed.txt");
  const std::string text = to_text(graph), dot = to_dot(graph);
  for (const char* figure : {"infiniband 2 x 12.5 GB/s", "infiniband 2 GB/s"}) {
    EXPECT_TRUE(contains(text, figure)) << text;
    EXPECT_TRUE(contains(dot, figure)) << dot;
  }
  const SvgLayout svg = svg_layout(graph);
  for (const char* figure : {"infiniband  2 x 12.5 GB/s", "infiniband  2 GB/s"}) {
    EXPECT_TRUE(std::any_of(svg.texts.begin(), svg.texts.end(), [figure](const auto& each) {
      return each.text == figure;
    })) << figure;
  }
  std::vector<std::string> paths;
  for (const auto& line : svg.lines) paths.push_back(line.path);
  std::sort(paths.begin(), paths.end());
  EXPECT_EQ(std::adjacent_find(paths.begin(), paths.end()), paths.end()) << "one line lies on another";
  EXPECT_EQ(svg.lines.size(), 2u + 2u + 3u) << "two cables, two links between switches, three in the legend";
}

// Wherever it is: beside the link of the tree, between devices, at a vendor's switch, from a NIC.
TEST(Shown, AParallelLinkOfAnotherSpeedIsAddedWhereverItIs) {
  Result<Graph> whole = graph_from_notation("2*dgx-h100 + 2*mi300x-8 via rail(8, 50GB/s)");
  ASSERT_TRUE(whole.ok());
  for (const char* ends : {"h0.switch0 h0.gpu0", "h0.gpu0 h0.vswitch0", "h0.nic0 net.switch0",
                           "h2.gpu0 h2.gpu1", "h0.numa0 h0.numa1"}) {
    const std::string from = std::string(ends).substr(0, std::string(ends).find(' '));
    const std::string to = std::string(ends).substr(from.size() + 1);
    Graph graph = *whole;
    const int64_t a = graph.find(from), b = graph.find(to);
    ASSERT_TRUE(a >= 0 && b >= 0) << ends;
    const auto between = std::find_if(graph.links.begin(), graph.links.end(),
                                      [&](const Link& link) { return link.from == a && link.to == b; });
    ASSERT_NE(between, graph.links.end()) << ends;
    Link other = *between;
    other.count = 1;
    other.bandwidth_bytes_per_s = 1'234'000'000;
    graph.join(other);
    canonicalize(graph);
    EXPECT_TRUE(contains(to_text(graph), "1.234 GB/s")) << ends;
    EXPECT_TRUE(contains(to_dot(graph), "1.234 GB/s")) << ends;
    const SvgLayout svg = svg_layout(graph);
    EXPECT_TRUE(std::any_of(svg.texts.begin(), svg.texts.end(), [](const auto& each) {
      return contains(each.text, "1.234 GB/s");
    })) << ends;
  }
}

TEST(Shown, ALinkBesideThatOfTheTreeHasALineOfItsOwn) {
  Result<Graph> graph = graph_from_notation("pcie-gen4-8");
  ASSERT_TRUE(graph.ok());
  const size_t lines = svg_layout(*graph).lines.size();
  graph->join({.from = static_cast<uint32_t>(graph->find("h0.switch0")),
               .to = static_cast<uint32_t>(graph->find("h0.gpu0")),
               .kind = LinkKind::kPcie,
               .bandwidth_bytes_per_s = 1'234'000'000});
  canonicalize(*graph);
  const std::string text = to_text(*graph);
  EXPECT_TRUE(contains(text, "  switch0:gpu0  pcie 31.5 GB/s (data sheet)\n")) << text;
  EXPECT_EQ(svg_layout(*graph).lines.size(), lines + 2) << "itself, and in the legend";
}

TEST(Shown, PortsSayTheirSpeedAndState) {
  Graph graph = sample("nccl-nic-200g.xml");
  for (Node& node : graph.nodes) {
    if (node.kind == NodeKind::kNic) {
      node.attributes["net.kind"] = "infiniband";
      node.attributes["net.state"] = "down";
      node.attributes["pcie.current"] = "16 GT/s x8";
      node.attributes["pcie.max"] = "16 GT/s x16";
    }
  }
  EXPECT_TRUE(
      contains(to_text(graph), "; port: infiniband 25 GB/s, down; runs at 16 GT/s x8 of 16 GT/s x16\n"))
      << to_text(graph);
}

TEST(Shown, DomainsSayTheirCoresCachesAndMemory) {
  Graph graph;
  graph.add({.kind = NodeKind::kHost, .name = "alpha", .attributes = {{"cpu_model", "A CPU @ 2.0GHz"}}});
  graph.add({.kind = NodeKind::kNuma,
             .numa = 0,
             .attributes = {{"cores", "16"},
                            {"cpuset", "0-31"},
                            {"memory_bytes", "68719476736"},
                            {"caches", "L1d 48 KiB, L2 2 MiB"}}});
  graph.join({.from = 0, .to = 1, .kind = LinkKind::kMemory});
  canonicalize(graph);
  const std::string text = to_text(graph);
  EXPECT_TRUE(contains(text, "h0  alpha, A CPU @ 2.0GHz\n")) << text;
  EXPECT_TRUE(contains(text, "; 16 cores, CPUs 0-31, 64 GiB, L1d 48 KiB, L2 2 MiB\n")) << text;
}

TEST(Shown, NearestNicsAreListedForEachDevice) {
  Result<Graph> graph = graph_from_notation("dgx-a100");
  ASSERT_TRUE(graph.ok());
  const std::string text = to_text(*graph);
  EXPECT_TRUE(contains(text,
                       "  nearest NICs\n  gpu0: nic0, nic1 (PIX)\n  gpu1: nic0, nic1 (PIX)\n"
                       "  gpu2: nic2, nic3 (PIX)\n"))
      << text;
}

// Two boards whose devices are numbered against the order of their bus ids.
TEST(Shown, NearestNicsFollowTheDevicesOwnNumbers) {
  const auto board = [](int bus, int device) {
    return fmt::format(
        R"(<pci busid="0000:{0}0:00.0" class="0x060400" link_speed="16.0 GT/s PCIe" link_width="16">
             <pci busid="0000:{0}1:00.0" class="0x030200" link_speed="16.0 GT/s PCIe" link_width="16">
               <gpu dev="{1}" sm="80" rank="{1}" gdr="1"/></pci>
             <pci busid="0000:{0}2:00.0" class="0x020700" link_speed="16.0 GT/s PCIe" link_width="16">
               <nic><net name="mlx5_{1}" dev="{1}" speed="200000" port="1" guid="0x{0}" maxconn="1" gdr="1"/></nic>
             </pci></pci>)",
        bus, device);
  };
  const Graph graph = read(R"(<system version="1"><cpu numaid="0" arch="x86_64" vendor="GenuineIntel">)" +
                               board(1, 1) + board(2, 0) + "</cpu></system>",
                           "boards.xml");
  EXPECT_TRUE(contains(to_text(graph),
                       "  nearest NICs\n  gpu1 (number 0): nic1 (PIX)\n"
                       "  gpu0 (number 1): nic0 (PIX)\n"))
      << to_text(graph);
}

// Leaves of 20 to 32 hosts in eight rails, some ports not cabled, some cables slow, uplinks that differ: no
// two leaves are alike.
Graph large_fabric(uint32_t hosts) {
  constexpr uint32_t kRails = 8;
  Graph graph;
  SplitMix random(7);
  const auto net_switch = [&graph](const std::string& name) {
    return graph.add({.kind = NodeKind::kNetSwitch, .name = name, .host = kNoHost});
  };
  const auto cable = [&graph](uint32_t from, uint32_t to, uint64_t gigabytes, uint32_t number) {
    graph.join({.from = from,
                .to = to,
                .kind = LinkKind::kInfiniband,
                .bandwidth_bytes_per_s = gigabytes * 1'000'000'000,
                .count = number,
                .source = Source::kReported});
  };
  std::vector<uint32_t> spines, leaves(kRails);
  for (uint32_t rail = 0; rail < kRails; ++rail) spines.push_back(net_switch(fmt::format("spine{}", rail)));
  uint32_t left = 0;
  for (uint32_t host = 0; host < hosts; ++host, --left) {
    if (left == 0) {
      left = 20 + static_cast<uint32_t>(random.next() % 13);
      for (uint32_t rail = 0; rail < kRails; ++rail) {
        leaves[rail] = net_switch(fmt::format("leaf{}.{}", host, rail));
        cable(leaves[rail], spines[rail], 50, 14 + static_cast<uint32_t>(random.next() % 3));
      }
    }
    const uint32_t node =
        graph.add({.kind = NodeKind::kHost, .name = fmt::format("node{}", host), .host = host});
    for (uint32_t rail = 0; rail < kRails; ++rail) {
      const uint32_t nic = graph.add(
          {.kind = NodeKind::kNic, .name = fmt::format("node{} mlx5_{} port 1", host, rail), .host = host});
      graph.join({.from = node, .to = nic, .kind = LinkKind::kPcie});
      const uint64_t chance = random.next() % 200;
      if (chance != 0) cable(nic, leaves[rail], chance == 1 ? 25 : 50, 1);
    }
  }
  canonicalize(graph);
  return graph;
}

TEST(Shown, AFabricOfHundredsOfHostsIsFoldedByRailAndLeaf) {
  const Graph graph = large_fabric(400);
  const std::string text = to_text(graph);
  EXPECT_LT(count(text, "\n"), 150u) << text;
  EXPECT_TRUE(contains(text, "\nswitches by rail and tier\n  rail 0, ")) << text;
  EXPECT_TRUE(contains(text, "\n  rail 7, 1 switch of tier 1 (net.switch")) << text;
  EXPECT_TRUE(contains(text, "infiniband 25 GB/s: ")) << "slow cables are counted\n" << text;
  EXPECT_TRUE(contains(text, "\nother hosts\n")) << "hosts with a port that is not cabled\n" << text;
  EXPECT_TRUE(contains(text, "\nhosts by their leaves\n")) << text;
  EXPECT_LT(text.size(), 20'000u);
  const SvgLayout svg = svg_layout(graph);
  EXPECT_LT(svg.width, 2'500) << "a page";
  EXPECT_LT(svg.height, 1'500);
  EXPECT_TRUE(std::any_of(svg.texts.begin(), svg.texts.end(),
                          [](const auto& each) { return contains(each.text, "Not drawn: "); }));
}

// Every host is shown with its like, or counted among those that are not.
TEST(Shown, NoHostOfALargeFabricIsForgotten) {
  const Graph graph = large_fabric(300);
  const std::string text = to_text(graph);
  const size_t begin = text.find("hosts by their leaves\n");
  ASSERT_NE(begin, std::string::npos) << text;
  size_t hosts = 0;
  for (size_t at = begin; (at = text.find("\n  ", at)) != std::string::npos; ++at) {
    const std::string line = text.substr(at + 3, text.find('\n', at + 1) - at - 3);
    if (line.starts_with("... ")) hosts += std::stoul(line.substr(4));
    const size_t bracket = line.rfind(" (");
    if (!line.starts_with("... ") && bracket != std::string::npos)
      hosts += std::stoul(line.substr(bracket + 2));
    if (text.compare(text.find('\n', at + 1), 2, "\n\n") == 0) break;
  }
  EXPECT_EQ(hosts, 300u) << text.substr(begin);
}

}  // namespace
}  // namespace comity::topology
