// XML of NCCL and hwloc: what is not understood where devices are described is said, and devices are never
// lost.

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "topology/export/nccl_xml.h"
#include "topology/import/recognize.h"
#include "topology/paths.h"

namespace comity::topology {
namespace {

using Lines = std::vector<std::string>;

std::string sample(const std::string& name) {
  std::ifstream file(fmt::format("{}/samples/{}", COMITY_TEST_SOURCES, name), std::ios::binary);
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

Imported imported(const std::string& text) {
  Result<Imported> read = import_any(text, "f");
  EXPECT_TRUE(read.ok()) << read.status().message() << "\n" << text;
  return read.ok() ? *std::move(read) : Imported{};
}

// In one CPU domain.
std::string nccl(const std::string& below, const char* attributes = "arch=\"x86_64\"") {
  return fmt::format("<system version=\"1\">\n<cpu numaid=\"0\" {}>\n{}\n</cpu></system>", attributes, below);
}

std::string gpu_pci(const std::string& below, const std::string& bus_id = "0000:10:00.0") {
  return fmt::format("<pci busid=\"{}\" class=\"0x030200\">{}</pci>", bus_id, below);
}

TEST(NcclXml, SeveralDevicesOfOnePciDeviceArePartsThatShareItsLinks) {
  const Imported read = imported(sample("nccl-two-gpus-one-pci.xml"));
  EXPECT_EQ(read.warnings, Lines{});
  const auto devices = read.graph.nodes_of(NodeKind::kDevice);
  ASSERT_EQ(devices.size(), 2U);
  size_t shared = 0;
  for (const Link& link : read.graph.links) {
    const bool of_device = link.from == devices[0] || link.from == devices[1];
    if (!of_device) continue;
    EXPECT_FALSE(link.shared.empty()) << name_of(link.kind);
    for (const Link& other : read.graph.links)
      shared += &other != &link && other.shared == link.shared ? 1 : 0;
  }
  EXPECT_EQ(shared, 6U) << "PCIe, NVLink and C2C out of each are those of the other";
  EXPECT_EQ(islands(read.graph), (std::vector<std::vector<uint32_t>>{devices}));
}

// A link to a bus id is one to each part there; what several ranks of one device do not say again holds for
// all.
TEST(NcclXml, LinksToAndOfPartsAreReadBackEqual) {
  const auto linked = [](int dev, const char* target) {
    return fmt::format(
        "<gpu dev=\"{0}\" sm=\"90\" rank=\"{0}\"><nvlink target=\"{1}\" count=\"4\" "
        "tclass=\"0x030200\"/></gpu>",
        dev, target);
  };
  const Imported read =
      imported(nccl(gpu_pci(linked(0, "0000:20:00.0") + "<gpu dev=\"0\" sm=\"90\" rank=\"1\"/>") +
                    gpu_pci(linked(2, "0000:10:00.0"), "0000:20:00.0")));
  ASSERT_EQ(read.graph.nodes_of(NodeKind::kDevice).size(), 3U);
  EXPECT_EQ(islands(read.graph).size(), 1U);
  EXPECT_EQ(islands(read.graph).front().size(), 3U);
  const Result<std::string> text = export_nccl_xml(read.graph);
  ASSERT_TRUE(text.ok());
  const Imported again = imported(*text);
  EXPECT_TRUE(again.graph.nodes == read.graph.nodes && again.graph.links == read.graph.links) << *text;
}

TEST(NcclXml, AMissingArchIsLeftForNcclToFillIn) {
  const Imported read = imported(sample("nccl-noarch.xml"));
  EXPECT_EQ(read.graph.nodes_of(NodeKind::kDevice).size(), 1U);
  EXPECT_EQ(
      read.warnings,
      Lines{"f:2: <cpu> has no arch: NCCL takes that of the machine it runs on; here it stays unknown"});
  const Result<std::string> text = export_nccl_xml(read.graph);
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(text->find("arch="), std::string::npos) << *text;
}

TEST(NcclXml, WhatIsNotKnownIsNotedWithItsLine) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"<slot/>", "f:3: <slot> below <cpu> is not known; left out"},
      {"<nic/>", "f:3: a <nic> with neither a PCI device nor a <net>; left out"},
      {gpu_pci("<gpu dev=\"0\" wattage=\"3\"/>"),
       "f:3: the attribute wattage of <gpu> is not known; kept as it is"},
      {gpu_pci("<npu dev=\"0\"/>"), "f:3: <npu> below the <pci> of a device is not known; left out"},
      {gpu_pci("<gpu dev=\"0\"><hbm/></gpu>"), "f:3: <hbm> below <gpu> names no target; left out"},
      {gpu_pci("<gpu dev=\"0\"><nvlink target=\"0000:20:00.0\" width=\"2\"/></gpu>"),
       "f:3: the attribute width of <nvlink> is not known; left out"},
      {"<pci busid=\"0000:10:00.0\" class=\"0x020000\" slot=\"3\"/>",
       "f:3: the attribute slot of <pci> is not known; kept as it is"},
      {"<pci busid=\"0000:10:00.0\" class=\"0xff0000\"/>",
       "f:3: a PCI device of class 0xff0000 is of no kind that is known; left out"},
      {"<pci busid=\"0000:10:00.0\" class=\"0x020000\"><nic><port name=\"a\"/></nic></pci>",
       "f:3: <port> below <nic> is not known as a port; left out"},
      {"<pci busid=\"0000:10:00.0\" class=\"0x060400\"><pcilink target=\"0000:11:00.0\" speed=\"2\"/></pci>",
       "f:3: the attribute speed of <pcilink> is not known; left out"},
      {"<pci busid=\"0000:10:00.0\" class=\"0x020000\"><nic><net name=\"a\" lanes=\"4\"/></nic></pci>",
       "f:3: the attribute lanes of <net> is not known; kept as it is"},
  };
  for (const auto& [below, warning] : cases)
    EXPECT_EQ(imported(nccl(below)).warnings, Lines{warning}) << below;
  EXPECT_EQ(
      imported(nccl("<pci busid=\"0000:10:00.0\" class=\"0x020000\"><nic><net name=\"a\"/><gin name=\"a\"/>"
                    "</nic></pci><pci busid=\"0000:11:00.0\" class=\"0x010802\"/>"))
          .warnings,
      Lines{})
      << "a port listed again, and a disk";
  EXPECT_EQ(imported(nccl("", "arch=\"x86_64\" cores=\"8\"")).warnings,
            Lines{"f:2: the attribute cores of <cpu> is not known; kept as it is"});
}

