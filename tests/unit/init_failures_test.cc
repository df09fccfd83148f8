// A rank, a pair or a host that fails while ranks begin: all hear one cause, in the same words, long before
// COMITY_INIT_TIMEOUT_MS.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "src/base/clock.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

constexpr uint64_t kInitTimeoutMs = 300'000;
// Ten times the ten seconds that a silent host may take; well below the time for which init would wait.
constexpr uint64_t kWithinMs = 100'000;

struct TemporaryFolder {
  TemporaryFolder() {
    char name[] = "/tmp/comity-init-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~TemporaryFolder() { std::system(("rm -rf " + path).c_str()); }
  std::string path;
};

// Ranks of one communicator, as processes.
class Ranks {
 public:
  void start(uint32_t rank, uint32_t nranks, const std::string& trouble = "",
             const std::string& name_space = "") {
    std::vector<std::string> command;
    if (!name_space.empty()) command = {"/bin/ip", "netns", "exec", name_space};
    command.insert(command.end(), {program_folder() + "init_worker", std::to_string(rank),
                                   std::to_string(nranks), folder_.path + "/id"});
    if (!trouble.empty()) command.push_back(trouble);
    children_.emplace_back(command, std::vector<std::pair<std::string, std::string>>{
                                        {"COMITY_INIT_TIMEOUT_MS", std::to_string(kInitTimeoutMs)},
                                        {"COMITY_LOG", "error"},
                                        // A search for leaks takes a thread, which some ranks may not have.
                                        {"ASAN_OPTIONS", "detect_leaks=0"}});
  }
  // What each said of its init, but for "comityCommInitRank, rank R of N: ", which is its own.
  std::vector<std::string> heard() {
    std::vector<std::string> all;
    const Deadline deadline = Deadline::after_ms(kWithinMs);
    for (Child& child : children_) {
      const std::string output = child.finish(deadline).second;
      const size_t at =
          output.find("\ninit ") == std::string::npos ? output.find("init ") : output.find("\ninit ") + 1;
      std::string line =
          at == std::string::npos ? "(nothing) " + output : output.substr(at, output.find('\n', at) - at);
      const size_t own = line.find(": ");
      all.push_back(line.find("init comityCommInitRank, rank ") == 0 ? line.substr(own + 2) : line);
    }
    return all;
  }

