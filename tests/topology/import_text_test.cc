// Text that people paste: every dialect of the vendors' matrices becomes what it says, and what a terminal
// cut off or wrapped is refused.

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <functional>
#include <iterator>

#include "topology/import/recognize.h"
#include "topology/paths.h"

namespace comity::topology {
namespace {

std::string sample(const std::string& name) {
  std::ifstream file(fmt::format("{}/samples/{}", COMITY_TEST_SOURCES, name), std::ios::binary);
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

Imported imported(const std::string& text, const std::string& name) {
  Result<Imported> read = import_any(text, name);
  EXPECT_TRUE(read.ok()) << name << ": " << read.status().message() << "\n" << text;
  return read.ok() ? *std::move(read) : Imported{};
}

std::string refusal(const std::string& text) {
  const Result<Imported> read = import_any(text, "f");
  EXPECT_FALSE(read.ok()) << text;
  return read.ok() ? "" : std::string(read.status().message());
}

std::string each_line(const std::string& text, const std::function<std::string(std::string)>& change) {
  std::string changed;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    changed += change(text.substr(at, end - at)) + "\n";
    at = end + 1;
  }
  return changed;
}

std::string without(std::string text, const std::string& what, const std::string& with = "") {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
  return text;
}

const Node& node_named(const Graph& graph, const std::string& name) {
  for (const Node& node : graph.nodes) {
    if (node.name == name) return node;
  }
  ADD_FAILURE() << "no node " << name;
  static const Node kNone;
  return kNone;
}

size_t count(const Graph& graph, NodeKind kind) {
  return graph.nodes_of(kind).size();
}

constexpr const char* kTwo =
    "\tGPU0\tGPU1\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\n"
    "GPU0\t X \tNV18\tPIX\t0-47\t0\t\tN/A\n"
    "GPU1\tNV18\t X \tSYS\t48-95\t1\t\tN/A\n"
    "NIC0\tPIX\tSYS\t X \t\t\t\t\n\nLegend:\n\n  X    = Self\n\nNIC Legend:\n\n  NIC0: mlx5_0\n";
constexpr const char* kPeerTable =
    " \tGPU0\tGPU1\n GPU0\tX\tOK\n GPU1\tOK\tX\n\nLegend:\n\n  X    = Self\n  OK   = Status Ok\n";

// All that a mail, a forum, an editor, a shell and a printer do to a table.
TEST(SmiText, IsTheSameGraphHoweverItWasPasted) {
  const auto quoted = [](const std::string& line) { return "> " + line; };
  const auto twice = [](const std::string& line) { return " > > " + line; };
  const auto indented = [](const std::string& line) { return "    " + line; };
  const auto crlf = [](const std::string& line) { return line + "\r"; };
  const auto spaces = [](const std::string& line) {
    std::string wide;
    for (char c : line) {
      do {
        wide += c == '\t' ? ' ' : c;
      } while (c == '\t' && wide.size() % 8 != 0);
    }
    return wide;
  };
  const auto no_break = [](const std::string& line) { return without(line, " ", "\xc2\xa0"); };
  for (const char* name :
       {"nvidia-smi-v100-8.txt", "nvidia-smi-a800-8.txt", "nvidia-smi-1gpu-1nic.txt",
        "nvidia-smi-empty-affinity.txt", "nvidia-smi-sys-same-numa.txt", "npu-smi-phyid.txt",
        "npu-smi-910b-8.txt", "rocm-smi-pcie-4.txt", "rocm-smi-type-only.txt"}) {
    const std::string text = sample(name);
    const Graph plain = imported(text, "f").graph;
    for (const auto& change : std::initializer_list<std::function<std::string(std::string)>>{
             quoted, twice, indented, crlf, spaces, no_break}) {
      const std::string changed = each_line(text, change);
      EXPECT_TRUE(imported(changed, "f").graph == plain) << name << "\n" << changed;
    }
    EXPECT_TRUE(imported("root@host:~# nvidia-smi topo -m; npu-smi info -t topo\n\n" + text, "f").graph ==
                plain);
    EXPECT_TRUE(imported("\xef\xbb\xbf" + text, "f").graph == plain) << name;
  }
}

TEST(SmiText, TabsAndPlacesTellWhichColumnIsEmpty) {
  const std::string text = sample("nvidia-smi-empty-affinity.txt");
  const Imported by_tabs = imported(text, "f");
  EXPECT_EQ(node_named(by_tabs.graph, "GPU0").numa, 1);
  EXPECT_EQ(node_named(by_tabs.graph, "GPU1").attributes.count("cpuset"), 0U);
  EXPECT_TRUE(by_tabs.warnings.empty());
  const std::string blanks =
      "        GPU0    GPU1    CPU Affinity    NUMA Affinity   GPU NUMA ID\n"
      "GPU0     X      NV18                    1               N/A\n"
      "GPU1    NV18     X                      1               N/A\n";
  EXPECT_EQ(node_named(imported(blanks, "f").graph, "GPU1").numa, 1);
  // One blank between words: nothing tells, and it is said.
  const Imported squeezed = imported(
      "GPU0 GPU1 CPU Affinity NUMA Affinity GPU NUMA ID\nGPU0 X NV18 1 N/A\nGPU1 NV18 X 1 N/A\n", "f");
  EXPECT_EQ(node_named(squeezed.graph, "GPU0").numa, -1);
  EXPECT_EQ(squeezed.warnings.size(), 1U);
}

TEST(SmiText, OtherMatricesBeforeAndBehindAreLeftOutAndNoted) {
  const Graph alone = imported(kTwo, "f").graph;
  for (const std::string& text : {std::string(kTwo) + "\n$ nvidia-smi topo -p2p r\n" + kPeerTable,
                                  std::string(kPeerTable) + "\n" + kTwo, std::string(kTwo) + kTwo}) {
    const Imported read = imported(text, "f");
    EXPECT_TRUE(read.graph == alone) << text;
    ASSERT_EQ(read.warnings.size(), 1U) << text;
    EXPECT_NE(read.warnings[0].find("table"), std::string::npos);
  }
  const std::string other = without(without(kTwo, "GPU0", "GPU7"), "GPU1", "GPU8");
  EXPECT_EQ(
      refusal(std::string(kTwo) + other),
      "f:13: a second table, of other columns than the one of line 1: give each machine a file of its own");
}

// A table as wide as `columns` characters: the rest of a line is lost, or begins the next one.
TEST(SmiText, ATableThatIsCutOffOrWrappedAnywhereIsRefusedOrWhole) {
  for (const char* name : {"nvidia-smi-v100-8.txt", "nvidia-smi-a800-8.txt", "npu-smi-910b-8.txt",
                           "npu-smi-phyid.txt", "rocm-smi-quads.txt", "rocm-smi-type-only.txt"}) {
    const std::string text = sample(name);
    const Graph whole = imported(text, "f").graph;
    for (size_t columns = 1; columns < 120; ++columns) {
      const auto cut = [&](const std::string& line) { return line.substr(0, columns); };
      const auto wrapped = [&](const std::string& line) {
        std::string parts;
        for (size_t at = 0; at < line.size(); at += columns)
          parts += (at == 0 ? "" : "\n") + line.substr(at, columns);
        return parts;
      };
      for (const auto& change :
           std::initializer_list<std::function<std::string(std::string)>>{cut, wrapped}) {
        const Result<Imported> read = import_any(each_line(text, change), "f", recognize(text));
        if (!read.ok()) continue;
        EXPECT_EQ(count(read->graph, NodeKind::kDevice), count(whole, NodeKind::kDevice)) << name << columns;
        EXPECT_EQ(count(read->graph, NodeKind::kNic), count(whole, NodeKind::kNic)) << name << " " << columns;
        EXPECT_TRUE(read->graph == whole || !read->warnings.empty()) << name << " " << columns;
      }
    }
  }
}

TEST(SmiText, ARefusalNamesRowAndColumn) {
  const char* head = "\tGPU0\tGPU1\tNIC0\n";
  EXPECT_EQ(refusal(std::string(head) + "GPU0\tX\tPIX\n"),
            "f:2: row GPU0 has no cell in column NIC0: the table is cut off or wrapped");
  EXPECT_EQ(refusal(std::string(head) + "GPU0\tX\t\tPIX\n"),
            "f:2: row GPU0 has no cell in column GPU1: the table is cut off or wrapped");
  EXPECT_EQ(refusal("\tGPU0\tGPU1\nGPU0\tX\tPIX\tSYS\nGPU1\tPIX\tX\tSYS\n"),
            "f:2: row GPU0 has \"SYS\" where no column is: the line of columns is cut off");
  EXPECT_EQ(refusal("\tGPU0\tGPU1\nGPU0\tX\tPIX\nGPU1\tPIX\tX\nmlx5_0\tPIX\tPIX\n"),
            "f:4: row mlx5_0 has no column of its name: the table is cut off or wrapped");
  EXPECT_EQ(refusal("\tGPU0\tGPU1\nGPU0\tX\tPIX\nPIX PIX\n"),
            "f:3: a line begins with the cell \"PIX\" and no row's name: the table is wrapped");
  const std::string rocm = sample("rocm-smi-type-only.txt");
  EXPECT_NE(refusal(without(rocm, "GPU6         GPU7", "GPU6")).find("where no column is"),
            std::string::npos);
  EXPECT_NE(refusal(rocm.substr(0, rocm.rfind("GPU7"))).find("column GPU7 has no row"), std::string::npos);
}

TEST(SmiText, ATableWithoutAffinityMayBeCutOffAndIsNoted) {
  const Imported read = imported("\tGPU0\tGPU1\nGPU0\tX\tPIX\nGPU1\tPIX\tX\n", "f");
  EXPECT_EQ(read.warnings, std::vector<std::string>{
                               "f:1: no CPU or NUMA affinity is told: columns may be cut off on the right"});
  EXPECT_TRUE(imported(sample("nvidia-smi-v100-8.txt"), "f").warnings.empty());
  EXPECT_TRUE(imported(sample("npu-smi-phyid.txt"), "f").warnings.empty());
}

TEST(SmiText, NumaDomainsAreThoseThatAreTold) {
  const Imported same = imported(sample("nvidia-smi-sys-same-numa.txt"), "f");
  EXPECT_EQ(count(same.graph, NodeKind::kNuma), 1U);
  ASSERT_EQ(same.warnings.size(), 1U);
  EXPECT_NE(same.warnings[0].find("GPU0 and GPU1 are SYS, yet both are told to be near NUMA domain 0"),
            std::string::npos)
      << same.warnings[0];
  const Imported none = imported(sample("rocm-smi-type-only.txt"), "f");
  EXPECT_EQ(count(none.graph, NodeKind::kNuma), 0U);
  EXPECT_EQ(node_named(none.graph, "GPU3").numa, -1);
  // Four domains on a socket: NODE, and numbers of their own.
  const Imported parts = imported(
      "\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\nGPU0\tX\tNODE\t0-7\t3\nGPU1\tNODE\tX\t8-15\t2\n", "f");
  EXPECT_EQ(node_named(parts.graph, "GPU0").numa, 3);
  EXPECT_EQ(node_named(parts.graph, "GPU1").numa, 2);
  EXPECT_EQ(parts.warnings.size(), 1U);
  // No number, but SYS: two domains.
  const Imported sys = imported("\tGPU0\tGPU1\nGPU0\tX\tSYS\nGPU1\tSYS\tX\n", "f");
  EXPECT_EQ(count(sys.graph, NodeKind::kNuma), 2U);
}

TEST(SmiText, ANicBesideOneDeviceHangsWhereTheMatrixSays) {
  const Imported read = imported(sample("nvidia-smi-1gpu-1nic.txt"), "f");
  EXPECT_EQ(node_named(read.graph, "mlx5_0").numa, 0);
  EXPECT_TRUE(read.warnings.empty());
}

std::vector<std::string> host_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const uint32_t host : graph.nodes_of(NodeKind::kHost)) names.push_back(graph.nodes[host].name);
  return names;
}

