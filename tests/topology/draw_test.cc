// Drawings: legible (no text over another or out of its box), folded where hosts are alike, well-formed
// whatever names hosts have.

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <pugixml.hpp>

#include "topology/catalogue/machine.h"
#include "topology/catalogue/notation.h"
#include "topology/draw/dot.h"
#include "topology/draw/hwloc_synthetic.h"
#include "topology/draw/outline.h"
#include "topology/draw/svg.h"
#include "topology/draw/text.h"
#include "topology/import/recognize.h"

namespace comity::topology {
namespace {

Graph graph_of(std::string_view text) {
  Result<Graph> graph = graph_from_notation(text);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  return graph.ok() ? *std::move(graph) : Graph();
}

bool contains(const std::string& text, std::string_view what) {
  return text.find(what) != std::string::npos;
}

size_t count(const std::string& text, std::string_view what) {
  size_t found = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

bool overlap(const SvgRectangle& a, const SvgRectangle& b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

bool within(const SvgRectangle& inner, const SvgRectangle& outer) {
  constexpr double kRounding = 0.01;
  return inner.x >= outer.x - kRounding && inner.y >= outer.y - kRounding &&
         inner.x + inner.width <= outer.x + outer.width + kRounding &&
         inner.y + inner.height <= outer.y + outer.height + kRounding;
}

void expect_legible(const std::string& name, const SvgLayout& layout) {
  const SvgRectangle picture{0, 0, layout.width, layout.height};
  for (size_t i = 0; i < layout.texts.size(); ++i) {
    const SvgLayout::Text& text = layout.texts[i];
    EXPECT_TRUE(within(text.at, picture)) << name << ": \"" << text.text << "\" is out of the picture";
    EXPECT_GE(text.size, 10) << name << ": \"" << text.text << "\" is too small to read";
    for (size_t j = i + 1; j < layout.texts.size(); ++j) {
      EXPECT_FALSE(overlap(text.at, layout.texts[j].at))
          << name << ": \"" << text.text << "\" over \"" << layout.texts[j].text << "\"";
    }
    for (const SvgLayout::Box& box : layout.boxes) {
      EXPECT_TRUE(!overlap(text.at, box.at) || within(text.at, box.at))
          << name << ": \"" << text.text << "\" sticks out of " << box.hint;
    }
  }
  for (size_t i = 0; i < layout.boxes.size(); ++i) {
    EXPECT_TRUE(within(layout.boxes[i].at, picture)) << name << ": " << layout.boxes[i].hint;
    for (size_t j = i + 1; j < layout.boxes.size(); ++j) {
      if (layout.boxes[i].is_frame != layout.boxes[j].is_frame) continue;
      EXPECT_FALSE(overlap(layout.boxes[i].at, layout.boxes[j].at))
          << name << ": " << layout.boxes[i].hint << " over " << layout.boxes[j].hint;
    }
  }
}

size_t frames(const SvgLayout& layout) {
  return static_cast<size_t>(
      std::count_if(layout.boxes.begin(), layout.boxes.end(), [](const auto& box) { return box.is_frame; }));
}

bool is_well_formed(const std::string& svg) {
  pugi::xml_document document;
  return static_cast<bool>(document.load_string(svg.c_str(), pugi::parse_full)) && document.child("svg");
}

TEST(Svg, IsLegibleForEveryMachine) {
  for (const std::string& name : machine_names()) {
    const Graph graph = graph_of(name);
    expect_legible(name, svg_layout(graph));
    EXPECT_TRUE(is_well_formed(to_svg(graph))) << name;
  }
}

TEST(Svg, IsLegibleForClusters) {
  for (const char* text :
       {"2*dgx-h100 + 1*mi300x-8 via rail(8, 50GB/s)", "64*dgx-h100 via rail(8, 50GB/s)",
        "64*dgx-h100 via fat_tree(8, 4, 50GB/s)",
        "dgx-a100{slices=4} + gaudi2-8 + cpu-2s + nvl72 via switch(50GB/s)",
        "dgx-1v + dgx-a100 + mi250-8 + gaudi3-8 + hygon-dcu + kunlun + cpu-1s via rail(24, 25GB/s)",
        "4*dgx-h100{nics=[50GB/s, 12.5GB/s]} via switch(50GB/s) - link(h0.nic1) ~ link(h2.nic0, 1MB/s)"}) {
    const Graph graph = graph_of(text);
    expect_legible(text, svg_layout(graph));
    EXPECT_TRUE(is_well_formed(to_svg(graph))) << text;
  }
}

// What an importer makes of each file of a folder that it takes.
void expect_legible_files(const std::filesystem::path& folder, size_t least) {
  size_t drawn = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path());
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const Result<Imported> imported = import_any(text, entry.path().filename());
    if (!imported.ok()) continue;
    const Graph* const graph = &imported->graph;
    expect_legible(entry.path(), svg_layout(*graph));
    EXPECT_TRUE(is_well_formed(to_svg(*graph))) << entry.path();
    EXPECT_FALSE(to_text(*graph).empty());
    EXPECT_FALSE(to_dot(*graph).empty());
    ++drawn;
  }
  EXPECT_GE(drawn, least) << folder;
}

TEST(Svg, IsLegibleForTheSamples) {
  expect_legible_files(COMITY_TEST_SAMPLES, 5);
}

TEST(Svg, IsLegibleForFilesThatOthersWrote) {
  const char* corpus = std::getenv("COMITY_CORPUS");
  if (corpus == nullptr) GTEST_SKIP() << "needs COMITY_CORPUS";
  expect_legible_files(std::filesystem::path(corpus) / "nccl-topology", 30);
  expect_legible_files(std::filesystem::path(corpus) / "hwloc-xml", 2);
}

TEST(Svg, DrawsHostsThatAreAlikeOnce) {
  const SvgLayout rails = svg_layout(graph_of("64*dgx-h100 via rail(8, 50GB/s)"));
  EXPECT_EQ(frames(rails), 1u);
  EXPECT_LT(rails.width, 1200);
  EXPECT_TRUE(std::any_of(rails.texts.begin(), rails.texts.end(),
                          [](const auto& text) { return contains(text.text, "h0-h63  ×64"); }));
  const SvgLayout tree = svg_layout(graph_of("64*dgx-h100 via fat_tree(8, 4, 50GB/s)"));
  EXPECT_EQ(frames(tree), 1u) << "under different leaves, and alike all the same";
  EXPECT_LT(tree.width, 1200);
  const SvgLayout mixed = svg_layout(graph_of("2*dgx-h100 + 1*mi300x-8 via rail(8, 50GB/s)"));
  EXPECT_EQ(frames(mixed), 2u);
}

TEST(Svg, DrawsAHostApartOnceALinkOfItIsCut) {
  EXPECT_EQ(frames(svg_layout(graph_of("8*dgx-h100 via rail(8, 50GB/s) - link(h3.nic3)"))), 2u);
  EXPECT_EQ(frames(svg_layout(graph_of("8*dgx-h100 via rail(8, 50GB/s) ~ link(h3.nic3, 1GB/s)"))), 2u);
  EXPECT_EQ(frames(svg_layout(graph_of("8*mi300x-8 via rail(8, 50GB/s) - link(h3.gpu0, h3.gpu1)"))), 2u);
}

TEST(Svg, DrawsEveryLinkOnceColouredByKindAndWideByBandwidth) {
  const SvgLayout mesh = svg_layout(graph_of("mi300x-8"));
  const auto drawn = [&mesh](const std::string& colour) {
    return std::count_if(mesh.lines.begin(), mesh.lines.end(),
                         [&colour](const auto& line) { return line.colour == colour; });
  };
  EXPECT_EQ(drawn("#d1432f"), 28 + 1) << "xGMI: every pair, and the legend";
  EXPECT_EQ(drawn("#6b7785"), 24 + 1) << "PCIe: 8 switches, 8 devices, 8 NICs, and the legend";
  const SvgLayout cube = svg_layout(graph_of("dgx-1v"));
  double thin = 100, thick = 0;
  for (const auto& line : cube.lines) {
    if (line.colour != std::string("#6aa800")) continue;
    thin = std::min(thin, line.width);
    thick = std::max(thick, line.width);
  }
  EXPECT_GT(thick, thin * 1.2) << "two links are wider than one";
}

TEST(Svg, SurvivesNamesThatFilesMayHold) {
  Graph graph = graph_of("dgx-h100");
  graph.origin = "<evil> & \"quoted\" \x01\xff";
  for (Node& node : graph.nodes)
    node.name = "]]> <a b='c'>&amp; \xc3\x28 \xed\xa0\x80 \xf0\x9f\x9a\x80 \x1b[31m" + node.name;
  EXPECT_TRUE(is_well_formed(to_svg(graph)));
  expect_legible("evil names", svg_layout(graph));
  const std::string dot = to_dot(graph);
  EXPECT_EQ(dot.find('\x1b'), std::string::npos);
  EXPECT_EQ(to_text(graph).find('\x1b'), std::string::npos) << "no control characters to a terminal";
  for (Node& node : graph.nodes) node.name = std::string(5000, 'x');
  expect_legible("long names", svg_layout(graph));
}

TEST(Svg, DrawsEvenAHostWithNothingInIt) {
  Graph graph;
  Node host;
  host.kind = NodeKind::kHost;
  host.name = "alone";
  graph.add(host);
  canonicalize(graph);
  expect_legible("a bare host", svg_layout(graph));
  EXPECT_TRUE(is_well_formed(to_svg(graph)));
  EXPECT_TRUE(contains(to_text(graph), "alone"));
}

TEST(Text, ShowsTreeLinksPathsIslandsAndRails) {
  const std::string text = to_text(graph_of("2*dgx-h100 + 1*mi300x-8 via rail(8, 50GB/s)"));
  EXPECT_TRUE(contains(text, "3 hosts, 24 devices, 24 NICs, 8 network switches; hash ")) << text;
  EXPECT_TRUE(contains(text, "h0-h1 (2 alike)  NVIDIA DGX H100")) << text;
  EXPECT_TRUE(contains(text, "├─ numa0  Intel Xeon Platinum 8480C")) << text;
  EXPECT_TRUE(contains(text, "│  ├─ switch0  PCIe gen5 switch")) << text;
  EXPECT_TRUE(contains(text, "nvlink 18 x 25 GB/s (data sheet)")) << text;
  EXPECT_TRUE(contains(text, "NVL 450")) << text;
  EXPECT_TRUE(contains(text, "cpu 4 x 32 GB/s (guess)")) << text;
  EXPECT_TRUE(contains(text, "island 0: h0.gpu0-h0.gpu7 (8)")) << text;
  EXPECT_EQ(count(text, "\nrail "), 8u) << text;
  EXPECT_EQ(count(text, "NVIDIA H100-SXM5"), 8u) << "hosts that are alike are shown once\n" << text;
}

// A GPU of a Grace host hangs from its CPU by PCIe and by C2C.
TEST(Text, ShowsALinkThatIsBesideThatOfTheTree) {
  const Result<Imported> imported = import_any(
      R"(<system version="1"><cpu host_hash="0x1" numaid="0" arch="arm64">
           <pci busid="0009:01:00.0" class="0x030200" link_speed="16.0 GT/s PCIe" link_width="16">
             <gpu dev="0" sm="90" rank="0" gdr="1"><c2c bw="300000" count="1"/></gpu>
           </pci></cpu></system>)",
      "grace.xml");
  ASSERT_TRUE(imported.ok()) << imported.status().message();
  const std::string text = to_text(imported->graph);
  EXPECT_TRUE(contains(text, "└─ gpu0  sm_90  [0009:01:00.0]  pcie 31.51 GB/s (reported)")) << text;
  EXPECT_TRUE(contains(text, "\n  numa0:gpu0  c2c 300 GB/s (reported)\n")) << text;
}

TEST(Dot, HasANodeForEachThingAndAnEdgeForEachLink) {
  const std::string dot = to_dot(graph_of("mi300x-8"));
  EXPECT_EQ(count(dot, "label=\"gpu"), 8u);
  EXPECT_EQ(count(dot, "label=\"xgmi 64 GB/s\""), 28u);
  EXPECT_EQ(count(dot, "{"), count(dot, "}"));
}

TEST(HwlocSynthetic, DescribesHostsAndNumaDomains) {
  const auto description = [](std::string_view text) {
    const Result<std::string> synthetic = to_hwloc_synthetic(graph_of(text));
    return synthetic.ok() ? *synthetic : std::string(synthetic.status().message());
  };
  EXPECT_EQ(description("dgx-h100"), "package:2 [numa] core:1 pu:1");
  EXPECT_EQ(description("3*cpu-1s"), "group:3 package:1 [numa] core:1 pu:1");
  EXPECT_TRUE(contains(description("cpu-1s + cpu-2s"), "h0 has 1 NUMA domains and h1 has 2"));
  Graph graph = graph_of("cpu-2s");
  for (Node& node : graph.nodes) {
    if (node.kind == NodeKind::kNuma) node.attributes["cpus"] = node.numa == 0 ? "0-15,32-47" : "16-31,48-63";
  }
  EXPECT_EQ(*to_hwloc_synthetic(graph), "package:2 [numa] core:32 pu:1");
}

TEST(Outline, NamesRangesOfHosts) {
  const Graph graph = graph_of("6*cpu-1s");
  EXPECT_EQ(range_text(graph, {0}), "h0");
  const std::vector<uint32_t> hosts = graph.nodes_of(NodeKind::kHost);
  EXPECT_EQ(range_text(graph, {hosts[0], hosts[1], hosts[2], hosts[4]}), "h0-h2, h4");
}

// Sanitizers tell: more switches than are drawn one by one are grouped by what they and their numbers are.
TEST(Outline, TakesTheLargestNumberOfADomain) {
  Graph graph;
  graph.add({.kind = NodeKind::kHost, .numa = INT32_MAX});
  for (int i = 0; i < 17; ++i) graph.add({.kind = NodeKind::kNetSwitch, .host = kNoHost});
  EXPECT_EQ(outline_of(graph).switches.size(), 1U);
}

}  // namespace
}  // namespace comity::topology