 private:
  TemporaryFolder folder_;
  std::vector<Child> children_;
};

void expect_all_alike(const std::vector<std::string>& heard, const std::string& part) {
  for (const std::string& one : heard) {
    EXPECT_EQ(one, heard.front());
    EXPECT_NE(one.find(part), std::string::npos) << one << "\ndoes not say: " << part;
  }
}

TEST(InitFailures, ARankThatGetsNoThreadIsNamedToAllAtOnce) {
  Ranks ranks;
  for (uint32_t rank = 0; rank < 4; ++rank) ranks.start(rank, 4, rank == 2 ? "no-threads" : "");
  expect_all_alike(ranks.heard(), "rank 2 ");
}

TEST(InitFailures, ARankThatGetsNoMemoryFileUsesSockets) {
  for (const uint32_t refused : {0u, 1u, 3u}) {
    Ranks ranks;
    for (uint32_t rank = 0; rank < 4; ++rank) ranks.start(rank, 4, rank == refused ? "no-memfd" : "");
    expect_all_alike(ranks.heard(), "init ok");
  }
}

TEST(InitOfManyRanks, NoneMapsMoreRegionsThanItsOwnAndTheOneOfItsHost) {
  Ranks ranks;
  for (uint32_t rank = 0; rank < 12; ++rank) ranks.start(rank, 12, "count-boards");
  const auto heard = ranks.heard();
  EXPECT_EQ(heard[0], "init ok, 1 regions");
  for (size_t rank = 1; rank < heard.size(); ++rank) EXPECT_EQ(heard[rank], "init ok, 2 regions") << rank;
}

TEST(InitFailures, ASettingThatOneRankCannotReadIsNamedToAllAtOnce) {
  Ranks ranks;
  for (uint32_t rank = 0; rank < 3; ++rank) {
    const ScopedEnv odd("COMITY_TIMEOUT", rank == 1 ? "soon" : "0");
    ranks.start(rank, 3);
  }
  expect_all_alike(ranks.heard(), "rank 1 could not set up: ");
}

TEST(InitFailures, ARankThatComesWhenTheMeetingsProcessIsAboutToExitHearsTheCause) {
  Ranks ranks;
  for (uint32_t rank = 0; rank < 3; ++rank) {
    const ScopedEnv odd("COMITY_TIMEOUT", rank == 1 ? "soon" : "0");
    ranks.start(rank, 3, rank == 2 ? "late" : "");
  }
  expect_all_alike(ranks.heard(), "rank 1 could not set up: ");
}

// The meeting's process waits for late ranks where something failed; not where its user aborts.
TEST(InitFailures, AnAbortByTheMeetingsProcessDelaysItsExitByNothing) {
  const uint64_t begun_ns = now_ns();
  Ranks ranks;
  ranks.start(0, 3, "aborts");
  expect_all_alike(ranks.heard(), "rank 0");
  EXPECT_LT(now_ns() - begun_ns, 3'000'000'000u);  // else 5 s
}

// Hosts as network namespaces at one switch, 10.78.0.1 and on, named by this process and removed at the end.
class Hosts {
 public:
  explicit Hosts(int count) : count_(count) {
    ok_ = sh("ip netns add {0} && ip -n {0} link add br0 type bridge && ip -n {0} link set br0 up", name(-1));
    for (int host = 0; host < count && ok_; ++host) {
      ok_ =
          sh("ip netns add {0} && ip -n {0} link set lo up && "
             "ip -n {0} link add eth0 type veth peer name port{2} netns {1} && "
             "ip -n {1} link set port{2} master br0 up && "
             "ip -n {0} addr add 10.78.0.{3}/24 dev eth0 && ip -n {0} link set eth0 up",
             name(host), name(-1), host, host + 1);
    }
  }
  ~Hosts() {
    for (int host = -1; host < count_; ++host) (void)sh("ip netns del {}", name(host));
  }
  bool ok() const { return ok_; }
  std::string name(int host) const {
    return fmt::format("comity-init-{}-{}", ::getpid(), host < 0 ? "switch" : std::to_string(host));
  }
  // Nothing that `from` sends to `to` arrives any more: it goes to a card that is not there.
  bool black_hole(int from, int to) {
    return sh("ip -n {} neigh replace 10.78.0.{} lladdr 02:00:00:00:00:99 dev eth0 nud permanent", name(from),
              to + 1);
  }
  bool unplug(int host) { return sh("ip -n {} link set port{} down", name(-1), host); }
  // Whether a connection stands there in two looks in a row.
  bool connected(int host) {
    const std::string look = fmt::format("ip netns exec {} ss -Htn state established", name(host));
    const std::string first = output_of(look);
    ::poll(nullptr, 0, 50);
    return !first.empty() && output_of(look) == first;
  }

 private:
  template <typename... Arguments>
  static bool sh(const char* command, const Arguments&... arguments) {
    const std::string text = fmt::format(fmt::runtime(command), arguments...);
    return std::system(("(" + text + ") >/dev/null 2>&1").c_str()) == 0;
  }
  static std::string output_of(const std::string& command) {
    Child child({"/bin/sh", "-c", command + " | awk '{print $3, $4}' | sort"});
    return child.finish(Deadline::after_ms(10'000)).second;
  }
  int count_;
  bool ok_ = false;
};

TEST(InitFailures, APairThatCannotReachEachOtherIsNamedToAllInTheSameWords) {
  Hosts hosts(3);
  if (!hosts.ok()) GTEST_SKIP() << "needs root and network namespaces";
  ASSERT_TRUE(hosts.black_hole(1, 2) && hosts.black_hole(2, 1));
  Ranks ranks;
  for (uint32_t rank = 0; rank < 3; ++rank) ranks.start(rank, 3, "", hosts.name(static_cast<int>(rank)));
  const auto heard = ranks.heard();
  expect_all_alike(heard, "rank 2");
  expect_all_alike(heard, "rank 1");
  expect_all_alike(heard, "10.78.0.2");
}

TEST(InitFailures, AHostThatFallsSilentIsCalledSilentAndNotDead) {
  Hosts hosts(3);
  if (!hosts.ok()) GTEST_SKIP() << "needs root and network namespaces";
  Ranks ranks;
  // Rank 3 never comes: the others wait for it.
  for (uint32_t rank = 0; rank < 3; ++rank) ranks.start(rank, 4, "", hosts.name(static_cast<int>(rank)));
  const Deadline deadline = Deadline::after_ms(kWithinMs);
  while (!hosts.connected(2) && !deadline.passed()) {
  }
  ASSERT_TRUE(hosts.unplug(2));
  const auto heard = ranks.heard();
  expect_all_alike({heard[0], heard[1]}, "rank 2 does not answer");
}

}  // namespace
}  // namespace comity::test
