// Ranks as processes that are killed: nothing is left behind, and who lives on hears of it.
#include <gtest/gtest.h>

#include <dirent.h>
#include <fmt/core.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <set>
#include <thread>

#include "comity/comity.h"
#include "tests/collectives/table.h"
#include "tests/support/spawn.h"
#include "tests/support/spawned_rank.h"

namespace comity::test {
namespace {

std::set<std::string> names_in(const char* folder) {
  std::set<std::string> names;
  DIR* open = ::opendir(folder);
  if (open == nullptr) return names;
  while (const dirent* entry = ::readdir(open)) names.insert(entry->d_name);
  ::closedir(open);
  return names;
}

std::string to_hex(const comityUniqueId& id) {
  const std::string hex = hex_of(id);
  return hex;
}

// Workers that walk the whole table over and over for far longer than the test.
std::vector<Child> start_workers(const comityUniqueId& id, uint32_t nranks) {
  TableChoice choice;
  choice.nranks = nranks;
  std::vector<Child> children;
  for (uint32_t r = 0; r < nranks; ++r) {
    children.emplace_back(std::vector<std::string>{program_folder() + "comity_collectives_worker",
                                                   std::to_string(r), to_hex(id), encode_choice(choice)});
  }
  return children;
}

// Waits until the process has mapped another's memory: it is past set-up.
bool wait_until_running(pid_t pid, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (std::chrono::steady_clock::now() < deadline) {
    FILE* maps = std::fopen(fmt::format("/proc/{}/maps", pid).c_str(), "r");
    if (maps == nullptr) return false;
    char line[512];
    int arenas = 0;
    while (std::fgets(line, sizeof line, maps) != nullptr)
      arenas += std::string(line).find("memfd:") != std::string::npos;
    std::fclose(maps);
    if (arenas >= 2) return true;
    std::this_thread::yield();
  }
  return false;
}

TEST(Processes, KilledTogetherLeaveNoFileAndNoSegment) {
  const auto shm_before = names_in("/dev/shm"), tmp_before = names_in("/tmp");
  comityUniqueId id;
  ASSERT_EQ(comityGetUniqueId(&id), comitySuccess) << comityGetLastError(nullptr);
  {
    auto children = start_workers(id, 3);
    for (auto& child : children) ASSERT_TRUE(wait_until_running(child.pid(), std::chrono::seconds(20)));
    EXPECT_EQ(names_in("/dev/shm"), shm_before) << "memory has no name even while it is used";
    for (auto& child : children) child.kill(SIGKILL);
    for (auto& child : children) EXPECT_EQ(child.finish(Deadline::after_ms(20'000)).first, 128 + SIGKILL);
  }
  EXPECT_EQ(names_in("/dev/shm"), shm_before);
  for (const std::string& name : names_in("/tmp")) {
    EXPECT_TRUE(tmp_before.count(name) == 1 || name.find("comity") == std::string::npos) << name;
  }
}

TEST(Processes, SurvivorsOfAKilledRankGetAnErrorThatNamesIt) {
  comityUniqueId id;
  ASSERT_EQ(comityGetUniqueId(&id), comitySuccess) << comityGetLastError(nullptr);
  auto children = start_workers(id, 3);
  for (auto& child : children) ASSERT_TRUE(wait_until_running(child.pid(), std::chrono::seconds(20)));
  children[1].kill(SIGKILL);
  for (const size_t survivor : {size_t{0}, size_t{2}}) {
    const auto [status, output] = children[survivor].finish(Deadline::after_ms(30'000));
    EXPECT_EQ(status, 1) << output;
    EXPECT_NE(output.find("rank 1 "), std::string::npos) << output;
  }
}

// A machine's description in a file that is removed afterwards.
class TopologyFile {
 public:
  explicit TopologyFile(const std::string& text) {
    const int fd = ::mkstemp(path_.data());
    EXPECT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    ::close(fd);
  }
  ~TopologyFile() { ::unlink(path_.c_str()); }
  TopologyFile(const TopologyFile&) = delete;
  TopologyFile& operator=(const TopologyFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/topology-test-XXXXXX";
};

std::string host_with_nics(int nics) {
  std::string nodes = R"({"id": "h0", "kind": "host", "host": 0})";
  std::string links;
  for (int i = 0; i < nics; ++i) {
    nodes += fmt::format(
        R"(, {{"id": "n{0}", "kind": "nic", "name": "eth{0}", "host": 0, "bus_id": "0000:0{0}:00.0"}})", i);
    links += fmt::format(
        R"({}{{"from": "h0", "to": "n{}", "kind": "pcie", "bandwidth_bytes_per_s": 1000, "source": "guess"}})",
        i == 0 ? "" : ", ", i);
  }
  return fmt::format(R"({{"version": 1, "nodes": [{}], "links": [{}]}})", nodes, links);
}

// Two ranks with their own descriptions of the machine that they share: exit status and output of each.
std::vector<std::pair<int, std::string>> run_with(const std::string& first, const std::string& second) {
  comityUniqueId id;
  EXPECT_EQ(comityGetUniqueId(&id), comitySuccess) << comityGetLastError(nullptr);
  const TopologyFile files[] = {TopologyFile(first), TopologyFile(second)};
  TableChoice choice;
  choice.nranks = 2;
  choice.pairwise = true;
  std::vector<Child> children;
  for (uint32_t r = 0; r < 2; ++r) {
    children.emplace_back(
        std::vector<std::string>{program_folder() + "comity_collectives_worker", std::to_string(r),
                                 to_hex(id), encode_choice(choice)},
        std::vector<std::pair<std::string, std::string>>{{"COMITY_TOPO_FILE", files[r].path()}});
  }
  std::vector<std::pair<int, std::string>> ends;
  for (Child& child : children) ends.push_back(child.finish(Deadline::after_ms(120'000)));
  return ends;
}

TEST(ProcessesWithDifferentViews, AgreeOnWhatBothSeeAndNameTheRest) {
  const auto ends = run_with(host_with_nics(3), host_with_nics(2));
  for (const auto& [status, output] : ends) EXPECT_EQ(status, 0) << output;
  EXPECT_NE(ends[0].second.find("rank 0 sees nic"), std::string::npos) << ends[0].second;
  EXPECT_NE(ends[0].second.find("0000:02:00.0"), std::string::npos) << ends[0].second;
}

TEST(ProcessesWithDifferentViews, FailTogetherWhereOneIsOfAnotherVersion) {
  std::string newer = host_with_nics(1);
  newer.replace(newer.find("\"version\": 1"), 12, "\"version\": 9");
  for (const auto& [status, output] : run_with(host_with_nics(1), newer)) {
    EXPECT_EQ(status, 1) << output;
    EXPECT_NE(output.find("version 9"), std::string::npos) << output;
  }
}

TEST(ProcessesWithDifferentViews, FailTogetherWhereOneIsGarbage) {
  for (const auto& [status, output] : run_with("no json", host_with_nics(1))) {
    EXPECT_EQ(status, 1) << output;
    EXPECT_NE(output.find("COMITY_TOPO_FILE"), std::string::npos) << output;
  }
}

}  // namespace
}  // namespace comity::test
