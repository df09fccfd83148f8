// Splits of a communicator whose ranks are processes, on one host or on two: who is with whom, splits of
// splits, and members that are killed or stopped before, during and after a split.
#include <gtest/gtest.h>
#include <signal.h>

#include <string>
#include <vector>

#include "tests/support/rank_processes.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

struct Where {
  const char* name;
  const char* hosts;  // of the five ranks
  const char* transports;
};

class SplitProcesses : public testing::TestWithParam<Where> {
 protected:
  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam().transports};
  RankProcesses ranks_{hosts_of(GetParam().hosts)};

  // Every rank splits communicator `from` by its own color and key, and says what it got.
  void split(size_t from, const std::vector<int>& colors, const std::vector<int>& keys,
             const std::vector<std::string>& got) {
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      ranks_[rank].tell("split " + std::to_string(from) + " " + std::to_string(colors[rank]) + " " +
                        std::to_string(keys[rank]));
    }
    EXPECT_EQ(ranks_.hear_all(), got);
  }
  // Calls of all kinds on a communicator of those ranks.
  void use(size_t number, const std::vector<size_t>& but = {}) {
    const std::string call = "call " + std::to_string(number);
    for (const char* kind : {" all_reduce 9", " broadcast 5000 0", " gather 3 0", " all_to_all 700",
                             " all_reduce 70001", " barrier"})
      ranks_.expect_all(call + kind, "right", but);
  }
};

TEST_P(SplitProcesses, OddAndEvenRanksInTheOrderOfTheirKeys) {
  // The odd ones backwards; equal keys keep their order.
  split(0, {0, 1, 0, 1, 0}, {5, 9, 5, 2, 1}, {"ok 1 1 3", "ok 1 1 2", "ok 1 2 3", "ok 1 0 2", "ok 1 0 3"});
  use(1);
  use(0);
  ranks_.expect_all("finalize 1", "ok");
  ranks_.expect_all("destroy 1", "ok");
  use(0);
  ranks_.expect_all("finalize 0", "ok");
}

TEST_P(SplitProcesses, WithoutAColorThereIsNoCommunicator) {
  split(0, {-1, 3, -1, 3, 3}, {0, 0, 0, 0, 0}, {"ok none", "ok 1 0 3", "ok none", "ok 1 1 3", "ok 1 2 3"});
  use(1, {0, 2});
  split(0, {-1, -1, -1, -1, -1}, {0, 0, 0, 0, 0}, std::vector<std::string>(5, "ok none"));
  use(0);
}

TEST_P(SplitProcesses, OfASplitOutliveWhatTheyCameFrom) {
  split(0, {0, 0, 0, 0, 1}, {0, 0, 0, 0, 0}, {"ok 1 0 4", "ok 1 1 4", "ok 1 2 4", "ok 1 3 4", "ok 1 0 1"});
  split(1, {0, 1, 0, 1, 7}, {1, 0, 0, 1, 0}, {"ok 2 1 2", "ok 2 0 2", "ok 2 0 2", "ok 2 1 2", "ok 2 0 1"});
  ranks_.expect_all("destroy 0", "ok");
  use(2);
  use(1);
  ranks_.expect_all("destroy 1", "ok");
  use(2);
  ranks_.expect_all("finalize 2", "ok");
}

// The others wait for rank 3 in the split when it is killed.
TEST_P(SplitProcesses, AMemberThatIsKilledDuringASplitIsNamedToAll) {
  use(0);
  ranks_.tell_all("split 0 1 0", {3});
  for (const size_t rank : {size_t{0}, size_t{1}, size_t{2}, size_t{4}})
    ASSERT_TRUE(ranks_.sleeps_in_a_call(rank)) << rank;
  ranks_[3].signal(SIGKILL);
  const std::string why = ranks_.expect_one_sentence("call 0 barrier", ranks_.hear_all({3}), {3});
  EXPECT_NE(why.find("rank 3"), std::string::npos) << why;
}

// Killed at some moment of the split: it ended on a rank or not, and the next call tells.
TEST_P(SplitProcesses, AMemberThatIsKilledWhileAllSplitIsNamedToAll) {
  ranks_.tell_all("split 0 1 0");
  ranks_[2].signal(SIGKILL);
  const std::string why = ranks_.expect_one_sentence("call 0 barrier", ranks_.hear_all({2}), {2});
  EXPECT_NE(why.find("rank 2"), std::string::npos) << why;
}

// Ranks 0, 2 and 4 are together, 1 and 3 are: the former are told by either communicator, the others by the
// parent alone.
TEST_P(SplitProcesses, AMemberThatIsKilledAfterASplitIsNamedInBothCommunicators) {
  split(0, {0, 1, 0, 1, 0}, {0, 0, 0, 0, 0}, {"ok 1 0 3", "ok 1 0 2", "ok 1 1 3", "ok 1 1 2", "ok 1 2 3"});
  use(1);
  ranks_.tell_all("call 1 barrier", {1, 3, 4});
  ranks_[4].signal(SIGKILL);
  std::vector<std::string> answers = ranks_.hear_all({1, 3, 4});
  const std::string in_part = ranks_.expect_one_sentence("call 1 barrier", answers, {1, 3, 4});
  EXPECT_NE(in_part.find("rank 2"), std::string::npos) << "its rank there: " << in_part;
  const std::string why =
      ranks_.expect_one_sentence("call 0 barrier", std::vector<std::string>(ranks_.size()), {4});
  EXPECT_NE(why.find("rank 4"), std::string::npos) << why;
  for (int call = 0; call < 3; ++call) ranks_.expect_all("call 1 all_reduce 1000", "right", {0, 2, 4});
}

// Nobody is told anything of a rank that is stopped for a while.
TEST_P(SplitProcesses, AMemberThatIsStoppedDuringASplitDelaysIt) {
  ranks_[1].stop();
  for (size_t rank = 0; rank < ranks_.size(); ++rank)
    ranks_[rank].tell("split 0 0 " + std::to_string(9 - rank));
  ASSERT_TRUE(ranks_.sleeps_in_a_call(0));
  ASSERT_TRUE(ranks_.sleeps_in_a_call(4));
  ranks_[1].signal(SIGCONT);
  EXPECT_EQ(ranks_.hear_all(),
            (std::vector<std::string>{"ok 1 4 5", "ok 1 3 5", "ok 1 2 5", "ok 1 1 5", "ok 1 0 5"}));
  use(1);
}

INSTANTIATE_TEST_SUITE_P(Over, SplitProcesses,
                         testing::Values(Where{"shm", ".....", ""}, Where{"tcp", ".....", "tcp"},
                                         Where{"mixed", "aabba", ""}),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace comity::test
