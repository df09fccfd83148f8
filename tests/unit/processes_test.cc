// Ranks as processes that are killed: nothing is left behind, and who lives on hears of it.
#include <gtest/gtest.h>

#include <dirent.h>
#include <fmt/core.h>
#include <signal.h>

#include <chrono>
#include <set>
#include <thread>

#include "comity/comity.h"
#include "tests/collectives/table.h"
#include "tests/support/spawn.h"

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
  std::string hex;
  for (const char c : id.internal) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
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

}  // namespace
}  // namespace comity::test
