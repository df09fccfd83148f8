// Importers on samples of the project's own (samples/README.md) and on files that others wrote.

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/topology/graph_summary.h"
#include "topology/export/nccl_xml.h"
#include "topology/import/notes.h"
#include "topology/import/recognize.h"
#include "topology/json.h"
#include "topology/paths.h"

namespace comity::topology {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// An importer's graph alone.
Result<Graph> graph_from(std::string_view text, const std::string& name, FileKind kind = FileKind::kUnknown) {
  Result<Imported> imported = import_any(text, name, kind);
  if (!imported.ok()) return imported.status();
  return std::move(imported->graph);
}

fs::path here() {
  return fs::path(COMITY_TEST_SOURCES);
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && name != "README.md") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// What was recorded and reviewed; with COMITY_RECORD set the record is written anew, to be reviewed again.
void expect_as_recorded(const Graph& graph, const std::string& name) {
  const fs::path record = here() / "expected" / (name + ".txt");
  const std::string summary = summary_of(graph);
  if (std::getenv("COMITY_RECORD") != nullptr) std::ofstream(record, std::ios::binary) << summary;
  EXPECT_EQ(summary, text_of(record)) << "import of " << name << " differs from " << record;
}

Graph same_without_origin(Graph graph) {
  graph.origin.clear();
  return graph;
}

// NCCL's XML of a graph that came from NCCL's XML is the graph; of another, it keeps devices and NICs, and
// writing it again changes nothing.
void expect_export_reads_back(const Graph& graph, bool from_nccl, const std::string& name) {
  const Result<std::string> text = export_nccl_xml(graph);
  ASSERT_TRUE(text.ok()) << name << ": " << text.status().message();
  const Result<Graph> again = graph_from(*text, name + " again", FileKind::kNcclXml);
  ASSERT_TRUE(again.ok()) << again.status().message();
  if (from_nccl) {
    EXPECT_TRUE(same_without_origin(*again) == same_without_origin(graph)) << name << " is written as\n"
                                                                           << *text;
  }
  for (const NodeKind kind : {NodeKind::kDevice, NodeKind::kNic, NodeKind::kHost}) {
    EXPECT_EQ(again->nodes_of(kind).size(), graph.nodes_of(kind).size()) << name;
  }
  EXPECT_EQ(islands(*again).size(), islands(graph).size()) << name;
  const Result<std::string> twice = export_nccl_xml(*again);
  ASSERT_TRUE(twice.ok()) << twice.status().message();
  EXPECT_EQ(*twice, *text) << name;
}

void expect_json_reads_back(const Graph& graph, const std::string& name) {
  const Result<Graph> again = from_json(to_json(graph), name);
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_TRUE(same_without_origin(*again) == same_without_origin(graph)) << name;
}

void expect_imports(const fs::path& path) {
  const std::string name = path.filename().string(), text = text_of(path);
  const Result<Graph> graph = graph_from(text, name);
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  expect_as_recorded(*graph, name);
  expect_json_reads_back(*graph, name);
  expect_export_reads_back(*graph, recognize(text) == FileKind::kNcclXml, name);
}

TEST(TopologyImport, EverySampleBecomesTheGraphThatWasReviewed) {
  const auto files = files_in(here() / "samples");
  ASSERT_GE(files.size(), 10U);
  for (const fs::path& path : files) expect_imports(path);
}

TEST(TopologyImport, EveryFileOfTheCorporaBecomesTheGraphThatWasReviewed) {
  const char* corpus = std::getenv("COMITY_CORPUS");
  if (corpus == nullptr) GTEST_SKIP() << "needs COMITY_CORPUS";
  size_t count = 0;
  for (const char* folder : {"nccl-topology", "hwloc-xml"}) {
    for (const fs::path& path : files_in(fs::path(corpus) / folder)) {
      expect_imports(path);
      ++count;
    }
  }
  EXPECT_GE(count, 35U);
}

// What nobody means to write, and a fuzzer did.
TEST(TopologyImport, OddNcclXmlIsReadBackEqualFromWhatIsWritten) {
  const std::map<std::string, std::string> kTexts = {
      {"a link to a device of a switch's class",
       R"(<system><cpu numaid="1" arch="1"><pci busid="17:0" class="0x0680"><apu d=""/></pci>
          <pci busid="5:8"><apu d=""><ub target="0000:17:00.0"/></apu></pci></cpu></system>)"},
  };
  for (const auto& [what, text] : kTexts) {
    const Result<Graph> graph = graph_from(text, what);
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    expect_export_reads_back(*graph, true, what);
  }
}

TEST(TopologyImport, SwitchesBelowSwitchesWithoutEndAreNotWrittenAsNcclXml) {
  Graph graph;
  const uint32_t host = graph.add({.kind = NodeKind::kHost});
  uint32_t at = graph.add({.kind = NodeKind::kNuma, .numa = 0});
  graph.join({.from = host, .to = at, .kind = LinkKind::kMemory});
  const auto add_below = [&](NodeKind kind, int number) {
    const uint32_t node = graph.add({.kind = kind, .bus_id = fmt::format("0000:{:02x}:00.0", number)});
    graph.join({.from = at, .to = node});
    return node;
  };
  for (int i = 0; i < 64; ++i) at = add_below(NodeKind::kPcieSwitch, i);
  add_below(NodeKind::kDevice, 64);
  Graph deepest = graph;
  canonicalize(deepest);
  expect_export_reads_back(deepest, false, "64 deep");
  at = add_below(NodeKind::kPcieSwitch, 65);
  const Result<std::string> text = export_nccl_xml(graph);
  ASSERT_FALSE(text.ok());
  EXPECT_NE(text.status().message().find("64 PCIe switches"), std::string::npos) << text.status().message();
}

TEST(TopologyImport, MalformedFilesAreRefusedWithFileLineAndReason) {
  const std::map<std::string, std::string> kReasons = {
      {"nccl-cut.xml", "nccl-cut.xml:8: not well-formed XML"},
      {"nccl-busid.xml", "nccl-busid.xml:3: busid=\"0000:1\""},
      {"nccl-twice.xml", "nccl-twice.xml:4: busid 0000:01:00.0 is a device twice"},
      {"nccl-empty.xml", "nccl-empty.xml:1: <system> has no <cpu>"},
      {"hwloc-version.xml", "hwloc-version.xml:1: version \"4.0\""},
      {"hwloc-matrix.xml", "hwloc-matrix.xml:48: the matrix NVLinkBandwidth"},
      {"nvidia-smi-cut.txt", "nvidia-smi-cut.txt:2: column GPU5 has no row"},
      {"nvidia-smi-asymmetric.txt", "nvidia-smi-asymmetric.txt:2: GPU0 and mlx5_0 are not as near in both"},
      {"nvidia-smi-cut-40.txt", "nvidia-smi-cut-40.txt:6: row GPU4 has no column of its name"},
      {"nvidia-smi-cut-columns.txt", "nvidia-smi-cut-columns.txt:5: row NIC1 has no column of its name"},
      {"rocm-smi-cut.txt", "rocm-smi-cut.txt:31: the text ends within a table"},
      {"ibnetdiscover-cut.txt", "ibnetdiscover-cut.txt:7: H-0000000000100003 has no record"},
      {"unknown.txt", "unknown.txt:1: this is no topology of a known kind"},
  };
  const auto files = files_in(here() / "samples" / "bad");
  EXPECT_EQ(files.size(), kReasons.size());
  for (const fs::path& path : files) {
    const std::string name = path.filename().string();
    const Result<Graph> graph = graph_from(text_of(path), name);
    ASSERT_FALSE(graph.ok()) << name;
    EXPECT_EQ(graph.status().code(), Code::kInvalidArgument);
    const auto reason = kReasons.find(name);
    ASSERT_NE(reason, kReasons.end()) << name;
    EXPECT_EQ(std::string(graph.status().message()).substr(0, reason->second.size()), reason->second);
  }
}

// Cut anywhere, a file is refused; or, where nothing of the devices is lost, it is the same or warned of.
TEST(TopologyImport, AFileCutShortIsNeverAPartialGraphInSilence) {
  for (const fs::path& path : files_in(here() / "samples")) {
    const std::string text = text_of(path), name = path.filename().string();
    const FileKind kind = recognize(text);
    const Result<Imported> whole = import_any(text, name, kind);
    ASSERT_TRUE(whole.ok());
    for (size_t length = 0; length < text.size(); length += 1 + text.size() / 400) {
      const Result<Imported> cut = import_any(text.substr(0, length), name, kind);
      if (!cut.ok()) continue;
      for (const NodeKind each : {NodeKind::kDevice, NodeKind::kNic, NodeKind::kHost}) {
        EXPECT_EQ(cut->graph.nodes_of(each).size(), whole->graph.nodes_of(each).size())
            << name << " at " << length;
      }
      EXPECT_TRUE(cut->graph == whole->graph || !cut->warnings.empty()) << name << " at " << length;
    }
  }
}

// The matrix that the tool printed, by smi.name: where it tells of PCIe, a path that has another class goes
// by vendors' links of third devices.
TEST(TopologyImport, PathClassesAreThoseOfThePrintedMatrix) {
  const Result<Graph> graph = graph_from(text_of(here() / "samples/nvidia-smi-v100-8.txt"), "v100");
  ASSERT_TRUE(graph.ok());
  const auto node = [&](const std::string& name) {
    for (uint32_t i = 0; i < graph->nodes.size(); ++i) {
      if (graph->nodes[i].name == name) return i;
    }
    ADD_FAILURE() << name;
    return 0U;
  };
  const auto from_gpu0 = paths_from(*graph, node("GPU0"));
  EXPECT_EQ(from_gpu0[node("GPU1")].path_class, PathClass::kNvl);
  EXPECT_EQ(from_gpu0[node("GPU1")].bandwidth_bytes_per_s, 25'000'000'000U);
  EXPECT_EQ(from_gpu0[node("GPU2")].bandwidth_bytes_per_s, 50'000'000'000U);
  EXPECT_EQ(from_gpu0[node("GPU4")].path_class, PathClass::kNvb);  // SYS over PCIe
  EXPECT_EQ(from_gpu0[node("mlx5_1")].path_class, PathClass::kPxn);
  const auto from_gpu2 = paths_from(*graph, node("GPU2"));
  EXPECT_EQ(from_gpu2[node("mlx5_0")].path_class, PathClass::kPix);
  const auto from_nic = paths_from(*graph, node("mlx5_0"));
  EXPECT_EQ(from_nic[node("mlx5_1")].path_class, PathClass::kSys);
}

TEST(TopologyImport, NotesOfOneKindAreOneWarningAndAllTogetherAreBounded) {
  Notes notes;
  notes.add(7, "b\nc");
  notes.add(3, "a");
  notes.add(9, "a");
  EXPECT_TRUE(notes.again("a"));
  EXPECT_FALSE(notes.again("d"));
  EXPECT_EQ(notes.warnings("f"), (std::vector<std::string>{"f:3: a (at 3 places)", "f:7: b c"}));
  for (size_t i = 0; i < 2 * Notes::kMost; ++i) notes.add(10 + i, fmt::format("e{}", i));
  EXPECT_EQ(notes.warnings("f").size(), Notes::kMost + 1);
  EXPECT_EQ(notes.warnings("f").back(), "f: 52 warnings more");
}

TEST(TopologyImport, KindsAreRecognizedByContentAlone) {
  const std::map<std::string, FileKind> kKinds = {
      {"nccl", FileKind::kNcclXml},     {"hwloc", FileKind::kHwlocXml},
      {"nvidia", FileKind::kNvidiaSmi}, {"rocm", FileKind::kRocmSmi},
      {"npu", FileKind::kNpuSmi},       {"ibnetdiscover", FileKind::kIbnetdiscover}};
  for (const fs::path& path : files_in(here() / "samples")) {
    const std::string name = path.filename().string();
    EXPECT_EQ(name_of(recognize(text_of(path))), name_of(kKinds.at(name.substr(0, name.find('-'))))) << name;
  }
  EXPECT_EQ(recognize(" {\"version\": 1}"), FileKind::kJson);
  EXPECT_EQ(recognize(""), FileKind::kUnknown);
  EXPECT_EQ(recognize("<graphs/>"), FileKind::kUnknown);
  FileKind kind = FileKind::kJson;
  EXPECT_TRUE(parse("auto", kind));
  EXPECT_EQ(kind, FileKind::kUnknown);
  EXPECT_TRUE(parse("npu-smi", kind));
  EXPECT_EQ(kind, FileKind::kNpuSmi);
  EXPECT_FALSE(parse("xml", kind));
}

}  // namespace
}  // namespace comity::topology
