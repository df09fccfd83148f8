// The command `comity` as a user runs it: what it prints and how it exits.

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace {

struct Outcome {
  int status = -1;
  std::string text;  // both outputs
};

// Runs `comity ARGUMENTS` in a shell.
Outcome run(const std::string& arguments) {
  const std::string line = fmt::format("{} '{}' {} 2>&1", "env -u COMITY_DEVICES", COMITY_PROGRAM, arguments);
  Outcome outcome;
  FILE* pipe = popen(line.c_str(), "r");
  if (pipe == nullptr) return outcome;
  char buffer[4096];
  for (size_t got = 0; (got = fread(buffer, 1, sizeof buffer, pipe)) > 0;) outcome.text.append(buffer, got);
  const int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

void expect_says(const Outcome& outcome, std::string_view what) {
  EXPECT_NE(outcome.text.find(what), std::string::npos) << "not in the output: " << what << "\n"
                                                        << outcome.text;
}

// A file that is gone at the end of the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content) {
    char name[] = "/tmp/comity-cli-test-XXXXXX";
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

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(ComityPlan, ShowsTheStepsOfTheCheapestPlanAndWhyIt) {
  const Outcome outcome = run("plan all_reduce --ranks 4 --bytes 64K");
  EXPECT_EQ(outcome.status, 0);
  expect_says(outcome, "all_reduce");
  expect_says(outcome, "rank 3");
  expect_says(outcome, "chosen as cheapest");
}

TEST(ComityPlan, ShowsAForcedAlgorithmForEveryCollectiveOnEveryKindOfHosts) {
  expect_says(run("plan all_reduce --ranks 5 --bytes 1M --algorithm ring"), "all_reduce ring, 5 ranks");
  expect_says(run("plan all_reduce --ranks 6 --bytes 1M --hosts 4,2 --algorithm hierarchical"),
              "hierarchical");
  expect_says(run("plan broadcast --ranks 3 --bytes 1G --root 2"), "root 2");
  for (const char* collective : {"reduce", "all_gather", "reduce_scatter", "barrier"}) {
    EXPECT_EQ(run(fmt::format("plan {} --ranks 3 --bytes 8 --hosts 2", collective)).status, 0) << collective;
  }
}

// As COMITY_DETERMINISTIC=1 would choose.
TEST(ComityPlan, ChoosesAmongThoseOfTheSameBitsWhereThatIsAsked) {
  for (const char* bytes : {"8", "64K", "64M"}) {
    const Outcome outcome = run(fmt::format("plan all_reduce --ranks 6 --bytes {} --deterministic", bytes));
    EXPECT_EQ(outcome.status, 0);
    EXPECT_TRUE(outcome.text.find("balanced") != std::string::npos ||
                outcome.text.find("recursive_doubling") != std::string::npos)
        << outcome.text;
  }
  const Outcome wrong = run("plan all_reduce --ranks 6 --bytes 1M --deterministic --algorithm ring");
  EXPECT_EQ(wrong.status, 2);
  expect_says(wrong, "ring");
  expect_says(wrong, "balanced tree");
}

TEST(ComityPlan, ShowsWhatVariantsOfDifferentLengthsGoBy) {
  for (const char* collective :
       {"all_gather_v", "reduce_scatter_v", "all_to_all_v", "gather_v", "scatter_v"}) {
    const Outcome outcome = run(fmt::format("plan {} --ranks 5 --bytes 1M", collective));
    EXPECT_EQ(outcome.status, 0) << collective;
    expect_says(outcome, "of those that serve any lengths");
  }
  EXPECT_EQ(run("plan all_gather_v --ranks 5 --bytes 1M --algorithm ring").status, 0);
  const Outcome wrong = run("plan all_to_all_v --ranks 5 --bytes 1M --algorithm bruck");
  EXPECT_EQ(wrong.status, 2);
  expect_says(wrong, "--algorithm bruck");
  expect_says(run("plan all_gather_v --ranks 2 --bytes 8 --algorithm star"), "all_gather_v has");
}

TEST(ComityPlan, DrawsForGraphviz) {
  const Outcome outcome = run("plan all_reduce --ranks 3 --bytes 1M --algorithm ring --format dot");
  EXPECT_EQ(outcome.status, 0);
  expect_says(outcome, "digraph plan {");
  expect_says(outcome, "cluster_2");
}

TEST(ComityPlan, SaysWhatIsWrongWithItsArguments) {
  struct Case {
    const char* arguments;
    const char* says;
  };
  for (const Case& each :
       {Case{"plan all_reduce --ranks 2 --bytes 8 --algorithm star", "all_reduce has"},
        Case{"plan all_sum --ranks 2 --bytes 8", "there is no collective \"all_sum\""},
        Case{"plan all_reduce --ranks 2 --bytes 8X", "--bytes 8X"},
        Case{"plan all_reduce --ranks 2 --bytes 99999999999T", "--bytes"},
        Case{"plan all_reduce --ranks 2 --bytes 8 --hosts 3", "more than 2 ranks"},
        Case{"plan all_reduce --ranks 2 --bytes 8 --hosts 2,1", "3 ranks in all"},
        Case{"plan all_reduce --ranks 2 --bytes 8 --hosts 1,x", "--hosts"},
        Case{"plan broadcast --ranks 2 --bytes 8 --root 2", "--root 2"},
        Case{"plan all_reduce --ranks 2 --bytes 8 --algorithm hierarchical", "hierarchical"},
        Case{"plan all_reduce --ranks 0 --bytes 8", "--ranks"}, Case{"plan all_reduce --ranks 2", "--bytes"},
        Case{"plan all_reduce --ranks 2 --bytes 8 --format xml", "--format"}, Case{"plan", "collective"},
        Case{"", "subcommand"}, Case{"dance", "subcommand"}}) {
    const Outcome outcome = run(each.arguments);
    EXPECT_EQ(outcome.status, 2) << each.arguments;
    expect_says(outcome, each.says);
  }
}

TEST(ComityVerify, ProvesWhatPlanWrites) {
  for (const char* plan : {"all_reduce --ranks 7 --bytes 1M", "all_gather --ranks 4 --bytes 1K --hosts 2",
                           "barrier --ranks 5 --bytes 0"}) {
    const TemporaryFile file(run(fmt::format("plan {} --format json", plan)).text);
    const Outcome outcome = run(fmt::format("verify {}", file.path()));
    EXPECT_EQ(outcome.status, 0);
    expect_says(outcome, ": proved: ");
    const std::string text = run(fmt::format("plan {}", plan)).text;
    const size_t hash = text.find("hash ");
    ASSERT_NE(hash, std::string::npos) << text;
    expect_says(outcome, text.substr(hash, 21).c_str());
  }
  expect_says(
      run(fmt::format("plan all_reduce --ranks 3 --bytes 8 --format json | '{}' verify -", COMITY_PROGRAM)),
      "-: proved");
}

TEST(ComityVerify, NamesTheViolatedRuleAndTheStep) {
  const std::string good = run("plan all_reduce --ranks 3 --bytes 1M --algorithm ring --format json").text;
  const TemporaryFile racing(replaced(good, "\"after\": [{\"lane\": 0, \"step\": 1}]", "\"after\": []"));
  const Outcome race = run(fmt::format("verify {}", racing.path()));
  EXPECT_EQ(race.status, 1);
  expect_says(race, "refused by rule \"race\"");
  expect_says(race, "parts[0].lanes[0].steps[2]: reduce");
  const TemporaryFile outside(replaced(good, "\"block\": 0", "\"block\": 4000000000"));
  const Outcome bounds = run(fmt::format("verify {}", outside.path()));
  EXPECT_EQ(bounds.status, 1);
  expect_says(bounds, "refused by rule \"bounds\"");
}

TEST(ComityVerify, SaysWhyAFileIsUnreadable) {
  const std::string good = run("plan all_reduce --ranks 3 --bytes 1M --algorithm ring --format json").text;
  const TemporaryFile wrong_peer(replaced(good, "\"peer\": 1", "\"peer\": 9"));
  const Outcome peer = run(fmt::format("verify {}", wrong_peer.path()));
  EXPECT_EQ(peer.status, 2);
  expect_says(peer, "parts[0].lanes[0].steps[0].peer: 9 is not a rank below 3");
  const Outcome absent = run("verify /nonexistent/plan.json");
  EXPECT_EQ(absent.status, 2);
  expect_says(absent, "No such file");
  EXPECT_EQ(run("verify /tmp").status, 2) << "a folder";
  const TemporaryFile garbage(
      "\x7f"
      "ELF");
  EXPECT_EQ(run(fmt::format("verify {}", garbage.path())).status, 2);
  const Outcome endless = run("verify /dev/zero");
  EXPECT_EQ(endless.status, 2);
  expect_says(endless, "most");
}

TEST(ComityDoctor, SaysWhatIsBuiltInAndHowToGetTheRest) {
  const Outcome outcome = run("doctor");
  EXPECT_EQ(outcome.status, 0) << outcome.text;
  for (const char* what : {"shm", "tcp", "host", "kernels for scalar", "hwloc", "libibverbs", "UCX", "CUDA",
                           "sources of the topology", "sysfs", "nvml", "COMITY_ALGO", "COMITY_TIMEOUT",
                           "Nothing needed is missing"}) {
    expect_says(outcome, what);
  }
}

TEST(ComityDoctor, ShowsSettingsThatAreSetAndOnesThatAreMisspelt) {
  setenv("COMITY_TIMEOUT", "17", 1);
  setenv("COMITY_TIMEOUTS", "17", 1);
  const Outcome outcome = run("doctor");
  unsetenv("COMITY_TIMEOUT");
  unsetenv("COMITY_TIMEOUTS");
  expect_says(outcome, "17  (environment)");
  expect_says(
      outcome,
      "COMITY_TIMEOUTS (environment) is set, and is no setting: is it misspelt? Was COMITY_TIMEOUT meant?");
}

TEST(ComityDoctor, FailsWhereSomethingNeededIsMissing) {
  setenv("COMITY_SOCKET_IFNAME", "=no-such-interface", 1);
  const Outcome outcome = run("doctor");
  unsetenv("COMITY_SOCKET_IFNAME");
  EXPECT_EQ(outcome.status, 1);
  expect_says(outcome, "MISSING");
}

TEST(Comity, SaysItsVersionAndItsCommands) {
  EXPECT_EQ(run("--version").status, 0);
  const Outcome help = run("--help");
  EXPECT_EQ(help.status, 0);
  for (const char* command : {"plan", "verify", "doctor"}) expect_says(help, command);
}

TEST(ComityConfig, ShowsEachValueAndWhereItCameFrom) {
  const TemporaryFile file("COMITY_TIMEOUT = 7\nCOMITY_TRANSPORT = tcp\n");
  ASSERT_EQ(setenv("COMITY_CONF_FILE", file.path().c_str(), 1), 0);
  ASSERT_EQ(setenv("COMITY_ARENA_CAP", "64M", 1), 0);
  const Outcome text = run("config");
  const Outcome json = run("config --json 2>/dev/null");
  unsetenv("COMITY_CONF_FILE");
  unsetenv("COMITY_ARENA_CAP");
  EXPECT_EQ(text.status, 0) << text.text;
  expect_says(text, "64M  (environment)");
  expect_says(text, fmt::format("7  ({}:1)", file.path()));
  expect_says(text, "host  (default)");
  expect_says(
      text, fmt::format("COMITY_TRANSPORT ({}:2) is no setting and is ignored (was COMITY_TRANSPORTS meant?)",
                        file.path()));
  EXPECT_EQ(json.status, 0);
  expect_says(json, "\"source\": \"named file\"");
  expect_says(json, "\"nearest\": \"COMITY_TRANSPORTS\"");
}

TEST(ComityConfig, NamesTheLineOfAFileThatItCannotRead) {
  const TemporaryFile file("\nCOMITY_TIMEOUT 7\n");
  ASSERT_EQ(setenv("COMITY_CONF_FILE", file.path().c_str(), 1), 0);
  const Outcome outcome = run("config");
  unsetenv("COMITY_CONF_FILE");
  EXPECT_EQ(outcome.status, 1);
  expect_says(outcome, fmt::format("{}:2: \"COMITY_TIMEOUT 7\" is no line NAME = value", file.path()));
}

TEST(ComityConfig, TheDocumentHoldsTheTableThatIsCompiledIn) {
  const Outcome table = run("config --markdown");
  EXPECT_EQ(table.status, 0);
  ASSERT_GT(table.text.size(), 1000u);
  std::ifstream file(COMITY_SETTINGS_DOCUMENT);
  const std::string document((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  EXPECT_NE(document.find("\n\n" + table.text + "\n"), std::string::npos)
      << "put the output of `comity config --markdown` into docs/settings.md:\n"
      << table.text;
}

}  // namespace