TEST(NcclXml, DevicesWhereNoneCanBeAreRefused) {
  for (const char* below : {"<net name=\"a\"/>", "<gpu dev=\"0\"/>", "<box><gpu dev=\"0\"/></box>"}) {
    const Result<Imported> read = import_any(nccl(below), "f");
    ASSERT_FALSE(read.ok()) << below;
    EXPECT_EQ(std::string(read.status().message()).substr(0, 4), "f:3:") << read.status().message();
  }
}

std::string hwloc(const std::string& below, const std::string& beside = "") {
  return fmt::format(
      "<topology version=\"2.0\">\n<object type=\"Machine\" nodeset=\"0x1\" gp_index=\"1\">\n"
      "<object type=\"NUMANode\" os_index=\"0\" nodeset=\"0x1\" cpuset=\"0x1\" "
      "gp_index=\"2\"/>\n{}\n</object>\n{}\n"
      "</topology>",
      below, beside);
}

std::string hwloc_pci(const char* type, const std::string& below = "") {
  return fmt::format(
      "<object type=\"PCIDev\" gp_index=\"9\" pci_busid=\"0000:10:00.0\" pci_type=\"{} [0000:0000] 00\">"
      "{}</object>",
      type, below);
}

TEST(HwlocXml, AcceleratorsOfAnUnknownMakerAreDevices) {
  for (const char* type : {"1200 [1234:0001]", "0302 [1234:0001]"}) {
    const Imported read = imported(hwloc(hwloc_pci(type)));
    EXPECT_EQ(read.graph.nodes_of(NodeKind::kDevice).size(), 1U) << type;
    EXPECT_EQ(read.warnings, Lines{});
  }
  const char* compute = "<object type=\"OSDev\" osdev_type=\"5\" name=\"opencl0d0\" gp_index=\"10\"/>";
  EXPECT_EQ(imported(hwloc(hwloc_pci("0300 [1234:0001]", compute))).graph.nodes_of(NodeKind::kDevice).size(),
            1U);
  EXPECT_EQ(imported(hwloc(hwloc_pci("0300 [1a03:2000]"))).graph.nodes_of(NodeKind::kDevice).size(), 0U)
      << "a board's own graphics";
}

TEST(HwlocXml, WhatIsNotKnownIsNotedWithItsLine) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {hwloc("<object type=\"OSDev\" osdev_type=\"2\" name=\"eth0\"/>"),
       "f:4: eth0 has no PCI device above it; left out"},
      {hwloc(hwloc_pci("ff00 [1234:0001]")),
       "f:4: a PCI device of class ff00 is of no kind that is known; left out"},
      {hwloc(hwloc_pci("0880 [1d0f:7164]")),
       "f:4: a PCI device of class 0880 is of no kind that is known; left out"},
      {hwloc(hwloc_pci("1200 [10de:0001]", "<object type=\"Chiplet\"/>")),
       "f:4: an object Chiplet below an I/O object is not known; left out"},
      {hwloc("", "<distances2 name=\"UALinkBandwidth\"/>"),
       "f:6: the matrix UALinkBandwidth is not known; left out"},
      {hwloc("",
             "<distances2 name=\"NVLinkBandwidth\" nbobjs=\"1\"><indexes>77</indexes><u64values>5</u64values>"
             "</distances2>"),
       "f:6: the matrix NVLinkBandwidth names objects that are not there; left out"},
  };
  for (const auto& [text, warning] : cases) EXPECT_EQ(imported(text).warnings, Lines{warning}) << text;
  EXPECT_EQ(imported(hwloc(hwloc_pci("0106 [8086:0001]"), "<distances2 name=\"NUMALatency\"/>")).warnings,
            Lines{});
}

}  // namespace
}  // namespace comity::topology
