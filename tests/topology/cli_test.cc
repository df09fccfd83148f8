// `comity topo` as a user runs it: what it prints and how it exits.

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace {

struct Outcome {
  int status = -1;
  std::string text;  // both outputs
};

Outcome run_line(const std::string& line) {
  Outcome outcome;
  FILE* pipe = popen(line.c_str(), "r");
  if (pipe == nullptr) return outcome;
  char buffer[4096];
  for (size_t got = 0; (got = fread(buffer, 1, sizeof buffer, pipe)) > 0;) outcome.text.append(buffer, got);
  const int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

Outcome topo(const std::string& arguments) {
  return run_line(fmt::format("'{}' topo {} 2>&1", COMITY_PROGRAM, arguments));
}

void expect_says(const Outcome& outcome, std::string_view what) {
  EXPECT_NE(outcome.text.find(what), std::string::npos) << "not in the output: " << what << "\n"
                                                        << outcome.text;
}

// A file that is gone at the end of the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content) {
    char name[] = "/tmp/comity-topo-test-XXXXXX";
    const int fd = mkstemp(name);
    if (fd >= 0) close(fd);
    path_ = name;
    std::ofstream(path_) << content;
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

constexpr const char* kMixed = "'2*dgx-h100 + 1*mi300x-8 via rail(8, 50GB/s)'";

TEST(ComityTopo, ShowsThisMachine) {
  const Outcome outcome = topo("");
  EXPECT_EQ(outcome.status, 0) << outcome.text;
  expect_says(outcome, "1 host");
  expect_says(outcome, "numa0");
}

TEST(ComityTopo, ShowsANotationInEveryFormat) {
  struct Case {
    const char* format;
    const char* says;
  };
  for (const Case& each :
       {Case{"text", "NVL 450"}, Case{"json", "\"islands\""}, Case{"dot", "graph topology {"},
        Case{"svg", "</svg>"}, Case{"nccl-xml", "<system"},
        Case{"hwloc-synthetic", "group:3 package:2 [numa] core:1 pu:1"}}) {
    const Outcome outcome = topo(fmt::format("{} --format {}", kMixed, each.format));
    EXPECT_EQ(outcome.status, 0) << each.format << ": " << outcome.text.substr(0, 200);
    expect_says(outcome, each.says);
  }
}

TEST(ComityTopo, ReadsItsJsonBackEqual) {
  const Outcome written = topo(fmt::format("{} --format json", kMixed));
  ASSERT_EQ(written.status, 0);
  const TemporaryFile file(written.text);
  const Outcome again = topo(file.path() + " --format json");
  EXPECT_EQ(again.status, 0);
  EXPECT_EQ(again.text, written.text);
  const Outcome piped = run_line(
      fmt::format("'{0}' topo {1} --format json | '{0}' topo - --format json 2>&1", COMITY_PROGRAM, kMixed));
  EXPECT_EQ(piped.text, written.text);
}

TEST(ComityTopo, RecognisesNcclXmlThatItWrote) {
  const TemporaryFile file(topo("dgx-a100 --format nccl-xml").text);
  const Outcome outcome = topo(file.path());
  EXPECT_EQ(outcome.status, 0) << outcome.text;
  expect_says(outcome, "8 devices, 8 NICs");
  EXPECT_EQ(topo(file.path() + " --from nccl-xml").status, 0);
}

TEST(ComityTopo, TriesAMachineBeforeItIsInTheCatalogue) {
  const std::string machine = R"({"name": "mine", "title": "My machine", "sources": {"s": "a data sheet"},
    "numa": {"count": 1, "cpu": "C", "arch": "x86_64", "memory": {"gb_per_s": 100, "source": "s"}},
    "devices": {"count": 2, "name": "D", "link": {"gb_per_s": 31.5, "source": "s"}}})";
  const TemporaryFile good(machine);
  const Outcome outcome = topo(good.path());
  EXPECT_EQ(outcome.status, 0) << outcome.text;
  expect_says(outcome, "My machine");
  const TemporaryFile bad(std::string(machine).replace(machine.find("\"count\": 2"), 10, "\"count\": 0"));
  const Outcome refused = topo(bad.path());
  EXPECT_EQ(refused.status, 1);
  expect_says(refused, bad.path() + ": devices.count: is no whole number from 1");
}

