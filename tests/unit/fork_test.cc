// What is promised about fork(): the child holds nothing of its parent's and may start anew; the parent sees
// nothing.
#include <gtest/gtest.h>

#include <cstdio>
#include <ostream>
#include <string>
#include <vector>

#include "tests/support/spawn.h"

namespace comity::test {
namespace {

// TSan ends a threaded process that forks; ASan's allocator may be locked by a thread that the child has not.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool kMayFork = false;
#else
constexpr bool kMayFork = true;
#endif

struct Scenario {
  const char* name;  // of the test
  const char* run;
  const char* transports;
};

void PrintTo(const Scenario& scenario, std::ostream* out) {
  *out << scenario.run << " over " << (*scenario.transports == 0 ? "all transports" : scenario.transports);
}

void run(const char* program, const Scenario& scenario) {
  if (!kMayFork) GTEST_SKIP() << "needs a build without sanitizers, which do not live through fork in threads";
  Child worker({program_folder() + program, scenario.run},
               {{"COMITY_TRANSPORTS", scenario.transports}, {"COMITY_INIT_TIMEOUT_MS", "60000"}});
  const auto [status, output] = worker.finish(Deadline::after_ms(150'000));
  if (status == 77) GTEST_SKIP() << "needs root, for namespaces of processes";
  EXPECT_EQ(status, 0) << output;
  EXPECT_NE(output.find("right\n"), std::string::npos) << output;
  if (output.find(" knew after ") != std::string::npos) std::printf("%s", output.c_str());
}

std::string name_of(const testing::TestParamInfo<Scenario>& test) {
  return test.param.name;
}

class Fork : public testing::TestWithParam<Scenario> {};

TEST_P(Fork, EndsWell) {
  run("fork_worker", GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    Scenarios, Fork,
    testing::Values(Scenario{"RanksForkedAfterTheIdMeetWhileTheParentOnlyServesIt", "launcher", ""},
                    Scenario{"RanksForkedAfterTheIdMeetOverTcp", "launcher", "tcp"},
                    Scenario{"RanksForkedAfterTheIdMeetTheirParentAsRank0", "launcher-rank", ""},
                    Scenario{"RanksForkedAfterTheIdMeetTheirParentOverTcp", "launcher-rank", "tcp"},
                    Scenario{"RanksOfADoubleForkMeet", "double-fork", ""},
                    Scenario{"AParentsCommunicatorIsRefusedAndUnharmedWhileItWorks", "anew", ""},
                    Scenario{"AParentsCommunicatorIsRefusedAndUnharmedOverTcp", "anew", "tcp"},
                    Scenario{"AGroupThatWasOpenIsRefused", "group", ""},
                    Scenario{"MemoryFromBeforeIsSharedAndMemoryFromAfterIsNot", "memory", "shm"},
                    Scenario{"ChildrenForkedWhileThreadsAreInsideTheLibraryDoNotHang", "storm", ""}),
    name_of);

class Death : public testing::TestWithParam<Scenario> {};

TEST_P(Death, IsKnown) {
  run("death_worker", GetParam());
}

INSTANTIATE_TEST_SUITE_P(Scenarios, Death,
                         testing::Values(Scenario{"ThoughAForkedChildLives", "fork", ""},
                                         Scenario{"ThoughAForkedChildLivesOverTcp", "fork", "tcp"},
                                         Scenario{"OfTheRootThoughAForkedChildLives", "fork-root", ""},
                                         Scenario{"ThoughAChildHoldsTheConnections", "clone", ""},
                                         Scenario{"ThoughAChildHoldsTheConnectionsOverTcp", "clone", "tcp"},
                                         Scenario{"OfTheRootThoughAChildHoldsThem", "clone-root", "tcp"},
                                         Scenario{"ToAParentBeyondTheNamespace", "elsewhere", ""},
                                         Scenario{"FromLeavingInOrder", "departure", ""},
                                         Scenario{"FromTheRootLeavingInOrder", "departure-root", ""}),
                         name_of);

}  // namespace
}  // namespace comity::test
