// Discovery from sysfs: a folder written by the test, and this machine.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>

#include "src/base/clock.h"
#include "tests/topology/discover_fixture.h"
#include "topology/discover/sysfs.h"
#include "topology/paths.h"

namespace comity::topology {
namespace {

uint32_t by_bus_id(const Graph& graph, const std::string& bus_id, NodeKind kind) {
  for (uint32_t index = 0; index < graph.nodes.size(); ++index)
    if (graph.nodes[index].bus_id == bus_id && graph.nodes[index].kind == kind) return index;
  ADD_FAILURE() << "no " << name_of(kind) << " at " << bus_id;
  return 0;
}

uint32_t by_name(const Graph& graph, const std::string& name) {
  for (uint32_t index = 0; index < graph.nodes.size(); ++index)
    if (graph.nodes[index].name == name) return index;
  ADD_FAILURE() << "no node " << name;
  return 0;
}

const Link& link_between(const Graph& graph, uint32_t from, uint32_t to) {
  for (const Link& link : graph.links)
    if (link.from == from && link.to == to) return link;
  ADD_FAILURE() << "no link from " << graph.nodes[from].name << " to " << graph.nodes[to].name;
  return graph.links.front();
}

class DiscoverSysfs : public ::testing::Test {
 protected:
  void SetUp() override {
    write_gpu_machine(system_);
    const auto result = discover(system_.options());
    ASSERT_TRUE(result.ok()) << result.status().message();
    graph_ = result->graph;
  }
  FakeSystem system_;
  Graph graph_;
};

TEST_F(DiscoverSysfs, FindsDevicesSwitchesNicsAndDomainsAndNothingElse) {
  EXPECT_EQ(graph_.nodes_of(NodeKind::kHost).size(), 1u);
  EXPECT_EQ(graph_.nodes_of(NodeKind::kNuma).size(), 2u);
  EXPECT_EQ(graph_.nodes_of(NodeKind::kPcieBridge).size(), 2u);
  EXPECT_EQ(graph_.nodes_of(NodeKind::kPcieSwitch).size(), 1u);
  EXPECT_EQ(graph_.nodes_of(NodeKind::kDevice).size(), 2u);
  EXPECT_EQ(graph_.nodes_of(NodeKind::kNic).size(), 3u);
  const Node& gpu = graph_.nodes[by_bus_id(graph_, "0000:83:00.0", NodeKind::kDevice)];
  EXPECT_EQ(gpu.vendor, "nvidia");
  EXPECT_EQ(gpu.numa, 1);
  EXPECT_EQ(gpu.attributes.at("pci.class"), "0x030200");
  const Node& host = graph_.nodes[graph_.nodes_of(NodeKind::kHost)[0]];
  EXPECT_EQ(host.attributes.at("boot_id"), "11111111-2222-3333-4444-555555555555");
  EXPECT_EQ(host.attributes.at("hostname"), "machine");
}

TEST_F(DiscoverSysfs, PricesALinkByTheLowerMaximumOfItsEnds) {
  const uint32_t gpu = by_bus_id(graph_, "0000:83:00.0", NodeKind::kDevice);
  const uint32_t parent = by_bus_id(graph_, "0000:81:00.0", NodeKind::kPcieSwitch);
  const Link& link = link_between(graph_, gpu, parent);
  EXPECT_EQ(link.kind, LinkKind::kPcie);
  EXPECT_EQ(link.source, Source::kReported);
  // 16 GT/s x16 after 128b/130b; the GPU could do 32, and idles at 2.5.
  EXPECT_NEAR(static_cast<double>(link.bandwidth_bytes_per_s), 31.5e9, 0.1e9);
  EXPECT_EQ(link_between(graph_, parent, gpu).bandwidth_bytes_per_s, link.bandwidth_bytes_per_s);
  EXPECT_EQ(graph_.nodes[gpu].attributes.at("pcie.current"), "2.5 GT/s x16");
  EXPECT_EQ(graph_.nodes[gpu].attributes.at("pcie.max"), "16.0 GT/s x16");
}

TEST_F(DiscoverSysfs, DevicesBelowOneSwitchAreNearAndDomainsAreFar) {
  const auto paths = paths_from(graph_, by_bus_id(graph_, "0000:83:00.0", NodeKind::kDevice));
  EXPECT_EQ(paths[by_bus_id(graph_, "0000:84:00.0", NodeKind::kDevice)].path_class, PathClass::kPix);
  EXPECT_EQ(paths[by_name(graph_, "mlx5_0")].path_class, PathClass::kPix);
  EXPECT_EQ(paths[by_name(graph_, "eth0")].path_class, PathClass::kSys);
}

TEST_F(DiscoverSysfs, PortsOfOneCardShareItsLink) {
  const uint32_t first = by_name(graph_, "eth0"), second = by_name(graph_, "eth1");
  std::vector<std::string> up;
  for (const Link& link : graph_.links)
    if (link.from == first || link.from == second) up.push_back(link.shared);
  ASSERT_EQ(up.size(), 2u);
  EXPECT_FALSE(up[0].empty());
  EXPECT_EQ(up[0], up[1]);
}

TEST_F(DiscoverSysfs, NicsSayWhatNetworkTheyAreFor) {
  const auto& infiniband = graph_.nodes[by_name(graph_, "mlx5_0")].attributes;
  EXPECT_EQ(infiniband.at("net.kind"), "infiniband");
  EXPECT_EQ(infiniband.at("net.bandwidth_bytes_per_s"), "50000000000");
  EXPECT_EQ(infiniband.at("rdma.gids"), "1");
  EXPECT_EQ(infiniband.at("guid"), "0c42:a103:0065:bafe");
  const auto& ethernet = graph_.nodes[by_name(graph_, "eth1")].attributes;
  EXPECT_EQ(ethernet.at("net.kind"), "ethernet");
  EXPECT_EQ(ethernet.at("pci.device"), "0x1572");
  EXPECT_EQ(ethernet.at("net.bandwidth_bytes_per_s"), "1250000000");
}

TEST(DiscoverDomains, TellTheirCoresAndTheCachesOfACpu) {
  const FakeSystem system;
  system.numa(0, "0-3", "10");
  for (int cpu = 0; cpu < 4; ++cpu) {
    const std::string folder = "sys/devices/system/cpu/cpu" + std::to_string(cpu);
    system.write(folder + "/topology/core_cpus_list", cpu % 2 == 0 ? "0,2\n" : "1,3\n");
    const std::vector<std::vector<std::string>> caches = {{"1", "Data", "48K", "0,2"},
                                                          {"1", "Instruction", "32K", "0,2"},
                                                          {"2", "Unified", "1024K", "0,2"},
                                                          {"3", "Unified", "32768K", "0-3"}};
    for (size_t i = 0; i < caches.size(); ++i) {
      const std::string cache = folder + "/cache/index" + std::to_string(i);
      system.write(cache + "/level", caches[i][0] + "\n");
      system.write(cache + "/type", caches[i][1] + "\n");
      system.write(cache + "/size", caches[i][2] + "\n");
      system.write(cache + "/shared_cpu_list", caches[i][3] + "\n");
    }
  }
  const auto found = discover(system.options());
  ASSERT_TRUE(found.ok()) << found.status().message();
  const Graph& graph = found->graph;
  const Node& numa = graph.nodes[graph.nodes_of(NodeKind::kNuma).at(0)];
  EXPECT_EQ(numa.attributes.at("cores"), "2");
  EXPECT_EQ(numa.attributes.at("caches"), "L1d 48 KiB, L2 1 MiB, L3 32 MiB for 4 CPUs");
}

TEST(DiscoverContainer, WithoutPciThereAreHostDomainsAndInterfaces) {
  FakeSystem system;
  system.numa(0, "0-1", "10");
  system.netdev("veth0", "", 10'000);
  system.rdma("rxe0", "", "Ethernet", "2.5 Gb/sec (1X SDR)");
  system.write("sys/devices/virtual/infiniband/rxe0/parent", "veth0\n");
  const auto result = discover(system.options());
  ASSERT_TRUE(result.ok()) << result.status().message();
  const Graph& graph = result->graph;
  EXPECT_EQ(graph.nodes.size(), 3u);
  ASSERT_EQ(graph.nodes_of(NodeKind::kNic).size(), 1u);
  const Node& nic = graph.nodes[graph.nodes_of(NodeKind::kNic)[0]];
  EXPECT_EQ(nic.name, "rxe0");
  EXPECT_EQ(nic.attributes.at("netdev"), "veth0");
  EXPECT_EQ(nic.attributes.at("net.kind"), "roce");
  // The software device's own rate means nothing.
  EXPECT_EQ(nic.attributes.at("net.bandwidth_bytes_per_s"), "1250000000");
}

TEST(DiscoverContainer, AnEmptySysfsIsAHost) {
  FakeSystem system;
  const auto result = discover(system.options());
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->graph.nodes.size(), 1u);
}

TEST(DiscoverNics, ANetdevAndItsRdmaPortAreOneNode) {
  FakeSystem system;
  const std::string place = "pci0000:00/0000:00:01.0/0000:01:00.0";
  system.numa(0, "0-1", "10");
  system.pci("pci0000:00/0000:00:01.0", {"0x060400", "0x8086", "0x352a"}, "", "", 0);
  system.pci(place, {"0x020000", "0x15b3", "0x1021"}, "16.0 GT/s PCIe x16", "16.0 GT/s PCIe x16", 0);
  system.netdev("ens1f0np0", place, 200'000);
  system.rdma("mlx5_0", place, "Ethernet", "200 Gb/sec (2X NDR)");
  system.write("sys/devices/" + place + "/infiniband/mlx5_0/ports/1/gid_attrs/ndevs/0", "ens1f0np0\n");
  const auto found = discover(system.options());
  ASSERT_TRUE(found.ok()) << found.status().message();
  const auto nics = found->graph.nodes_of(NodeKind::kNic);
  ASSERT_EQ(nics.size(), 1u);
  const auto& attributes = found->graph.nodes[nics[0]].attributes;
  EXPECT_EQ(attributes.at("rdma"), "mlx5_0");
  EXPECT_EQ(attributes.at("netdev"), "ens1f0np0");
  EXPECT_EQ(attributes.at("net.kind"), "roce");
  EXPECT_EQ(attributes.at("net.bandwidth_bytes_per_s"), "25000000000");
}

TEST(DiscoverNics, VirtualFunctionsShareTheirCardsLinkAndThoseOfGuestsAreLeftOut) {
  FakeSystem system;
  const std::string port = "pci0000:00/0000:00:01.0";
  system.numa(0, "0-1", "10");
  system.pci(port, {"0x060400", "0x8086", "0x352a"}, "", "", 0);
  for (const char* function : {"0000:01:00.0", "0000:01:02.0", "0000:01:02.1"}) {
    system.pci(port + "/" + function, {"0x020000", "0x8086", "0x1889"}, "", "", 0);
    if (std::string(function) != "0000:01:00.0")
      system.link("sys/devices/" + port + "/" + function + "/physfn",
                  "sys/devices/" + port + "/0000:01:00.0");
  }
  system.netdev("pf", port + "/0000:01:00.0", 25'000);
  system.netdev("vf", port + "/0000:01:02.0", 25'000);
  const auto found = discover(system.options());
  ASSERT_TRUE(found.ok()) << found.status().message();
  const Graph& graph = found->graph;
  EXPECT_EQ(graph.nodes_of(NodeKind::kNic).size(), 2u);
  const uint32_t root = by_bus_id(graph, "0000:00:01.0", NodeKind::kPcieBridge);
  const std::string shared = link_between(graph, by_name(graph, "vf"), root).shared;
  EXPECT_FALSE(shared.empty());
  EXPECT_EQ(shared, link_between(graph, by_name(graph, "pf"), root).shared);
  EXPECT_NE(shared, link_between(graph, root, by_name(graph, "vf")).shared)
      << "each direction has its own capacity";
}

TEST(DiscoverNics, ABondKnowsItsMembersAndWhatIsDownOrABridgeIsLeftOut) {
  FakeSystem system;
  system.numa(0, "0-1", "10");
  for (const char* name : {"bond0", "eth0", "ifb0", "docker0"}) system.netdev(name, "", 10'000);
  system.write("sys/devices/virtual/net/bond0/bonding/slaves", "eth0 eth1\n");
  system.link("sys/devices/virtual/net/eth0/master", "sys/devices/virtual/net/bond0");
  system.write("sys/devices/virtual/net/ifb0/flags", "0x82\n");
  system.write("sys/devices/virtual/net/docker0/bridge/forward_delay", "0\n");
  const auto found = discover(system.options());
  ASSERT_TRUE(found.ok()) << found.status().message();
  const Graph& graph = found->graph;
  EXPECT_EQ(graph.nodes_of(NodeKind::kNic).size(), 2u);
  EXPECT_EQ(graph.nodes[by_name(graph, "bond0")].attributes.at("netdev.members"), "eth0,eth1");
  EXPECT_EQ(graph.nodes[by_name(graph, "eth0")].attributes.at("netdev.master"), "bond0");
}

TEST(DiscoverPlaces, WhatTellsNoDomainHangsOffTheHostUnlessThereIsOnlyOne) {
  for (const bool two : {true, false}) {
    FakeSystem system;
    system.numa(0, "0-3", two ? "10 21" : "10");
    if (two) system.numa(1, "4-7", "21 10");
    system.pci("pci0000:00/0000:00:01.0", {"0x120000", "0x1da3", "0x1020"}, "", "", -1);
    const auto found = discover(system.options());
    ASSERT_TRUE(found.ok()) << found.status().message();
    const Graph& graph = found->graph;
    const uint32_t device = by_bus_id(graph, "0000:00:01.0", NodeKind::kDevice);
    link_between(graph, device, graph.nodes_of(two ? NodeKind::kHost : NodeKind::kNuma)[0]);
    EXPECT_EQ(graph.nodes[device].numa, two ? -1 : 0);
  }
}

TEST(DiscoverPlaces, SwitchesBelowSwitchesAreFartherApart) {
  FakeSystem system;
  const std::vector<std::string> port = {"0x060400", "0x1000", "0xc030"};
  const std::vector<std::string> gpu = {"0x030200", "0x10de", "0x2330"};
  system.numa(0, "0-3", "10");
  std::string place = "pci0000:00";
  for (const char* bridge :
       {"/0000:00:01.0", "/0000:01:00.0", "/0000:02:00.0", "/0000:03:00.0", "/0000:04:00.0"})
    system.pci(place += bridge, port, "", "", 0);
  system.pci(place + "/0000:05:00.0", gpu, "", "", 0);
  const std::string outer = "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0";
  system.pci(outer, port, "", "", 0);
  system.pci(outer + "/0000:06:00.0", gpu, "", "", 0);
  const auto found = discover(system.options());
  ASSERT_TRUE(found.ok()) << found.status().message();
  const Graph& graph = found->graph;
  EXPECT_EQ(graph.nodes_of(NodeKind::kPcieSwitch).size(), 2u);
  EXPECT_EQ(graph.nodes_of(NodeKind::kPcieBridge).size(), 1u);
  const uint32_t near = by_bus_id(graph, "0000:05:00.0", NodeKind::kDevice);
  const auto paths = paths_from(graph, near);
  EXPECT_EQ(paths[by_bus_id(graph, "0000:06:00.0", NodeKind::kDevice)].path_class, PathClass::kPxb);
}

TEST(DiscoverPlaces, ConsolesAreNoAccelerators) {
  FakeSystem system;
  const std::vector<std::vector<std::string>> consoles = {
      {"0x030000", "0x1002", "0x515e"},   // ES1000
      {"0x030000", "0x19e5", "0x1711"},   // Huawei's iBMC
      {"0x030000", "0x102b", "0x0536"},   // Matrox G200
      {"0x0b4000", "0x8086", "0x4940"},   // QAT
      {"0x030000", "0x8086", "0x9a49"}};  // built into the CPU
  for (size_t slot = 0; slot < consoles.size(); ++slot)
    system.pci("pci0000:00/0000:00:0" + std::to_string(slot) + ".0", consoles[slot], "", "", 0);
  const auto found = discover(system.options());
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_TRUE(found->graph.nodes_of(NodeKind::kDevice).empty());
}

TEST(DiscoverPlaces, DomainsWithoutCpusAndMemoryAreLeftOut) {
  FakeSystem system;
  system.numa(0, "0-3", "10 80 21");
  system.numa(1, "", "80 10 80");
  system.write("sys/devices/system/node/node1/meminfo", "Node 1 MemTotal:       0 kB\n");
  system.numa(2, "", "21 80 10");  // memory alone: CXL
  const auto found = discover(system.options());
  ASSERT_TRUE(found.ok()) << found.status().message();
  const Graph& graph = found->graph;
  ASSERT_EQ(graph.nodes_of(NodeKind::kNuma).size(), 2u);
  for (const Link& link : graph.links) {
    if (link.kind != LinkKind::kCpu) continue;
    EXPECT_EQ(link.attributes.at("numa.distance"), "21");
  }
}

// A driver that does not answer: opening a FIFO that nobody writes to takes forever.
TEST(DiscoverContainer, ADriverThatHangsLeavesTheHostInTime) {
  for (const bool cache : {false, true}) {
    FakeSystem system;
    write_gpu_machine(system);
    system.netdev("stuck", "", 10);
    const std::string file = system.path("sys/devices/virtual/net/stuck/speed");
    std::filesystem::remove(file);
    ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
    DiscoverOptions options = system.options();
    options.cache = cache;
    options.cache_folder = system.path("cache");
    options.source_deadline_ms = 500;
    options.deadline_ms = 800;
    const uint64_t start = now_ns();
    const auto found = discover(options);
    EXPECT_LT(now_ns() - start, 20'000'000'000u);
    ASSERT_TRUE(found.ok()) << found.status().message();
    EXPECT_EQ(found->graph.nodes.size(), 1u);
    EXPECT_FALSE(found->findings.front().ok);
    EXPECT_FALSE(std::filesystem::exists(options.cache_folder)) << "half a machine was cached";
  }
}

TEST(DiscoverThisMachine, GivesAValidGraphTwiceEqual) {
  DiscoverOptions options;
  options.cache = false;
  options.vendor_libraries = false;
  const auto first = discover(options), second = discover(options);
  ASSERT_TRUE(first.ok()) << first.status().message();
  ASSERT_TRUE(second.ok());
  EXPECT_TRUE(validate(first->graph).ok());
  EXPECT_EQ(structural_hash(first->graph), structural_hash(second->graph));
  EXPECT_EQ(first->graph.nodes_of(NodeKind::kHost).size(), 1u);
  for (const uint32_t nic : first->graph.nodes_of(NodeKind::kNic))
    EXPECT_NE(first->graph.nodes[nic].name, "lo");
}

TEST(BusIds, AreFoundInPaths) {
  EXPECT_EQ(bus_id_of("/sys/devices/pci0000:00/0000:00:03.0/virtio2"), "0000:00:03.0");
  EXPECT_EQ(bus_id_of("/sys/devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0"),
            "10000:e1:00.0");
  EXPECT_EQ(bus_id_of("/sys/devices/virtual/net/veth0"), "");
}

}  // namespace
}  // namespace comity::topology