TEST(ComityTopo, TakesAFileBesideTheProgramBeforeTheCopyBuiltIn) {
  namespace fs = std::filesystem;
  char name[] = "/tmp/comity-topo-test-XXXXXX";
  ASSERT_NE(mkdtemp(name), nullptr);
  const fs::path prefix = name;
  fs::create_directories(prefix / "bin");
  fs::create_directories(prefix / "share/comity/machines");
  fs::copy_file(COMITY_PROGRAM, prefix / "bin/comity");
  const std::string machine =
      R"({"name": "cpu-1s", "title": "Corrected", "sources": {"s": "measured by hand"},
    "numa": {"count": 1, "cpu": "C", "arch": "x86_64", "memory": {"gb_per_s": 123, "source": "s"}}})";
  std::ofstream(prefix / "share/comity/machines/cpu-1s.json") << machine;
  const Outcome corrected = run_line(fmt::format("'{}/bin/comity' topo cpu-1s 2>&1", name));
  expect_says(corrected, "Corrected");
  expect_says(corrected, "memory 123 GB/s");
  std::ofstream(prefix / "share/comity/machines/cpu-1s.json") << "{";
  const Outcome broken = run_line(fmt::format("'{}/bin/comity' topo cpu-1s 2>&1", name));
  EXPECT_NE(broken.status, 0) << "a broken correction is not passed over";
  expect_says(broken, "share/comity/machines/cpu-1s.json: line 1");
  expect_says(run_line(fmt::format("'{}/bin/comity' topo cpu-2s 2>&1", name)), "CPU host, two sockets");
  fs::remove_all(prefix);
}

TEST(ComityTopo, ExitsWithOneFileLineAndReasonForAMalformedFile) {
  struct Case {
    const char* text;
    const char* says;
  };
  for (const Case& each : {Case{"<system version=\"1\">\n<cpu numaid=\"0\">\n</system>", ":3"},
                           Case{"<system version=\"1\">\n<cpu numaid=\"0\"", ":"},
                           Case{"hello", ":1: this is no topology of a known kind"},
                           Case{"", ":1: this is no topology of a known kind"},
                           Case{"{\"version\": 99}", ": the file is of version 99"}}) {
    const TemporaryFile file(each.text);
    const Outcome outcome = topo(file.path());
    EXPECT_EQ(outcome.status, 1) << each.text << "\n" << outcome.text;
    expect_says(outcome, file.path() + each.says);
  }
}

// On standard error: what is on standard output may be a file for a program.
TEST(ComityTopo, WarnsOfWhatItDidNotUnderstand) {
  const TemporaryFile file(
      "<system version=\"1\">\n<cpu numaid=\"0\" arch=\"x86_64\">\n<slot/>\n<pci busid=\"1:0.0\" "
      "class=\"0x0302\"/>"
      "\n</cpu></system>");
  const std::string warning = file.path() + ":3: <slot> below <cpu> is not known; left out";
  for (const char* line : {"'{0}' topo {1}", "'{0}' topo {1} --format json", "'{0}' topo diff {1} {1}",
                           "'{0}' plan all_reduce --ranks 2 --bytes 1M --topology {1}"}) {
    const std::string command = fmt::format(fmt::runtime(line), COMITY_PROGRAM, file.path());
    const Outcome errors = run_line(command + " 2>&1 >/dev/null");
    EXPECT_EQ(errors.status, 0) << errors.text;
    expect_says(errors, "comity: warning: the file was understood only in part:");
    expect_says(errors, warning);
    EXPECT_EQ(run_line(command + " 2>/dev/null").text.find("warning"), std::string::npos) << command;
  }
  const TemporaryFile whole("<system version=\"1\"><cpu numaid=\"0\" arch=\"x86_64\"/></system>");
  EXPECT_EQ(run_line(fmt::format("'{}' topo {} 2>&1 >/dev/null", COMITY_PROGRAM, whole.path())).text, "");
}

