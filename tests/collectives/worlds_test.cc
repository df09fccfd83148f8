// The table of collectives, with ranks as threads and as processes, over shared memory and over sockets.
//
// COMITY_TEST_FULL=1: every row everywhere. Else: every row on host memory over shared memory, and a seeded
// set that covers all pairs of column values elsewhere and under sanitizers, which also meet fewer worlds.
#include <gtest/gtest.h>

#include <fmt/core.h>

#include <cstdlib>
#include <sstream>
#include <thread>

#include "algorithms/algorithm.h"
#include "tests/collectives/worlds.h"
#include "tests/support/effort.h"
#include "tests/support/spawn.h"
#include "tests/support/spawned_rank.h"
#include "topology/topology.h"

namespace comity::test {
namespace {

struct World {
  uint32_t nranks;
  const char* transports;
  bool sim_device;
  bool every_row;  // in the ordinary run
};

std::string name_of_world(const testing::TestParamInfo<World>& info) {
  std::string transports = info.param.transports;
  if (transports.empty()) transports = "all";
  return fmt::format("p{}_{}_{}", info.param.nranks, transports, info.param.sim_device ? "sim" : "host");
}

TableChoice choice_of(const World& world) {
  TableChoice choice;
  choice.nranks = world.nranks;
  choice.pairwise = kInstrumented || !(full_effort() || world.every_row);
  choice.seed = world.nranks;
  if (world.sim_device) choice.memories = {Memory::kDevice};
  return choice;
}

class Threads : public testing::TestWithParam<World> {};

TEST_P(Threads, GiveExactResultsInEveryRow) {
  const ScopedEnv transports("COMITY_TRANSPORTS", GetParam().transports);
  const TableChoice choice = choice_of(GetParam());
  for (const Report& report : run_threads(choice)) expect_report(report, choice, make_rows(choice).size());
}

class Processes : public testing::TestWithParam<World> {};

TEST_P(Processes, GiveExactResultsInEveryRow) {
  const ScopedEnv transports("COMITY_TRANSPORTS", GetParam().transports);
  run_processes(choice_of(GetParam()), std::vector<std::string>(GetParam().nranks));
}

// Several hosts on this machine: shared memory inside, sockets across, one communicator of both.
class Hosts : public testing::TestWithParam<const char*> {};

TEST_P(Hosts, GiveExactResultsAcrossSharedMemoryAndSockets) {
  const ScopedEnv forced("COMITY_ALGO", GetParam());
  const ScopedEnv exact("COMITY_ACCUMULATE",
                        "fp32");  // the table's averages are exact, parts of them are not
  const bool chosen = std::string_view(GetParam()).empty();
  for (const std::string_view placement : {"aabb", "aaab", "abab", "aabbbcc"}) {
    if (kInstrumented && placement != (chosen && !kThreadSanitized ? "aabbbcc" : "abab")) continue;
    TableChoice choice;
    choice.nranks = static_cast<uint32_t>(placement.size());
    choice.pairwise = kInstrumented || !full_effort();
    choice.seed = placement.size();
    std::vector<std::string> hosts;
    for (const char host : placement) hosts.push_back(fmt::format("host-{}", host));
    run_processes(choice, hosts);
    if (HasFailure()) FAIL() << "on hosts " << placement;
  }
}

INSTANTIATE_TEST_SUITE_P(Several, Hosts,
                         testing::Values("", "all_reduce:hierarchical", "all_reduce:ring",
                                         "all_reduce:double_binary_tree"),
                         [](const auto& each) {
                           const std::string name = each.param;
                           return name.empty() ? std::string("selected") : name.substr(name.find(':') + 1);
                         });

std::vector<World> worlds(bool processes) {
  std::vector<World> all;
  for (const uint32_t p : {1u, 2u, 3u, 4u, 7u, 8u}) {
    if (kInstrumented && p == 7) continue;
    if (kThreadSanitized && processes && p != 2 && p != 4) continue;
    all.push_back({p, "", false, true});
    all.push_back({p, "", true, false});
    all.push_back({p, "tcp", false, !processes && p <= 3});
    all.push_back({p, "tcp", true, false});
  }
  // In a machine that has ports (tests/lab/verbs_guest.py).
  for (const uint32_t p : {2u, 3u, 4u}) {
    if (processes && std::getenv("COMITY_TEST_RDMA") != nullptr) all.push_back({p, "verbs", false, false});
  }
#ifdef COMITY_HAS_UCX
  for (const uint32_t p : {2u, 3u, 4u}) {
    if (kThreadSanitized || (processes != (p == 2) && p != 3)) continue;  // UCX itself is not instrumented
    all.push_back({p, "ucx", false, false});
  }
#endif
  return all;
}

INSTANTIATE_TEST_SUITE_P(Table, Threads, testing::ValuesIn(worlds(false)), name_of_world);
INSTANTIATE_TEST_SUITE_P(Table, Processes, testing::ValuesIn(worlds(true)), name_of_world);

TEST(Table, NoticesAPlantedWrongResult) {
  TableChoice choice;
  choice.nranks = 2;
  choice.collectives = {Collective::kAllReduce};
  const auto rows = make_rows(choice);
  uint64_t tamper = 0;
  while (rows[tamper].row.count == 0) ++tamper;
  for (const Report& report : run_threads(choice, tamper + 1)) {
    EXPECT_EQ(report.wrong_rows, 1u) << report.first_wrong;
    EXPECT_NE(report.first_wrong.find("is wrong"), std::string::npos) << report.first_wrong;
  }
}

// Every algorithm, forced by name, over real transports.
class Forced : public testing::TestWithParam<const algorithms::Algorithm*> {};

TEST_P(Forced, GivesExactResults) {
  const algorithms::Algorithm& algorithm = *GetParam();
  const ScopedEnv exact("COMITY_ACCUMULATE", "fp32");  // as above
  const ScopedEnv forced("COMITY_ALGO",
                         std::string(name_of(algorithm.collective)) + ":" + std::string(algorithm.name));
  for (const char* transports : {"", "tcp"}) {
    const ScopedEnv scoped("COMITY_TRANSPORTS", transports);
    for (const uint32_t nranks : {2u, 3u, 4u, 7u}) {
      auto topology = topology::one_host(nranks);
      topology.inside.direct = *transports == '\0';
      if (!algorithm.applies(topology)) continue;
      if (kInstrumented && (nranks == 2 || nranks == 7)) continue;
      TableChoice choice;
      choice.nranks = nranks;
      choice.pairwise = !full_effort();
      choice.seed = nranks + 100;
      choice.collectives = {algorithm.collective};
      for (const Report& report : run_threads(choice))
        expect_report(report, choice, make_rows(choice).size());
      if (HasFailure()) FAIL() << algorithm.name << " p=" << nranks << " over " << transports;
    }
  }
}

std::vector<const algorithms::Algorithm*> every_algorithm() {
  std::vector<const algorithms::Algorithm*> all;
  for (const auto& algorithm : algorithms::all()) all.push_back(&algorithm);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Algorithms, Forced, testing::ValuesIn(every_algorithm()), [](const auto& each) {
  return std::string(name_of(each.param->collective)) + "_" + std::string(each.param->name);
});

}  // namespace
}  // namespace comity::test

int main(int argc, char** argv) {
  ::setenv("COMITY_DEVICES", "host,sim", 1);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