std::string adapter(const std::string& guid, const std::string& board, const std::string& name, int port) {
  return fmt::format(
      "sysimgguid=0x{1}\ncaguid=0x{0}\nCa\t1 \"H-{0}\"\t\t# \"{2}\"\n[1]({0}) \t\"S-1\"[{3}]\t\t# lid 1 lmc "
      "0 "
      "\"leaf\" lid 1 4xNDR\n\n",
      guid, board, name, port);
}

// A leaf with adapters of these guids, boards and names.
std::string fabric(const std::vector<std::array<std::string, 3>>& adapters) {
  std::string text = "switchguid=0x1(1)\nSwitch\t64 \"S-1\"\t\t# \"leaf\" enhanced port 0 lid 1 lmc 0\n";
  int port = 0;
  for (const auto& each : adapters)
    text +=
        fmt::format("[{}]\t\"H-{}\"[1]({}) \t\t# \"{}\" lid 1 4xNDR\n", ++port, each[0], each[0], each[2]);
  text += "\n";
  port = 0;
  for (const auto& each : adapters) text += adapter(each[0], each[1], each[2], ++port);
  return text;
}

using Names = std::vector<std::string>;

TEST(Ibnetdiscover, DefaultNamesTellNoHost) {
  const Graph graph = imported(sample("ibnetdiscover-default-name.txt"), "f").graph;
  EXPECT_EQ(host_names(graph), (Names{"0xa088c20300b479d2", "0xa088c20300b479be"}));
  EXPECT_EQ(count(graph, NodeKind::kNic), 2U);
  const Imported local =
      imported(fabric({{"a", "a", "localhost mlx5_0"}, {"b", "b", "localhost mlx5_0"}}), "f");
  EXPECT_EQ(host_names(local.graph), (Names{"0xa", "0xb"}));
  ASSERT_EQ(local.warnings.size(), 1U);
  EXPECT_NE(local.warnings[0].find("begins with \"localhost\""), std::string::npos) << local.warnings[0];
}

