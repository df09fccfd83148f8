// The perf programs as a user runs them: output, files, exit status, and what is left when ranks die.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "src/base/clock.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

using Arguments = std::vector<std::string>;

Arguments program(const std::string& name, const Arguments& more) {
  Arguments all = {std::string(COMITY_PERF_FOLDER) + "/" + name};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::pair<int, std::string> run(const Arguments& arguments, const std::string& fault = "") {
  return Child(arguments, {{"PERF_WRONG", fault}}).finish(Deadline::after_ms(120'000));
}

std::vector<std::string> data_rows(const std::string& output) {
  std::vector<std::string> rows;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line[0] == ' ') rows.push_back(line);
  }
  return rows;
}

std::vector<std::string> fields(const std::string& row) {
  std::istringstream words(row);
  std::vector<std::string> found;
  for (std::string word; words >> word;) found.push_back(word);
  return found;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(PerfProgram, PrintsTheTableThatAcceptanceScriptsParse) {
  const auto [status, output] =
      run(program("all_reduce_perf", {"-b", "8", "-e", "512", "-f", "8", "-n", "5"}));
  ASSERT_EQ(status, 0) << output;
  EXPECT_TRUE(contains(output, "out-of-place")) << output;
  EXPECT_TRUE(contains(output, "# Out of bounds values : 0 OK\n")) << output;
  EXPECT_TRUE(contains(output, "# Avg bus bandwidth    : ")) << output;
  const std::vector<std::string> rows = data_rows(output);
  ASSERT_EQ(rows.size(), 3u) << output;
  const std::vector<std::string> row = fields(rows[1]);
  ASSERT_EQ(row.size(), 13u) << rows[1];
  EXPECT_EQ(row[0], "64");
  EXPECT_EQ(row[1], "16");
  EXPECT_EQ(row[2], "float");
  EXPECT_EQ(row[3], "sum");
  EXPECT_EQ(row[4], "-1");
  EXPECT_EQ(row[8], "0");
  EXPECT_EQ(row[12], "0");
}

TEST(PerfProgram, WithoutCheckingPrintsNotAvailable) {
  const auto [status, output] = run(program("all_reduce_perf", {"-b", "64", "-e", "64", "-c", "0"}));
  ASSERT_EQ(status, 0) << output;
  const std::vector<std::string> row = fields(data_rows(output).at(0));
  EXPECT_EQ(row.at(8), "N/A");
  EXPECT_EQ(row.at(12), "N/A");
}

TEST(PerfProgram, ThreeRanksAllTypesAndOpsFinishRight) {
  const auto [status, output] = run(program(
      "all_reduce_perf", {"--ranks", "3", "-b", "1000", "-e", "1000", "-n", "2", "-o", "all", "-d", "all"}));
  ASSERT_EQ(status, 0) << output;
  EXPECT_EQ(data_rows(output).size(), 60u);
}

TEST(PerfProgram, SistersMeasureTheirCollectives) {
  const Arguments some = {"--ranks", "3",  "-b", "1000",          "-e", "40000", "-f",
                          "40",      "-n", "3",  "--owner-writes"};
  for (const std::string name : {"reduce", "broadcast", "all_gather", "reduce_scatter", "all_to_all",
                                 "all_to_all_v", "gather", "scatter", "send_recv"}) {
    const auto [status, output] = run(program(name + "_perf", some));
    EXPECT_EQ(status, 0) << name << output;
    EXPECT_EQ(data_rows(output).size(), 2u) << name << output;
    EXPECT_TRUE(contains(output, "# Collective test concluded: " + name + "_perf\n")) << output;
  }
  const auto [status, output] = run(program("barrier_perf", {"--ranks", "3", "-n", "3"}));
  EXPECT_EQ(status, 0) << output;
  EXPECT_EQ(data_rows(output).size(), 1u) << output;
}

TEST(PerfProgram, PingPongIsThereAndBackBetweenTwo) {
  const auto [status, output] =
      run(program("ping_pong_perf", {"--ranks", "2", "-b", "8", "-e", "8", "-n", "20"}));
  EXPECT_EQ(status, 0) << output;
  EXPECT_EQ(data_rows(output).size(), 1u) << output;
  EXPECT_NE(run(program("ping_pong_perf", {"--ranks", "3", "-b", "8", "-e", "8"})).first, 0);
}

TEST(PerfProgram, TakesTheOptionsOfAcceptanceScripts) {
  for (const std::string average : {"0", "1", "2", "3"}) {
    const auto [status, output] =
        run(program("all_reduce_perf", {"-t", "1", "-g", "3", "-p", "1", "-m", "4", "-a", average, "-b", "64",
                                        "-e", "64", "-n", "3"}));
    ASSERT_EQ(status, 0) << output;
    EXPECT_TRUE(contains(output, "# nRanks 3 ")) << output;
    const std::vector<std::string> row = fields(data_rows(output).at(0));
    EXPECT_GT(std::stod(row.at(5)), 0.0) << output;
    EXPECT_EQ(row.at(8), "0") << output;
  }
}

TEST(PerfProgram, EachRootInTurn) {
  for (const std::string name : {"broadcast", "gather", "scatter"}) {
    const auto [status, output] =
        run(program(name + "_perf", {"--ranks", "3", "-b", "3K", "-e", "3K", "-n", "2", "-r", "-1"}));
    ASSERT_EQ(status, 0) << output;
    const std::vector<std::string> rows = data_rows(output);
    ASSERT_EQ(rows.size(), 3u);
    for (size_t root = 0; root < 3; ++root) EXPECT_EQ(fields(rows[root])[4], std::to_string(root));
  }
}

TEST(PerfProgram, ACollectiveThatIsNeverInPlaceLeavesThatHalfEmpty) {
  const std::string path = testing::TempDir() + "perf-half-" + std::to_string(getpid()) + ".json";
  const auto [status, output] =
      run(program("all_to_all_perf", {"--ranks", "2", "-b", "64", "-e", "64", "-n", "2", "-J", path}));
  ASSERT_EQ(status, 0) << output;
  const std::vector<std::string> row = fields(data_rows(output).at(0));
  ASSERT_EQ(row.size(), 13u) << output;
  EXPECT_EQ(row[8], "0");
  for (size_t i = 9; i < 13; ++i) EXPECT_EQ(row[i], "N/A");
  std::ifstream file(path);
  const nlohmann::json json = nlohmann::json::parse(file);
  std::remove(path.c_str());
  EXPECT_TRUE(json["results"][0]["in_place"].is_null());
  EXPECT_EQ(json["average_bus_bandwidth"]["bandwidth"], json["results"][0]["out_of_place"]["bus_bw"]);
}

TEST(PerfProgram, DrawsWhatItPrinted) {
  const std::string path = testing::TempDir() + "perf-" + std::to_string(getpid()) + ".svg";
  const auto [status, output] =
      run(program("all_reduce_perf", {"-b", "8", "-e", "8K", "-f", "8", "-n", "3", "--plot", path}));
  ASSERT_EQ(status, 0) << output;
  std::ifstream file(path);
  const std::string svg((std::istreambuf_iterator<char>(file)), {});
  std::remove(path.c_str());
  EXPECT_EQ(svg.rfind("<svg xmlns=", 0), 0u) << svg;
  EXPECT_TRUE(contains(svg, "all_reduce_perf, 2 ranks")) << svg;
  EXPECT_TRUE(contains(svg, "float sum, in place")) << svg;
  size_t circles = 0;  // 4 sizes, twice, in two panels
  for (size_t at = 0; (at = svg.find("<circle", at)) != std::string::npos; ++at) ++circles;
  EXPECT_EQ(circles, 16u) << svg;
}

TEST(PerfProgram, WritesWhatItPrintedAsJson) {
  const std::string path = testing::TempDir() + "perf-" + std::to_string(getpid()) + ".json";
  const auto [status, output] =
      run(program("all_reduce_perf", {"-b", "8K", "-e", "32K", "-f", "4", "-n", "7", "--owner-writes",
                                      "--buffers", "registered", "--limit", "-J", path}));
  ASSERT_EQ(status, 0) << output;
  std::ifstream file(path);
  const nlohmann::json json = nlohmann::json::parse(file);
  std::remove(path.c_str());
  EXPECT_EQ(json["version"], 1);
  EXPECT_EQ(json["program"], "all_reduce_perf");
  EXPECT_EQ(json["config"]["buffers"], "registered");
  EXPECT_EQ(json["config"]["mode"], "owner-writes");
  EXPECT_EQ(json["out_of_bounds"]["count"], 0);
  ASSERT_EQ(json["results"].size(), 2u);
  const nlohmann::json& row = json["results"][0];
  EXPECT_EQ(row["size"], 8192);
  EXPECT_EQ(row["count"], 2048);
  EXPECT_EQ(row["redop"], "sum");
  for (const char* place : {"out_of_place", "in_place"}) {
    EXPECT_EQ(row[place]["iterations"], 7);
    EXPECT_EQ(row[place]["nwrong"], 0);
    EXPECT_GT(row[place]["alg_bw"], 0.0);
    EXPECT_GT(row[place]["bus_bw"], 0.0);
    EXPECT_GT(row[place]["min_us"], 0.0);
    EXPECT_GE(row[place]["time"], row[place]["min_us"]);
    EXPECT_GE(row[place]["max_us"], row[place]["time"]);
    EXPECT_GT(row[place]["limit_percent"], 0.0);
  }
}

TEST(PerfProgram, TimesEachIterationWhereThatIsAsked) {
  const std::string path = testing::TempDir() + "perf-" + std::to_string(getpid()) + ".json";
  for (const Arguments& ask : {Arguments{"-I", "1"}, {"-I"}, {"-I", "-m", "2"}, {"-I", "--owner-writes"}}) {
    Arguments arguments = {"-b", "8K", "-e", "8K", "-n", "7", "-J", path};
    arguments.insert(arguments.end(), ask.begin(), ask.end());
    const auto [status, output] = run(program("all_reduce_perf", arguments));
    ASSERT_EQ(status, 0) << output;
    EXPECT_TRUE(contains(output, "# iterations (us)  out-of-place: fastest ")) << output;
    EXPECT_TRUE(contains(output, "  in-place: fastest ")) << output;
    std::ifstream file(path);
    const nlohmann::json row = nlohmann::json::parse(file)["results"][0];
    for (const char* place : {"out_of_place", "in_place"}) {
      const auto times = row[place]["iterations_us"].get<std::vector<double>>();
      ASSERT_EQ(times.size(), 7u);
      EXPECT_EQ(*std::min_element(times.begin(), times.end()), row[place]["min_us"]);
      EXPECT_EQ(*std::max_element(times.begin(), times.end()), row[place]["max_us"]);
      EXPECT_GE(row[place]["max_us"], row[place]["time"]);
    }
  }
  std::remove(path.c_str());
  const auto [status, output] = run(program("all_reduce_perf", {"-b", "8K", "-e", "8K", "-I", "0"}));
  EXPECT_EQ(status, 0) << output;
  EXPECT_FALSE(contains(output, "iterations (us)")) << output;
}

TEST(PerfProgram, RefusesACommandLineThatMakesNoSense) {
  const std::vector<Arguments> wrong = {{"--what"},
                                        {"-b", "12x"},
                                        {"-b", "8M", "-e", "4M"},
                                        {"-f", "0"},
                                        {"-n", "0"},
                                        {"-o", "xor"},
                                        {"-d", "float128"},
                                        {"--ranks", "100000"},
                                        {"-t", "1000", "-g", "1000"},
                                        {"-g", "2", "--ranks", "2"},
                                        {"-a", "4"},
                                        {"-I", "2"},
                                        {"-m", "0"},
                                        {"-m", "2", "--owner-writes"},
                                        {"-a", "1", "--owner-writes"},
                                        {"--buffers", "borrowed"},
                                        {"-r", "2", "--ranks", "2"},
                                        {"--rank", "0"},
                                        {"--rank", "1", "--nranks", "2"},
                                        {"--id", "00"},
                                        {"--ranks", "2", "--rank", "0", "--nranks", "2"}};
  for (const Arguments& arguments : wrong) {
    const auto [status, output] = run(program("all_reduce_perf", arguments));
    EXPECT_EQ(status, 2) << arguments.front() << "\n" << output;
    EXPECT_FALSE(output.empty());
  }
  const auto [status, output] = run(program("all_reduce_perf", {"--help"}));
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(contains(output, "--owner-writes")) << output;
}

TEST(PerfProgram, AFileThatCannotBeWrittenIsAFailure) {
  const auto [status, output] =
      run(program("all_reduce_perf", {"-b", "8", "-e", "8", "-J", "/no/such/folder/x.json"}));
  EXPECT_EQ(status, 1);
  EXPECT_TRUE(contains(output, "/no/such/folder/x.json")) << output;
}

class WrongAllReduce : public testing::TestWithParam<const char*> {};

TEST_P(WrongAllReduce, IsCountedAndFailsTheProgram) {
  for (const std::string mode : {"", "--owner-writes"}) {
    Arguments arguments = {program_folder() + "perf_wrong", "-b", "4K", "-e", "4K", "-n", "5", "-c", "3"};
    if (!mode.empty()) arguments.push_back(mode);
    const auto [status, output] = run(arguments, GetParam());
    EXPECT_EQ(status, 1) << output;
    EXPECT_TRUE(contains(output, " FAILED\n")) << output;
    const std::vector<std::string> rows = data_rows(output);
    ASSERT_EQ(rows.size(), 1u) << output;
    EXPECT_NE(fields(rows[0]).at(8), "0") << output;
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, WrongAllReduce, testing::Values("bit", "stale", "guard", "input"),
                         [](const auto& param) { return std::string(param.param); });

TEST(WrongAllReduce, WithoutItsFaultIsRight) {
  const auto [status, output] = run({program_folder() + "perf_wrong", "-b", "4K", "-e", "4K", "-n", "5"});
  EXPECT_EQ(status, 0) << output;
}

TEST(PerfProgram, RanksStartedFromOutsideMeetByBoardOrByIdFile) {
  for (const std::string how : {"--board", "--id-file"}) {
    const std::string path = testing::TempDir() + "perf-meet-" + std::to_string(getpid());
    std::remove(path.c_str());
    const Arguments common = {"--nranks", "2", how, path, "-b", "4K", "-e", "4K", "-n", "3"};
    std::vector<Child> ranks;
    for (const char* rank : {"0", "1"}) {
      Arguments mine = program("all_reduce_perf", common);
      mine.insert(mine.end(), {"--rank", rank});
      ranks.emplace_back(mine);
    }
    for (Child& child : ranks) {
      const auto [status, output] = child.finish(Deadline::after_ms(60'000));
      EXPECT_EQ(status, 0) << how << output;
    }
    std::remove(path.c_str());
  }
}

std::vector<pid_t> children_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children");
  std::vector<pid_t> found;
  for (pid_t child; file >> child;) found.push_back(child);
  return found;
}

// Gone, or dead and not yet reaped.
bool gone(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(file, text)) return true;
  return text.substr(text.rfind(')') + 2, 1) == "Z";
}

template <typename Condition>
bool becomes_true(Condition condition) {
  const Deadline deadline = Deadline::after_ms(30'000);
  while (!condition()) {
    if (deadline.passed()) return false;
    std::this_thread::yield();
  }
  return true;
}

// A run that would take hours, with both of its ranks alive.
class LongRun : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(becomes_true([&] {
      ranks_ = children_of(parent_.pid());
      return ranks_.size() == 2;
    }));
  }
  Child parent_{program("all_reduce_perf", {"--ranks", "2", "-b", "1M", "-e", "1M", "-n", "100000000"})};
  std::vector<pid_t> ranks_;
};

TEST_F(LongRun, EndsWithTheFirstRankThatIsKilled) {
  kill(ranks_[1], SIGKILL);
  const auto [status, output] = parent_.finish(Deadline::after_ms(60'000));
  EXPECT_GT(status, 0) << output;
  EXPECT_TRUE(contains(output, "killed by signal") || contains(output, "all_reduce_perf: ")) << output;
  EXPECT_TRUE(becomes_true([&] { return gone(ranks_[0]) && gone(ranks_[1]); }));
}

TEST_F(LongRun, LeavesNoRankBehindWhenItIsKilled) {
  parent_.kill(SIGKILL);
  EXPECT_TRUE(becomes_true([&] { return gone(ranks_[0]) && gone(ranks_[1]); }));
}

}  // namespace
}  // namespace comity::test
