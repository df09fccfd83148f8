// Ranks as processes: meeting, deaths of every kind, orderly ends, and how many sockets a rank holds.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "src/control/tree_shape.h"
#include "tests/support/control_process.h"
#include "tests/support/control_ranks.h"

namespace comity::control {
namespace {

using testing::ControlProcess;
using testing::eventually;

using Processes = std::vector<std::unique_ptr<ControlProcess>>;

// `nranks` processes that joined, the meeting point being in the test's own process.
Processes start_all(uint32_t nranks) {
  const auto id = create_unique_id();
  EXPECT_TRUE(id.ok()) << id.status().message();
  Processes processes;
  for (uint32_t rank = 0; rank < nranks; ++rank) {
    processes.push_back(std::make_unique<ControlProcess>(*id, rank, nranks));
  }
  for (const auto& process : processes) EXPECT_EQ(process->hear(), "joined");
  return processes;
}

// Every process but those in `gone` says `expected`; all are asked before the first is heard.
void expect_all(const Processes& processes, const std::vector<uint32_t>& gone, const std::string& command,
                const std::string& expected) {
  const auto is_gone = [&](uint32_t rank) { return std::find(gone.begin(), gone.end(), rank) != gone.end(); };
  for (uint32_t rank = 0; rank < processes.size(); ++rank) {
    if (!is_gone(rank)) processes[rank]->tell(command);
  }
  for (uint32_t rank = 0; rank < processes.size(); ++rank) {
    if (is_gone(rank)) continue;
    EXPECT_EQ(processes[rank]->hear(), expected) << "rank " << rank;
  }
}

TEST(ControlProcesses, MeetGatherAndEndInOrder) {
  const Processes processes = start_all(7);
  for (uint32_t rank = 0; rank < 7; ++rank) processes[rank]->tell("gather r" + std::to_string(rank));
  for (const auto& process : processes) EXPECT_EQ(process->hear(), "gathered r0,r1,r2,r3,r4,r5,r6");
  expect_all(processes, {}, "leave", "left");
}

TEST(ControlProcesses, ARankHoldsAtMostFanOutPlusOneSocketsAfterJoining) {
  constexpr uint32_t kRanks = 18;  // rank 1 has all its eight children, and rank 2 one
  const Processes processes = start_all(kRanks);
  for (uint32_t rank = 0; rank < kRanks; ++rank) {
    const uint32_t expected = child_count_of(rank, kRanks) + (rank == 0 ? 0 : 1);
    EXPECT_LE(expected, kFanOut + 1);
    std::string held;
    // Closing a visit's socket takes a round trip.
    EXPECT_TRUE(eventually([&] {
      return (held = processes[rank]->ask("sockets")) == std::to_string(expected);
    })) << "rank "
        << rank << " holds " << held << ", not " << expected;
  }
}

struct Death {
  const char* how;
  uint32_t rank;
};
class ControlDeath : public ::testing::TestWithParam<Death> {};
INSTANTIATE_TEST_SUITE_P(Ranks, ControlDeath,
                         ::testing::Values(Death{"kill", 0}, Death{"kill", 1}, Death{"kill", 10},
                                           Death{"exit", 1}, Death{"exit", 10}));

TEST_P(ControlDeath, IsNamedToAllOthersWithinASecond) {
  const Death death = GetParam();
  const Processes processes = start_all(11);  // ranks 9 and 10 are below rank 1
  const uint64_t start_ns = now_ns();
  if (std::string(death.how) == "kill") {
    processes[death.rank]->signal(SIGKILL);
  } else {
    processes[death.rank]->tell("exit 0");
  }
  // The kernel here may take long to tear a killed process down: the clock starts when its sockets are
  // closed.
  const std::string sentence =
      "rank " + std::to_string(death.rank) + " died or was killed (its control connection closed)";
  expect_all(processes, {death.rank}, "verdict 5000", "verdict 6 " + sentence);
  EXPECT_LT(now_ns() - start_ns, 3'000'000'000u);
}

TEST(ControlProcesses, EndingAfterAnOrderlyLeaveBringsNoVerdict) {
  const Processes processes = start_all(11);
  for (const uint32_t rank : {0u, 1u, 5u, 10u}) {
    EXPECT_EQ(processes[rank]->ask("leave"), "left");
    processes[rank]->tell("exit 0");
    EXPECT_EQ(processes[rank]->wait_end(), 0);
  }
  expect_all(processes, {0, 1, 5, 10}, "verdict 200", "none");
  // What still stands still works: a death beside the gaps is noticed by its neighbours, and only by them.
  expect_all(processes, {0, 1, 5, 10}, "leave", "left");
}

TEST(ControlProcesses, EndingWithoutACallToLeaveWhileOthersWorkIsADeath) {
  const Processes processes = start_all(3);
  processes[2]->tell("exit 0");
  expect_all(processes, {2}, "gather x",
             "failed 6 rank 2 died or was killed (its control connection closed)");
}

TEST(ControlProcesses, MismatchedCallsAreNamedWithinASecond) {
  const Processes processes = start_all(4);
  for (uint32_t rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(processes[rank]->ask(rank == 2 ? "call 1 9" : "call 1 8"), "ok");
  }
  expect_all(
      processes, {}, "wait 1 1000",
      "verdict 5 ranks disagree on collective 1: rank 0 called all_reduce of 8 float32 (sum), rank 2 called "
      "all_reduce of 9 float32 (sum)");
}

TEST(ControlProcesses, AStoppedRankKeepsNoVerdictFromTheOthers) {
  const Processes processes = start_all(4);
  for (uint32_t rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(processes[rank]->ask(rank == 2 ? "call 1 9" : "call 1 8"), "ok");
  }
  processes[1]->stop();
  for (const uint32_t rank : {0u, 2u, 3u}) processes[rank]->tell("wait 1 1000");
  for (const uint32_t rank : {0u, 2u, 3u}) {
    EXPECT_EQ(processes[rank]->hear().find("verdict 5 ranks disagree on collective 1"), 0u);
  }
  processes[1]->signal(SIGCONT);
  EXPECT_EQ(processes[1]->ask("verdict 5000").find("verdict 5 "), 0u);
}

// Whether ranks 0 and 2 of 4 named the death of rank 1, killed `age_ms` after its start.
bool death_in_mid_join_is_named(uint64_t age_ms) {
  const auto id = create_unique_id();
  EXPECT_TRUE(id.ok());
  ControlProcess first(*id, 0, 4, 5000);
  ControlProcess victim(*id, 1, 4);
  ControlProcess second(*id, 2, 4, 5000);
  EXPECT_EQ(victim.hear(age_ms), "(none)");
  victim.signal(SIGKILL);
  const std::string why = first.hear();
  EXPECT_EQ(second.hear(), why);
  if (why == "failed 6 rank 1 died or was killed (its control connection closed)") return true;
  EXPECT_EQ(why.find("failed 8 "), 0u) << why;  // killed before it stood in the tree: then it is missing
  return false;
}

TEST(ControlProcesses, ADeathWhileOthersStillJoinFailsThemAndIsNamed) {
  // A rank that does not answer yet cannot say that it stands in the tree: on a busy machine it gets more
  // time.
  EXPECT_TRUE(death_in_mid_join_is_named(100) || death_in_mid_join_is_named(1000) ||
              death_in_mid_join_is_named(3000));
}

TEST(ControlProcesses, ACreatorThatDiesFailsTheJoinOfTheRest) {
  ControlProcess creator("create", 0, 3);
  const UniqueId id = testing::id_from_hex(creator.hear());
  ControlProcess early(id, 1, 3);
  EXPECT_EQ(early.hear(100), "(none)");
  creator.signal(SIGKILL);
  EXPECT_EQ(early.hear().find("failed 6 "), 0u);
  ControlProcess late(id, 2, 3);
  const std::string why = late.hear();
  EXPECT_EQ(why.find("failed 6 rank 2 found no meeting point at "), 0u) << why;
}

}  // namespace
}  // namespace comity::control