TEST(Ibnetdiscover, BoardsAndNamesOfHostsJoinAdapters) {
  EXPECT_EQ(host_names(imported(fabric({{"a", "9", "n1 mlx5_0"},
                                        {"b", "9", "MT4129 ConnectX7   Mellanox"},
                                        {"c", "8", "n1 mlx5_1"}}),
                                "f")
                           .graph),
            Names{"n1"})
      << "one board, and two boards of one host";
  EXPECT_EQ(host_names(imported(fabric({{"a", "9", "n1 mlx5_0"}, {"b", "9", "n2 mlx5_0"}}), "f").graph),
            (Names{"n1", "n2"}))
      << "a board that two hosts share";
  EXPECT_EQ(host_names(imported(fabric({{"a", "9", "Mellanox x"}, {"b", "9", "Mellanox x"}}), "f").graph),
            Names{"0x9"});
}

TEST(Ibnetdiscover, AggregationNodesAreNoHostsAndChangeNoRail) {
  const Graph with = imported(sample("ibnetdiscover-rails-aggregation.txt"), "f").graph;
  const Graph without_them = imported(sample("ibnetdiscover-rails.txt"), "f").graph;
  for (const Graph* graph : {&with, &without_them}) {
    EXPECT_EQ(count(*graph, NodeKind::kHost), 4U);
    EXPECT_EQ(count(*graph, NodeKind::kNic), 8U);
    EXPECT_EQ(rails(*graph).size(), 2U);
  }
  EXPECT_EQ(rails(with), rails(without_them));
  EXPECT_EQ(node_named(with, "leaf-0-0").attributes.count("aggregation_nodes"), 1U);
  // By its board alone: the adapter is on the switch's.
  const std::string text = without(sample("ibnetdiscover-default-name.txt"),
                                   "Mellanox Technologies Aggregation Node", "MT53009 something");
  EXPECT_EQ(count(imported(text, "f").graph, NodeKind::kHost), 2U);
}

