// The machine catalogue: every machine loads, has what it is known to have, and bad files are refused by
// field.

#include "topology/catalogue/machine.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "topology/catalogue/embedded.h"
#include "topology/graph.h"
#include "topology/paths.h"

namespace comity::topology {
namespace {

Graph canonical(const std::string& name, const MachineVariant& variant = {}) {
  const Result<Machine> machine = find_machine(name);
  EXPECT_TRUE(machine.ok()) << machine.status().message();
  if (!machine.ok()) return {};
  Result<Graph> graph = build_machine(*machine, variant);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  if (!graph.ok()) return {};
  canonicalize(*graph);
  const Status status = validate(*graph);
  EXPECT_TRUE(status.ok()) << name << ": " << status.message();
  return *std::move(graph);
}

PathInfo path(const Graph& graph, const std::string& from, const std::string& to) {
  const int64_t a = graph.find(from), b = graph.find(to);
  EXPECT_GE(a, 0) << from;
  EXPECT_GE(b, 0) << to;
  return a < 0 || b < 0 ? PathInfo() : paths_from(graph, static_cast<uint32_t>(a))[static_cast<size_t>(b)];
}

struct Known {
  const char* name;
  size_t hosts, devices, nics;
  size_t islands, island_size;  // of vendors' links
};

class KnownMachine : public testing::TestWithParam<Known> {};

TEST_P(KnownMachine, HasItsDevicesNicsAndIslands) {
  const Known& known = GetParam();
  const Graph graph = canonical(known.name);
  EXPECT_EQ(graph.host_count(), known.hosts);
  EXPECT_EQ(graph.nodes_of(NodeKind::kDevice).size(), known.devices);
  EXPECT_EQ(graph.nodes_of(NodeKind::kNic).size(), known.nics);
  const auto found = islands(graph);
  ASSERT_EQ(found.size(), known.islands);
  for (const auto& island : found) EXPECT_EQ(island.size(), known.island_size);
}

constexpr Known kKnown[] = {
    {"dgx-1v", 1, 8, 4, 1, 8},         {"dgx-a100", 1, 8, 8, 1, 8},
    {"dgx-h100", 1, 8, 8, 1, 8},       {"dgx-h200", 1, 8, 8, 1, 8},
    {"dgx-b200", 1, 8, 8, 1, 8},       {"nvl72", 18, 72, 72, 1, 72},
    {"mi100-4", 1, 4, 2, 1, 4},        {"mi250-8", 1, 8, 4, 1, 8},
    {"mi300x-8", 1, 8, 8, 1, 8},       {"mi355x-8", 1, 8, 8, 1, 8},
    {"gaudi2-8", 1, 8, 8, 1, 8},       {"gaudi3-8", 1, 8, 8, 1, 8},
    {"ascend-910b-8", 1, 8, 8, 1, 8},  {"cloudmatrix384", 48, 384, 384, 1, 384},
    {"hygon-dcu", 1, 4, 2, 2, 2},      {"cambricon-mlu370", 1, 8, 2, 2, 4},
    {"kunlun", 1, 8, 2, 1, 8},         {"enflame", 1, 4, 2, 1, 4},
    {"mthreads-s4000", 1, 8, 2, 1, 8}, {"biren-br100", 1, 8, 4, 1, 8},
    {"iluvatar", 1, 4, 2, 2, 2},       {"pcie-gen4-8", 1, 8, 2, 0, 0},
    {"pcie-gen5-4", 1, 4, 2, 0, 0},    {"cpu-1s", 1, 0, 1, 0, 0},
    {"cpu-2s", 1, 0, 1, 0, 0},
};
INSTANTIATE_TEST_SUITE_P(Catalogue, KnownMachine, testing::ValuesIn(kKnown), [](const auto& instance) {
  std::string name = instance.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(Catalogue, HasNoMachineThatIsNotTested) {
  std::vector<std::string> tested;
  for (const Known& known : kKnown) tested.emplace_back(known.name);
  std::sort(tested.begin(), tested.end());
  EXPECT_EQ(machine_names(), tested);
}

TEST(Catalogue, NamesASourceForEveryFigureAndMarksWeakOnes) {
  for (const std::string& name : machine_names()) {
    const Result<Machine> machine = find_machine(name);
    ASSERT_TRUE(machine.ok()) << machine.status().message();
    EXPECT_EQ(machine->name, name);
    for (const auto& source : machine->sources)
      EXPECT_GT(source.text.size(), 10u) << name << ": " << source.key;
    const Graph graph = canonical(name);
    for (const Link& link : graph.links) EXPECT_LE(link.source, Source::kDataSheet) << name;
  }
  const auto weak = [](const std::string& name, LinkKind kind) {
    const Graph graph = canonical(name);
    const auto link = std::find_if(graph.links.begin(), graph.links.end(),
                                   [kind](const Link& each) { return each.kind == kind; });
    EXPECT_NE(link, graph.links.end()) << name;
    return link != graph.links.end() && link->source == Source::kGuess;
  };
  EXPECT_TRUE(weak("ascend-910b-8", LinkKind::kHccs)) << "secondary sources";
  EXPECT_TRUE(weak("kunlun", LinkKind::kXpuLink)) << "no public figure";
  EXPECT_TRUE(weak("mthreads-s4000", LinkKind::kMtLink)) << "direction not given";
  EXPECT_FALSE(weak("dgx-h100", LinkKind::kNvlink));
  EXPECT_FALSE(weak("mi300x-8", LinkKind::kXgmi));
}

TEST(Catalogue, DgxA100HasThePathsThatItIsKnownFor) {
  const Graph graph = canonical("dgx-a100");
  const PathInfo devices = path(graph, "h0.gpu0", "h0.gpu7");
  EXPECT_EQ(devices.path_class, PathClass::kNvl);
  EXPECT_EQ(devices.bandwidth_bytes_per_s, 300'000'000'000u) << "12 links of 25 GB/s one way";
  EXPECT_EQ(path(graph, "h0.gpu0", "h0.nic0").path_class, PathClass::kPix);
  EXPECT_EQ(path(graph, "h0.gpu0", "h0.nic1").path_class, PathClass::kPix);
  EXPECT_EQ(path(graph, "h0.nic0", "h0.nic2").path_class, PathClass::kPhb) << "another switch, same socket";
  EXPECT_EQ(path(graph, "h0.nic0", "h0.nic7").path_class, PathClass::kSys);
  EXPECT_EQ(path(graph, "h0.nic0", "h0.nic7").bandwidth_bytes_per_s, 31'500'000'000u);
}

TEST(Catalogue, OthersHaveThePathsThatTheyAreKnownFor) {
  const Graph cube = canonical("dgx-1v");
  EXPECT_EQ(path(cube, "h0.gpu0", "h0.gpu3").bandwidth_bytes_per_s, 50'000'000'000u) << "two links";
  EXPECT_EQ(path(cube, "h0.gpu0", "h0.gpu1").bandwidth_bytes_per_s, 25'000'000'000u) << "one link";
  EXPECT_EQ(path(cube, "h0.gpu0", "h0.gpu7").path_class, PathClass::kNvb) << "by way of another device";
  const Graph package = canonical("mi250-8");
  EXPECT_EQ(path(package, "h0.gpu0", "h0.gpu1").bandwidth_bytes_per_s, 200'000'000'000u);
  EXPECT_EQ(path(package, "h0.gpu0", "h0.gpu2").bandwidth_bytes_per_s, 50'000'000'000u);
  const Graph pairs = canonical("hygon-dcu");
  EXPECT_EQ(path(pairs, "h0.gpu0", "h0.gpu1").path_class, PathClass::kNvl);
  EXPECT_GE(path(pairs, "h0.gpu1", "h0.gpu2").path_class, PathClass::kPhb) << "only pairs are joined";
  const Graph rack = canonical("nvl72");
  EXPECT_EQ(path(rack, "h0.gpu0", "h17.gpu3").path_class, PathClass::kNvl) << "across hosts of the rack";
  const Graph gaudi = canonical("gaudi2-8");
  EXPECT_EQ(path(gaudi, "h0.gpu0", "h0.gpu5").bandwidth_bytes_per_s, 37'500'000'000u)
      << "three ports of 100 Gbit/s";
  const Graph plain = canonical("pcie-gen4-8");
  EXPECT_EQ(path(plain, "h0.gpu0", "h0.gpu1").path_class, PathClass::kPix);
}

// What each CPU of the catalogue can do by its data sheet: channels times transfers of 8 bytes, and lanes.
struct KnownCpu {
  const char* name;
  double memory_gb_per_s, pcie_gb_per_s;  // of a whole CPU; of 16 lanes, one way
};
constexpr KnownCpu kCpus[] = {
    {"Intel Xeon E5-2698 v4", 76.8, 15.75},
    {"Intel Xeon Platinum 8380", 204.8, 31.5},
    {"Intel Xeon Platinum 8480C", 307.2, 63},
    {"Intel Xeon Platinum 8570", 358.4, 63},
    {"AMD EPYC 7742", 204.8, 31.5},
    {"AMD EPYC 7A53", 204.8, 31.5},
    {"AMD EPYC 9004", 460.8, 63},
    {"AMD EPYC 9005", 576, 63},
    {"NVIDIA Grace", 512, 63},
    {"Huawei Kunpeng 920", 187.7, 31.5},
    {"Hygon C86 7185", 170.4, 15.75},
};

const KnownCpu* cpu_of(const Machine& machine) {
  const auto found = std::find_if(std::begin(kCpus), std::end(kCpus),
                                  [&machine](const KnownCpu& each) { return machine.cpu == each.name; });
  return found == std::end(kCpus) ? nullptr : found;
}

TEST(Catalogue, HasNoPcieLinkThatItsCpuIsTooOldFor) {
  for (const std::string& name : machine_names()) {
    const Result<Machine> machine = find_machine(name);
    ASSERT_TRUE(machine.ok()) << machine.status().message();
    const KnownCpu* cpu = cpu_of(*machine);
    ASSERT_NE(cpu, nullptr) << name << ": \"" << machine->cpu << "\" is not in the table of this test";
    for (const Link& link : canonical(name).links) {
      if (link.kind != LinkKind::kPcie) continue;
      // NICs that are part of a device have no PCIe of their own, and are as fast as their port.
      if (machine->nics.front().at.front().kind == NodeKind::kDevice &&
          link.bandwidth_bytes_per_s == machine->nics.front().link.bandwidth_bytes_per_s)
        continue;
      EXPECT_LE(static_cast<double>(link.bandwidth_bytes_per_s) / 1e9, cpu->pcie_gb_per_s) << name;
    }
  }
}

TEST(Catalogue, SharesTheMemoryOfEachCpuAmongItsDomains) {
  for (const std::string& name : machine_names()) {
    const Result<Machine> machine = find_machine(name);
    ASSERT_TRUE(machine.ok()) << machine.status().message();
    const KnownCpu* cpu = cpu_of(*machine);
    ASSERT_NE(cpu, nullptr) << name;
    const double domain = static_cast<double>(machine->memory.bandwidth_bytes_per_s) / 1e9;
    const double cpus = domain * machine->numa_count / cpu->memory_gb_per_s;
    EXPECT_NEAR(cpus, std::round(cpus), 0.01) << name << ": no whole number of CPUs has that much";
    const bool between_sockets = machine->cpu_link && machine->cpu_link->source != Source::kGuess;
    EXPECT_FALSE(std::round(cpus) == 1 && between_sockets) << name << ": one CPU has no link to another";
  }
}

TEST(Catalogue, OneCpuOfSeveralDomainsHasNoLinksBetweenSockets) {
  const Graph graph = canonical("mi250-8");
  EXPECT_TRUE(std::none_of(graph.links.begin(), graph.links.end(),
                           [](const Link& link) { return link.kind == LinkKind::kCpu; }));
  const PathInfo across = path(graph, "h0.numa0", "h0.numa3");
  EXPECT_EQ(across.path_class, PathClass::kSys);
  EXPECT_EQ(across.bandwidth_bytes_per_s, 51'200'000'000u) << "two channels of memory";
}

TEST(Catalogue, EachPortOfADgxIsBesideOneDevice) {
  for (const char* name : {"dgx-h100", "dgx-h200", "dgx-b200"}) {
    const Graph graph = canonical(name);
    for (int device = 0; device < 8; ++device) {
      for (int port = 0; port < 8; ++port) {
        const PathInfo found = path(graph, fmt::format("h0.gpu{}", device), fmt::format("h0.nic{}", port));
        EXPECT_EQ(found.path_class == PathClass::kPix, device == port)
            << name << ": gpu" << device << " nic" << port << " " << name_of(found.path_class);
      }
    }
  }
}

TEST(Catalogue, TakesFiguresWithoutADirectionAsBothWaysTogether) {
  EXPECT_EQ(path(canonical("ascend-910b-8"), "h0.gpu0", "h0.gpu7").bandwidth_bytes_per_s, 28'000'000'000u);
}

TEST(Catalogue, ListsDevicesInTheOrderOfItsFile) {
  for (const std::string& name : machine_names()) {
    const Result<Machine> machine = find_machine(name);
    ASSERT_TRUE(machine.ok());
    Result<Graph> graph = build_machine(*machine);
    ASSERT_TRUE(graph.ok());
    std::vector<std::string> before, after;
    for (const Node& node : graph->nodes) {
      if (node.kind == NodeKind::kDevice || node.kind == NodeKind::kNic)
        before.push_back(node.bus_id + node.id);
    }
    canonicalize(*graph);
    for (const Node& node : graph->nodes) {
      if (node.kind == NodeKind::kDevice || node.kind == NodeKind::kNic)
        after.push_back(node.bus_id + node.id);
    }
    std::sort(before.begin(), before.end());
    std::sort(after.begin(), after.end());
    EXPECT_EQ(before, after) << name << ": ids of devices changed";
  }
}

TEST(Catalogue, SuggestsTheNearestNameAndListsAll) {
  const Result<Machine> machine = find_machine("dgx-h10");
  ASSERT_FALSE(machine.ok());
  EXPECT_NE(machine.status().message().find("is dgx-h100 meant?"), std::string_view::npos)
      << machine.status().message();
  EXPECT_NE(machine.status().message().find("mi300x-8"), std::string_view::npos);
}

TEST(Catalogue, RefusesVariantsThatAMachineCannotBe) {
  const Result<Machine> machine = find_machine("dgx-h100");
  ASSERT_TRUE(machine.ok());
  MachineVariant variant;
  variant.devices = 9;
  EXPECT_FALSE(build_machine(*machine, variant).ok());
  variant = {};
  variant.nics = 9;
  EXPECT_FALSE(build_machine(*machine, variant).ok());
  variant = {};
  variant.slices = 0;
  EXPECT_FALSE(build_machine(*machine, variant).ok());
  variant.slices = kMostSlices + 1;
  EXPECT_FALSE(build_machine(*machine, variant).ok());
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(MachineFile, IsRefusedWithTheFieldThatIsWrong) {
  constexpr std::string_view kGood = R"({"name": "m", "title": "M", "sources": {"s": "a data sheet"},
    "numa": {"count": 2, "cpu": "C", "arch": "x86_64", "memory": {"gb_per_s": 1, "source": "s"},
             "link": {"gb_per_s": 2, "source": "s"}},
    "switches": {"count": 2, "name": "S", "link": {"gb_per_s": 3, "source": "s"}},
    "devices": {"count": 4, "name": "D", "link": {"gb_per_s": 3, "source": "s"}},
    "nics": [{"count": 1, "name": "N", "network": "roce", "at": ["gpu3"], "link": {"gb_per_s": 3, "source": "s"},
              "port": {"gb_per_s": 4, "source": "s"}}],
    "fabric": [{"shape": "list", "kind": "nvlink", "link": {"gb_per_s": 5, "source": "s"}, "pairs": [[0, 1]]}]})";
  const Result<Machine> good = parse_machine(kGood);
  ASSERT_TRUE(good.ok()) << good.status().message();
  struct Case {
    const char *from, *to, *says;
  };
  for (const Case& each : {
           Case{"\"name\": \"m\", ", "", "name: is missing"},
           Case{"\"title\": \"M\"", "\"title\": 7", "title: is no text"},
           Case{"\"title\"", "\"titel\"", "titel: no such field"},
           Case{"\"a data sheet\"", "\"\"", "sources.s: names no document"},
           Case{"\"a data sheet\"", "{\"text\": \"t\", \"weak\": 1}", "sources.s.weak: is neither"},
           Case{"\"count\": 2", "\"count\": 0", "numa.count: is no whole number from 1"},
           Case{"\"count\": 2", "\"count\": 1e99", "numa.count: is no whole number"},
           Case{"\"count\": 2", "\"count\": -2", "numa.count: is no whole number"},
           Case{"\"gb_per_s\": 1,", "\"gb_per_s\": -1,", "numa.memory.gb_per_s: is no number above 0"},
           Case{"\"gb_per_s\": 1,", "\"gb_per_s\": 1e300,", "numa.memory.gb_per_s: is no number above 0"},
           Case{"\"gb_per_s\": 1,", "", "numa.memory: gb_per_s is missing"},
           Case{"\"gb_per_s\": 2, \"source\": \"s\"", "\"gb_per_s\": 2, \"source\": \"t\"",
                "numa.link.source: \"t\" is not among the sources"},
           Case{"\"gb_per_s\": 2, \"source\": \"s\"", "\"gb_per_s\": 2", "numa.link.source: is missing"},
           Case{"[\"gpu3\"]", "[\"gpu4\"]", "nics[0].at[0]: there is no gpu4"},
           Case{"[\"gpu3\"]", "[\"rack1\"]", "nics[0].at[0]: is none of numaN"},
           Case{"[\"gpu3\"]", "[\"gpu99999999999\"]", "nics[0].at[0]: is none of numaN"},
           Case{"[\"gpu3\"]", "[]", "nics[0].at: is no array of 1 places"},
           Case{"\"roce\"", "\"nvlink\"", "nics[0].network: \"nvlink\" is none of"},
           Case{"\"list\"", "\"ring\"", "fabric[0].shape: is none of"},
           Case{"\"nvlink\"", "\"nvlonk\"", "fabric[0].kind: there is no link kind"},
           Case{"[[0, 1]]", "[[0, 4]]", "fabric[0].pairs: [0] joins no two of 4 devices"},
           Case{"[[0, 1]]", "[[1, 1]]", "fabric[0].pairs: [0] joins no two"},
           Case{"[[0, 1]]", "[[0]]", "fabric[0].pairs: [0] is no [device, device, count]"},
           Case{"\"shape\": \"list\"", "\"shape\": \"mesh\", \"all_hosts\": true", "only a fabric of shape"},
           Case{"[[0, 1]]}]}", "[[0, 1]]}]", "not JSON"},
       }) {
    const Result<Machine> machine = parse_machine(replaced(std::string(kGood), each.from, each.to));
    ASSERT_FALSE(machine.ok()) << each.to;
    EXPECT_NE(machine.status().message().find(each.says), std::string_view::npos)
        << machine.status().message();
  }
  for (const char* text : {"", "[]", "7", "null", "{}", "{\"name\": \"\xff\"}"})
    EXPECT_FALSE(parse_machine(text).ok());
  EXPECT_NE(parse_machine("{\n\n\"name\" 7}").status().message().find("line 3"), std::string_view::npos);
}

}  // namespace
}  // namespace comity::topology
