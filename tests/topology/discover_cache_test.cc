// The cache of discovery: used while the hardware stays, and never in the way.

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "tests/topology/discover_fixture.h"
#include "src/base/own_file.h"

namespace comity::topology {
namespace {

class DiscoverCache : public ::testing::Test {
 protected:
  void SetUp() override {
    write_gpu_machine(system_);
    options_ = system_.options();
    options_.cache = true;
    options_.cache_folder = system_.path("cache/deep");
    file_ = options_.cache_folder + "/topology-11111111-2222-3333-4444-555555555555.json";
  }
  Discovered find() {
    auto result = discover(options_);
    EXPECT_TRUE(result.ok()) << result.status().message();
    return result.ok() ? *result : Discovered{};
  }
  std::string text() const {
    std::ostringstream all;
    all << std::ifstream(file_).rdbuf();
    return all.str();
  }
  FakeSystem system_;
  DiscoverOptions options_;
  std::string file_;
};

TEST_F(DiscoverCache, GivesTheSameGraphTheSecondTime) {
  const Discovered first = find(), second = find();
  EXPECT_FALSE(first.from_cache);
  EXPECT_TRUE(second.from_cache);
  EXPECT_EQ(first.graph, second.graph);
  EXPECT_EQ(first.findings.front(), second.findings.front());
}

TEST_F(DiscoverCache, IsForItsUserAlone) {
  find();
  struct stat status {};
  ASSERT_EQ(::stat(file_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  size_t files = 0;
  for ([[maybe_unused]] const auto& each : std::filesystem::directory_iterator(options_.cache_folder))
    ++files;
  EXPECT_EQ(files, 1u) << "a temporary file stays";
}

TEST_F(DiscoverCache, NewHardwareIsSeen) {
  find();
  system_.netdev("eth7", "", 1'000);
  const Discovered second = find();
  EXPECT_FALSE(second.from_cache);
  EXPECT_EQ(second.graph.nodes_of(NodeKind::kNic).size(), 4u);
  EXPECT_TRUE(find().from_cache);
}

TEST_F(DiscoverCache, ARefreshLooksAgain) {
  find();
  options_.refresh = true;
  EXPECT_FALSE(find().from_cache);
  options_.refresh = false;
  EXPECT_TRUE(find().from_cache);
}

TEST_F(DiscoverCache, AChangedSpeedIsSeen) {
  system_.netdev("eth7", "", 1'000);
  find();
  system_.write("sys/devices/virtual/net/eth7/speed", "25000\n");
  EXPECT_FALSE(find().from_cache);
}

TEST_F(DiscoverCache, AnotherBootDiscoversAnew) {
  find();
  system_.write("proc/sys/kernel/random/boot_id", "99999999-2222-3333-4444-555555555555\n");
  EXPECT_FALSE(find().from_cache);
}

TEST_F(DiscoverCache, ADamagedFileIsReplaced) {
  const Discovered first = find();
  const std::string good = text();
  std::string flipped = good;
  flipped[flipped.find("0000:83:00.0")] = '1';
  std::string older = good;
  older.replace(older.rfind("\"version\": 2"), 12, "\"version\": 0");
  for (const std::string& bad : {std::string(), std::string("{"), good.substr(0, good.size() / 2), flipped,
                                 older, std::string("[1, 2]"), std::string(1000, '\0')}) {
    std::ofstream(file_) << bad;
    const Discovered again = find();
    EXPECT_FALSE(again.from_cache) << bad.substr(0, 60);
    EXPECT_EQ(again.graph, first.graph);
    EXPECT_EQ(text(), good);
  }
}

TEST_F(DiscoverCache, AFolderThatCannotBeWrittenIsOneLine) {
  system_.write("cache", "a file where the folder should be");
  const Discovered found = find();
  EXPECT_EQ(found.graph.nodes_of(NodeKind::kDevice).size(), 2u);
  ASSERT_EQ(found.findings.back().source, "cache");
  EXPECT_FALSE(found.findings.back().ok);
  EXPECT_NE(found.findings.back().text.find("cannot"), std::string::npos) << found.findings.back().text;
}

// A limit on the size of files stands for a full disk: the file can be made, and not be written.
TEST_F(DiscoverCache, ADiskThatTakesNoMoreIsOneLine) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 100;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &none), 0);
  const Discovered found = find();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(found.graph.nodes_of(NodeKind::kDevice).size(), 2u);
  EXPECT_FALSE(found.findings.back().ok);
  EXPECT_NE(found.findings.back().text.find("cannot write"), std::string::npos) << found.findings.back().text;
  EXPECT_TRUE(std::filesystem::is_empty(options_.cache_folder)) << "half a file stays";
}

TEST_F(DiscoverCache, ASlowSourceIsAskedAgain) {
  options_.libraries["nvml"] = FAKE_NVML_HANGS;
  options_.source_deadline_ms = 500;
  find();
  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST(CacheFolder, IsNotMadeForAHomeThatIsNotThere) {
  const FakeSystem system;
  const std::string home = system.path("gone");
  const char* const before = std::getenv("HOME");
  const std::string kept = before == nullptr ? "" : before;
  ::unsetenv("XDG_CACHE_HOME");
  ::setenv("HOME", home.c_str(), 1);
  const auto folder = cache_folder("");
  before == nullptr ? ::unsetenv("HOME") : ::setenv("HOME", kept.c_str(), 1);
  ASSERT_FALSE(folder.ok());
  EXPECT_NE(folder.status().message().find(home), std::string_view::npos) << folder.status().message();
  EXPECT_FALSE(std::filesystem::exists(home));
}

}  // namespace
}  // namespace comity::topology
