// What is promised about fork(): the child holds nothing of its parent's and may start anew; the parent sees
// nothing.
#include <gtest/gtest.h>

#include <cstdio>
#include <ostream>
#include <string>
#include <vector>

#include "comity/comity.h"
#include "tests/support/spawn.h"
#include "tests/support/spawned_rank.h"

namespace comity::test {
namespace {

// TSan ends a process that forks while it has threads and then makes others, and misunderstands locks that
// are held over a fork. ASan's allocator may be locked by a thread that the child has not: what is harmless
// there are ranks that a process without threads forks, and a child that only waits.
#if defined(__SANITIZE_THREAD__)
constexpr bool kMayFork = false, kThreadsMayFork = false;
#elif defined(__SANITIZE_ADDRESS__)
constexpr bool kMayFork = true, kThreadsMayFork = false;
#else
constexpr bool kMayFork = true, kThreadsMayFork = true;
#endif

struct Scenario {
  const char* name;  // of the test
  const char* run;
  const char* transports;
  bool threads_fork = true;  // or what else leaves no room for a sanitizer
};

void PrintTo(const Scenario& scenario, std::ostream* out) {
  *out << scenario.run << " over " << (*scenario.transports == 0 ? "all transports" : scenario.transports);
}

void run(const char* program, const Scenario& scenario) {
  if (!kMayFork || (!kThreadsMayFork && scenario.threads_fork))
    GTEST_SKIP() << "needs a build without sanitizers, which do not live through fork in threads";
  comityUniqueId id;
  ASSERT_EQ(comityGetUniqueId(&id), comitySuccess) << comityGetLastError(nullptr);
  Child worker({program_folder() + program, scenario.run}, {{"COMITY_TRANSPORTS", scenario.transports},
                                                            {"COMITY_INIT_TIMEOUT_MS", "60000"},
                                                            {"FORK_TEST_ID", hex_of(id)}});
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
                    Scenario{"StreamsOfTheParentAreRefusedAndTheChildsOwnWork", "streams", ""},
                    Scenario{"MemoryFromBeforeIsSharedAndMemoryFromAfterIsNot", "memory", "shm"},
                    Scenario{"ChildrenForkedWhileThreadsAreInsideTheLibraryDoNotHang", "storm", ""}),
    name_of);

class Death : public testing::TestWithParam<Scenario> {};

TEST_P(Death, IsKnown) {
  run("death_worker", GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    Scenarios, Death,
    testing::Values(Scenario{"ThoughAForkedChildLives", "fork", ""},
                    Scenario{"ThoughAForkedChildLivesOverTcp", "fork", "tcp"},
                    Scenario{"OfTheRootThoughAForkedChildLives", "fork-root", ""},
                    Scenario{"ThoughAChildHoldsTheConnections", "clone", "", false},
                    Scenario{"ThoughAChildHoldsTheConnectionsOverTcp", "clone", "tcp", false},
                    Scenario{"OfTheRootThoughAChildHoldsThem", "clone-root", "tcp", false},
                    Scenario{"ToAParentBeyondTheNamespace", "elsewhere", ""},
                    Scenario{"FromLeavingInOrder", "departure", "", false},
                    Scenario{"FromTheRootLeavingInOrder", "departure-root", "", false}),
    name_of);

}  // namespace
}  // namespace comity::test
