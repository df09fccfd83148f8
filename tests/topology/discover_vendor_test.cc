// Vendors' libraries: real dlopen of small libraries that export the functions discovery calls, working and
// broken.

#include <gtest/gtest.h>

#include <algorithm>

#include "src/base/clock.h"
#include "tests/topology/discover_fixture.h"
#include "topology/discover/hwloc_source.h"
#include "topology/paths.h"

namespace comity::topology {
namespace {

class DiscoverVendor : public ::testing::Test {
 protected:
  void SetUp() override { write_gpu_machine(system_); }
  Discovered find(const std::string& source, const std::string& file) {
    DiscoverOptions options = system_.options();
    options.libraries[source] = file;
    auto result = discover(options);
    EXPECT_TRUE(result.ok()) << result.status().message();
    return result.ok() ? *result : Discovered{};
  }
  // The link between two bus ids, or one without bandwidth and count.
  static Link link(const Graph& graph, const std::string& from, const std::string& to, LinkKind kind) {
    for (const Link& each : graph.links)
      if (graph.nodes[each.from].bus_id == from && graph.nodes[each.to].bus_id == to && each.kind == kind)
        return each;
    Link none;
    none.count = 0;
    return none;
  }
  static const Finding& finding(const Discovered& found, const std::string& source) {
    for (const Finding& each : found.findings)
      if (each.source == source) return each;
    ADD_FAILURE() << "no finding of " << source;
    return found.findings.front();
  }
  FakeSystem system_;
};

TEST_F(DiscoverVendor, NvmlNamesDevicesAndTheirLinks) {
  const Discovered found = find("nvml", FAKE_NVML);
  EXPECT_TRUE(finding(found, "nvml").ok) << finding(found, "nvml").text;
  const auto devices = found.graph.nodes_of(NodeKind::kDevice);
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_EQ(found.graph.nodes[devices[0]].name, "NVIDIA H100 80GB HBM3");
  EXPECT_EQ(found.graph.nodes[devices[0]].attributes.at("sm"), "90");
  EXPECT_EQ(found.graph.nodes[devices[0]].attributes.at("nvlink.down"), "1");
  const Link direct = link(found.graph, "0000:83:00.0", "0000:84:00.0", LinkKind::kNvlink);
  EXPECT_EQ(direct.count, 2u);
  EXPECT_EQ(direct.bandwidth_bytes_per_s, 25'000'000'000u);
  EXPECT_EQ(direct.source, Source::kDataSheet);
  ASSERT_EQ(found.graph.nodes_of(NodeKind::kVendorSwitch).size(), 1u);
  EXPECT_EQ(link(found.graph, "0000:83:00.0", "", LinkKind::kNvlink).count, 4u);
  EXPECT_EQ(link(found.graph, "", "0000:84:00.0", LinkKind::kNvlink).count, 4u);
  EXPECT_EQ(islands(found.graph).size(), 1u);
  // What sysfs found stays.
  EXPECT_GT(link(found.graph, "0000:83:00.0", "0000:81:00.0", LinkKind::kPcie).bandwidth_bytes_per_s, 0u);
}

TEST_F(DiscoverVendor, RocmSmiJoinsDirectNeighboursOnly) {
  const Discovered found = find("rocm_smi", FAKE_ROCM_SMI);
  EXPECT_TRUE(finding(found, "rocm_smi").ok) << finding(found, "rocm_smi").text;
  const Link near = link(found.graph, "0000:83:00.0", "0000:84:00.0", LinkKind::kXgmi);
  EXPECT_EQ(near.count, 4u);
  EXPECT_EQ(near.bandwidth_bytes_per_s, 50'000'000'000u);
  EXPECT_EQ(near.source, Source::kReported);
  const Link placeholder = link(found.graph, "0000:85:00.0", "0000:84:00.0", LinkKind::kXgmi);
  EXPECT_EQ(placeholder.bandwidth_bytes_per_s, 64'000'000'000u);
  EXPECT_EQ(placeholder.source, Source::kDataSheet);
  EXPECT_EQ(link(found.graph, "0000:83:00.0", "0000:85:00.0", LinkKind::kXgmi).count, 0u);
}

TEST_F(DiscoverVendor, LevelZeroJoinsPortsThatAreUp) {
  const Discovered found = find("level_zero", FAKE_LEVEL_ZERO);
  EXPECT_TRUE(finding(found, "level_zero").ok) << finding(found, "level_zero").text;
  const Link link_up = link(found.graph, "0000:83:00.0", "0000:84:00.0", LinkKind::kXeLink);
  EXPECT_EQ(link_up.count, 1u);
  EXPECT_EQ(link_up.bandwidth_bytes_per_s, 45'000'000'000u);
  EXPECT_EQ(link(found.graph, "0000:84:00.0", "0000:83:00.0", LinkKind::kXeLink).count, 1u);
}

TEST_F(DiscoverVendor, OpenClGivesAcceleratorsAndSaysThatTheCpuIsNone) {
  const Discovered found = find("opencl", FAKE_OPENCL);
  const Finding& line = finding(found, "opencl");
  EXPECT_TRUE(line.ok);
  EXPECT_NE(line.text.find("pthread-cpu"), std::string::npos) << line.text;
  const auto devices = found.graph.nodes_of(NodeKind::kDevice);
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_TRUE(std::any_of(devices.begin(), devices.end(), [&](uint32_t device) {
    return found.graph.nodes[device].name == "Board 1" && found.graph.nodes[device].vendor == "maker";
  }));
}

TEST_F(DiscoverVendor, DevicesThatSysfsHidesHangOffTheHost) {
  FakeSystem container;
  DiscoverOptions options = container.options();
  options.libraries["nvml"] = FAKE_NVML;
  const auto found = discover(options);
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_EQ(found->graph.nodes_of(NodeKind::kDevice).size(), 2u);
  EXPECT_EQ(link(found->graph, "0000:83:00.0", "0000:84:00.0", LinkKind::kNvlink).count, 2u);
}

TEST_F(DiscoverVendor, AMissingLibraryIsOneLine) {
  const Discovered found = find("nvml", "/nonexistent/libnvidia-ml.so.1");
  EXPECT_FALSE(finding(found, "nvml").ok);
  EXPECT_NE(finding(found, "nvml").text.find("not here"), std::string::npos);
  EXPECT_EQ(found.graph.nodes_of(NodeKind::kDevice).size(), 2u);
}

TEST_F(DiscoverVendor, ALibraryThatRefusesSaysSoInItsWords) {
  const Discovered found = find("nvml", FAKE_NVML_REFUSES);
  EXPECT_FALSE(finding(found, "nvml").ok);
  EXPECT_NE(finding(found, "nvml").text.find("Driver Not Loaded"), std::string::npos);
}

TEST_F(DiscoverVendor, AMissingFunctionIsNamed) {
  const Discovered found = find("nvml", FAKE_NVML_LACKS);
  EXPECT_FALSE(finding(found, "nvml").ok);
  EXPECT_NE(finding(found, "nvml").text.find("nvmlDeviceGetNvLinkRemotePciInfo_v2"), std::string::npos);
}

TEST_F(DiscoverVendor, ALibraryThatHangsIsLeftBehind) {
  DiscoverOptions options = system_.options();
  options.libraries["nvml"] = FAKE_NVML_HANGS;
  options.source_deadline_ms = 1000;
  const uint64_t start = now_ns();
  const auto found = discover(options);
  EXPECT_LT(now_ns() - start, 20'000'000'000u);
  ASSERT_TRUE(found.ok());
  EXPECT_FALSE(finding(*found, "nvml").ok);
  EXPECT_NE(finding(*found, "nvml").text.find("in time"), std::string::npos);
  EXPECT_EQ(found->graph.nodes_of(NodeKind::kDevice).size(), 2u);
}

Graph two_devices() {
  Graph graph;
  Node node;
  node.id = "host";
  graph.add(node);
  node.kind = NodeKind::kDevice;
  for (const char* bus_id : {"0000:83:00.0", "0000:84:00.0"}) {
    node.id = node.bus_id = bus_id;
    graph.add(node);
  }
  return graph;
}

TEST(DiscoverHwloc, AddsKindsOfLinksThatAreMissing) {
  Graph graph = two_devices(), hwloc = two_devices();
  std::reverse(hwloc.nodes.begin() + 1, hwloc.nodes.end());
  Link link;
  link.from = 1;
  link.to = 2;
  link.kind = LinkKind::kXgmi;
  link.bandwidth_bytes_per_s = 64'000'000'000;
  hwloc.add(link);
  merge_hwloc(hwloc, graph);
  ASSERT_EQ(graph.links.size(), 1u);
  EXPECT_EQ(graph.nodes[graph.links[0].from].bus_id, "0000:84:00.0");
  merge_hwloc(hwloc, graph);
  EXPECT_EQ(graph.links.size(), 1u) << "a kind that is there is the vendor's own word";
}

TEST(DiscoverHwloc, NamesDevicesThatOnlyOneHas) {
  Graph graph = two_devices(), hwloc = two_devices();
  hwloc.nodes[2].bus_id = "0000:99:00.0";
  const std::string text = merge_hwloc(hwloc, graph);
  EXPECT_NE(text.find("only hwloc has devices 0000:99:00.0"), std::string::npos) << text;
  EXPECT_NE(text.find("hwloc lacks devices 0000:84:00.0"), std::string::npos) << text;
}

TEST(DiscoverHwloc, ReadsThisMachine) {
  const Result<Graph> hwloc = load_hwloc();
  if (!hwloc.ok() && hwloc.status().code() == Code::kUnsupported) GTEST_SKIP() << "needs hwloc";
  ASSERT_TRUE(hwloc.ok()) << hwloc.status().message();
  EXPECT_EQ(hwloc->nodes_of(NodeKind::kHost).size(), 1u);
  EXPECT_GE(hwloc->nodes_of(NodeKind::kNuma).size(), 1u);
}

}  // namespace
}  // namespace comity::topology