TEST(ComityTopo, SaysWhatIsWrongWithItsArguments) {
  struct Case {
    const char* arguments;
    const char* says;
  };
  for (const Case& each :
       {Case{"/nonexistent/topo.xml", "No such file"}, Case{"absent.json", "No such file"},
        Case{"'2*dgx-h10'", "is dgx-h100 meant?"}, Case{"'2*dgx-h100 via'", "^"},
        Case{"''", "is empty: leave it out for this machine"}, Case{"dgx-h100 --format png", "--format"},
        Case{"dgx-h100 --from png", "--from"}, Case{"dgx-h100 dgx-h100", "dgx-h100"}}) {
    const Outcome outcome = topo(each.arguments);
    EXPECT_EQ(outcome.status, 2) << each.arguments << "\n" << outcome.text;
    expect_says(outcome, each.says);
  }
  EXPECT_EQ(topo("'cpu-1s + cpu-2s' --format hwloc-synthetic").status, 1)
      << "hosts that differ have no such form";
}

TEST(ComityTopo, DiffExitsWithOneAndAListWhereTwoDiffer) {
  const Outcome same = topo("diff dgx-h100 dgx-h100");
  EXPECT_EQ(same.status, 0) << same.text;
  expect_says(same, "no difference");
  const TemporaryFile before(topo("'2*dgx-h100 via rail(8, 50GB/s)' --format json").text);
  const Outcome slower =
      topo(fmt::format("diff {} '2*dgx-h100 via rail(8, 50GB/s) ~ link(h0.nic3, 5GB/s)'", before.path()));
  EXPECT_EQ(slower.status, 1) << slower.text;
  EXPECT_EQ(slower.text, "slower   h0.nic3 - net.switch3: infiniband 5 GB/s, was 50 GB/s\n");
  EXPECT_EQ(topo("diff dgx-h100").status, 2);
  EXPECT_EQ(topo("diff dgx-h100 /nonexistent/b.xml").status, 2);
}

TEST(ComityTopo, WritesWhatHwlocTakes) {
  if (run_line("command -v lstopo-no-graphics").status != 0)
    GTEST_SKIP() << "needs lstopo-no-graphics (hwloc-nox)";
  for (const char* text : {"dgx-h100", "'3*mi250-8'", "cpu-1s"}) {
    const Outcome outcome =
        run_line(fmt::format("lstopo-no-graphics -i \"$('{}' topo {} --format hwloc-synthetic)\" --only "
                             "numanode --of console 2>&1",
                             COMITY_PROGRAM, text));
    EXPECT_EQ(outcome.status, 0) << outcome.text;
    expect_says(outcome, "NUMANode L#0");
  }
}

TEST(ComityTopo, WritesWhatGraphvizTakes) {
  if (run_line("command -v dot").status != 0) GTEST_SKIP() << "needs dot (graphviz)";
  const Outcome outcome =
      run_line(fmt::format("'{}' topo {} --format dot | dot -Tcanon 2>&1", COMITY_PROGRAM, kMixed));
  EXPECT_EQ(outcome.status, 0) << outcome.text;
  expect_says(outcome, "cluster_1");
}

TEST(ComityTopo, KeepsNicsThatHangFromADeviceInNcclsXml) {
  const Outcome back =
      run_line(fmt::format("'{0}' topo ascend-910b-8 --format nccl-xml | '{0}' topo - 2>&1", COMITY_PROGRAM));
  EXPECT_EQ(back.status, 0) << back.text;
  expect_says(back, "1 host, 8 devices, 8 NICs");
}

// A cache folder of the test's own.
class OwnCache {
 public:
  OwnCache() { EXPECT_NE(mkdtemp(folder_.data()), nullptr); }
  ~OwnCache() { std::filesystem::remove_all(folder_); }
  OwnCache(const OwnCache&) = delete;
  OwnCache& operator=(const OwnCache&) = delete;
  const std::string& folder() const { return folder_; }
  Outcome run(const std::string& arguments) const {
    return run_line(fmt::format("XDG_CACHE_HOME={} '{}' topo {} 2>&1", folder_, COMITY_PROGRAM, arguments));
  }