TEST(Ibnetdiscover, IsTheSameGraphHoweverItWasPasted) {
  for (const char* name :
       {"ibnetdiscover-4ports.txt", "ibnetdiscover-rails.txt", "ibnetdiscover-indented.txt"}) {
    const std::string text = sample(name);
    const Graph plain = imported(text, "f").graph;
    const auto pasted = [&](const char* before, const char* after) {
      return imported("[root@n1 ~]# ibnetdiscover\n" +
                          each_line(text, [&](const std::string& line) { return before + line + after; }),
                      "f");
    };
    EXPECT_TRUE(pasted("", "\r").graph == plain) << name;
    EXPECT_TRUE(pasted("  \t", "").graph == plain) << name;
    EXPECT_TRUE(pasted("> ", "").graph == plain) << name;
    EXPECT_TRUE(pasted("> ", "").warnings.empty()) << name;
  }
}

TEST(Ibnetdiscover, WhatIsNotUnderstoodIsNoted) {
  const std::string text = fabric({{"a", "9", "n1 mlx5_0"}});
  EXPECT_EQ(imported(without(text, "4xNDR", "4xZDR") + "wrapped\n", "f").warnings,
            (Names{"f:3: no speed of this cable is told that is known, as in 4xNDR (at 2 places)",
                   "f:10: \"wrapped\" begins no line of ibnetdiscover; left out"}));
}

}  // namespace
}  // namespace comity::topology