 private:
  std::string folder_ = "/tmp/comity-topo-cache-XXXXXX";
};

TEST(TopoMeasure, ReplacesGuessesAndIsRememberedByTheMachinesStructure) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs 2 cores";
  const OwnCache cache;
  EXPECT_EQ(cache.run("--format json").text.find("\"measured\""), std::string::npos);
  const Outcome measured = cache.run("--measure --format json");
  ASSERT_EQ(measured.status, 0) << measured.text;
  expect_says(measured, "shm h0.numa0 to h0.numa0: ");
  expect_says(measured, "tcp h0.numa0 to h0.numa0: ");
  expect_says(cache.run("--format json"), "\"measured\"");
}

TEST(TopoMeasure, MeasuresRanksOfAJobPairByPair) {
  const OwnCache cache;
  const std::string job = "--measure --nranks 3 --id-file " + cache.folder() + "/id --rank ";
  std::thread first([&] { EXPECT_EQ(cache.run(job + "1").status, 0); });
  std::thread second([&] { EXPECT_EQ(cache.run(job + "2").status, 0); });
  const Outcome outcome = cache.run(job + "0");
  first.join();
  second.join();
  EXPECT_EQ(outcome.status, 0) << outcome.text;
  for (const char* pair :
       {"rank 0 (host 0) to rank 1", "rank 0 (host 0) to rank 2", "rank 1 (host 0) to rank 2"}) {
    expect_says(outcome, std::string("tcp ") + pair);
    expect_says(outcome, std::string("shm ") + pair);
  }
}

TEST(TopoMeasure, OfAJobSaysWhatItNeeds) {
  for (const char* arguments :
       {"--rank 0", "--measure --rank 2 --nranks 2 --id-file x", "--measure --rank 0 --nranks 2"})
    expect_says(topo(arguments), "several hosts are measured with");
}

TEST(TopoMeasure, IsOfThisMachineOnly) {
  const Outcome outcome = topo("--measure dgx-h100");
  EXPECT_EQ(outcome.status, 2) << outcome.text;
  expect_says(outcome, "--measure measures this machine");
}

Outcome plan_on(const std::string& arguments) {
  return run_line(
      fmt::format("'{}' plan all_reduce --bytes 64M --most-ranks 1 {} 2>&1", COMITY_PROGRAM, arguments));
}

TEST(ComityPlan, TakesGroupsAndFiguresFromATopology) {
  const Outcome islands = plan_on(fmt::format("--ranks 24 --topology {}", kMixed));
  EXPECT_EQ(islands.status, 0) << islands.text;
  expect_says(islands, "64.0 GB/s inside a group");  // the narrower of the two vendors' links
  expect_says(islands, "50.0 GB/s across");
  const Outcome pairs = plan_on("--ranks 2 --topology 'dgx-h100 ~ link(h0.gpu0, 10GB/s)'");
  EXPECT_EQ(pairs.status, 0) << pairs.text;
  expect_says(pairs, "10.0 GB/s inside a group");
}

TEST(ComityPlan, RefusesATopologyWithoutAName) {
  const Outcome outcome = plan_on("--ranks 2 --topology ''");
  EXPECT_EQ(outcome.status, 2) << outcome.text;
  expect_says(outcome, "--topology: is empty");
}

TEST(ComityPlan, RefusesMoreRanksThanDevices) {
  const Outcome outcome = plan_on("--ranks 30 --topology '2*dgx-h100'");
  EXPECT_EQ(outcome.status, 2);
  expect_says(outcome, "has 16 devices");
}

// With a sanitizer: see ASAN_OPTIONS in CMakePresets.json.
TEST(ComityDoctor, EndsWellWithADriverThatHasThreadsOfItsOwn) {
  const Outcome outcome =
      run_line(fmt::format("LD_LIBRARY_PATH='{}' '{}' doctor 2>&1", FAKE_DRIVER_FOLDER, COMITY_PROGRAM));
  EXPECT_EQ(outcome.status, 0) << outcome.text;
  expect_says(outcome, FAKE_DRIVER_FOLDER "/libOpenCL.so.1");
}

}  // namespace
