// Ranks that never wait run ahead of a peer that has not come, over sockets and over sockets and shared
// memory together: at most 64 calls, then they wait; nothing is lost; what differs is told by the next call
// that meets, or by Finalize. (shm_rooted_test: the same by shared memory alone.)
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "tests/support/rank_processes.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

constexpr size_t kPromised = 64;  // calls ahead at most
constexpr size_t kCalls = 80;     // of each rank
constexpr uint64_t kSoonMs = 30'000;

struct Way {
  const char* name;
  const char* hosts;  // of each rank
  const char* transports;
  const char* giver;  // what rank 0 calls, time after time
  const char* taker;  // what the others do
  // So many calls of rank 0 end though no other rank is in a call: of a window of 8 segments up to 3 that
  // came before may not be acknowledged yet.
  size_t least = 5;
};

class Ahead : public testing::TestWithParam<Way> {
 protected:
  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam().transports};
  RankProcesses ranks_{hosts_of(GetParam().hosts)};

  size_t nranks() const { return ranks_.size(); }
  // Each rank once, so that the connections are there.
  void call_together() {
    ranks_[0].tell(GetParam().giver);
    for (size_t rank = 1; rank < nranks(); ++rank) ranks_[rank].tell(GetParam().taker);
    for (size_t rank = 0; rank < nranks(); ++rank) ASSERT_EQ(ranks_[rank].hear(kSoonMs), "right") << rank;
  }
};

TEST_P(Ahead, ARankThatOnlyGivesRunsAheadAndNothingIsLost) {
  for (int round = 0; round < 2; ++round) call_together();
  for (size_t call = 0; call < kCalls; ++call) ranks_[0].tell(GetParam().giver);
  size_t ended = 0;
  for (; ended < GetParam().least; ++ended) ASSERT_EQ(ranks_[0].hear(kSoonMs), "right") << ended;
  ASSERT_TRUE(ranks_.sleeps_in_a_call(0)) << "it waits for nobody";
  while (ranks_[0].hear(0) == "right") ++ended;
  EXPECT_LE(ended, kPromised);
  // The others come, one after the other.
  for (size_t rank = 1; rank < nranks(); ++rank) {
    for (size_t call = 0; call < kCalls; ++call) ranks_[rank].tell(GetParam().taker);
  }
  for (; ended < kCalls; ++ended) ASSERT_EQ(ranks_[0].hear(kSoonMs), "right") << ended;
  for (size_t rank = 1; rank < nranks(); ++rank) {
    for (size_t call = 0; call < kCalls; ++call)
      ASSERT_EQ(ranks_[rank].hear(kSoonMs), "right") << "rank " << rank << " call " << call;
  }
  ranks_.expect_all("finalize 0", "ok");
}

INSTANTIATE_TEST_SUITE_P(
    Over, Ahead,
    testing::Values(Way{"broadcast_tcp", "..", "tcp", "call 0 broadcast 4 0", "call 0 broadcast 4 0"},
                    Way{"broadcast_tcp_of_4", "....", "tcp", "call 0 broadcast 4 0", "call 0 broadcast 4 0"},
                    Way{"broadcast_mixed", "abb", "", "call 0 broadcast 4 0", "call 0 broadcast 4 0"},
                    Way{"broadcast_mixed_inside", "aab", "", "call 0 broadcast 4 0", "call 0 broadcast 4 0"},
                    Way{"scatter_tcp", "...", "tcp", "call 0 scatter 100 0", "call 0 scatter 100 0"},
                    Way{"scatter_mixed", "abab", "", "call 0 scatter 100 0", "call 0 scatter 100 0"},
                    Way{"reduce_tcp", "...", "tcp", "call 0 reduce 9 1", "call 0 reduce 9 1"},
                    Way{"reduce_mixed", "abb", "", "call 0 reduce 9 1", "call 0 reduce 9 1"},
                    Way{"gather_tcp", "...", "tcp", "call 0 gather 50 1", "call 0 gather 50 1"},
                    Way{"gather_mixed", "aab", "", "call 0 gather 50 2", "call 0 gather 50 2"},
                    Way{"send_tcp", "..", "tcp", "exchange 0 s1:6", "exchange 0 r0:6"},
                    Way{"send_empty_tcp", "..", "tcp", "exchange 0 s1:0", "exchange 0 r0:0"},
                    Way{"send_mixed", "ab", "", "exchange 0 s1:6", "exchange 0 r0:6"},
                    Way{"send_shm", "..", "", "exchange 0 s1:6", "exchange 0 r0:6"}),
    [](const auto& tested) { return std::string(tested.param.name); });

// What differs among calls in which ranks do not meet.
struct Difference {
  const char* name;
  std::vector<std::string> first, others;  // what rank 0 calls, what the others do
  const char* meeting;                     // what all call then
  std::vector<std::string> told;           // words of the one sentence
};

const Difference kDifferences[] = {
    {"ACount",
     {"call 0 broadcast 4 0", "call 0 broadcast 5 0", "call 0 broadcast 4 0"},
     {"call 0 broadcast 4 0", "call 0 broadcast 4 0", "call 0 broadcast 4 0"},
     "call 0 barrier",
     {"rank 0 called broadcast of 5 int64 (root 0)", "called broadcast of 4 int64 (root 0)"}},
    {"ARoot",
     {"call 0 broadcast 4 0", "call 0 broadcast 4 0"},
     {"call 0 broadcast 4 0", "call 0 broadcast 4 1"},
     "call 0 all_reduce 9",
     {"rank 0 called broadcast of 4 int64 (root 0)", "called broadcast of 4 int64 (root 1)"}},
    {"ACallMore",
     {"call 0 scatter 4 0", "call 0 scatter 4 0", "call 0 scatter 4 0"},
     {"call 0 scatter 4 0", "call 0 scatter 4 0"},
     "finalize 0",
     {"rank 1 made 3 collectives, rank 0 made 4: number 4 was scatter of 4 int64 (root 0)"}},
    {"ACallMoreBeforeOneThatMeets",
     {"call 0 scatter 4 0", "call 0 scatter 4 0", "call 0 scatter 4 0"},
     {"call 0 scatter 4 0", "call 0 scatter 4 0"},
     "call 0 all_reduce 3",
     {"rank 0 called scatter of 4 int64 (root 0)", "called all_reduce of 3 int64"}},
    {"AMessagesLength",
     {"exchange 0 s1:6", "exchange 0 s1:7", "exchange 0 s1:6"},
     {"exchange 0 r0:6", "exchange 0 r0:6"},
     "call 0 barrier",
     {"rank 0 sent 7 int64, rank 1 receives 6 int64"}},
    {"AMessageMore",
     {"exchange 0 s1:6", "exchange 0 s1:6", "exchange 0 s1:6"},
     {"exchange 0 r0:6", "exchange 0 r0:6"},
     "finalize 0",
     {"rank 0 made 4 Sends to rank 1, which made 3 Recvs from it"}}};

struct Where {
  const char* name;
  const char* hosts;
  const char* transports;
};

class AheadWithADifference : public testing::TestWithParam<std::tuple<Difference, Where>> {};

TEST_P(AheadWithADifference, IsToldToAllInOneSentenceWhereTheyMeet) {
  const auto& [difference, where] = GetParam();
  const ScopedEnv transports("COMITY_TRANSPORTS", where.transports);
  RankProcesses ranks(hosts_of(where.hosts));
  ranks.expect_all("call 0 broadcast 4 0", "right");
  ranks[0].tell("exchange 0 s1:1");
  EXPECT_EQ(ranks[1].ask("exchange 0 r0:1"), "right");
  EXPECT_EQ(ranks[0].hear(kSoonMs), "right");
  for (const std::string& call : difference.first) EXPECT_EQ(ranks[0].ask(call), "right") << call;
  const bool is_message = difference.others[0].rfind("exchange", 0) == 0;
  std::vector<std::string> answers(ranks.size());
  for (size_t rank = 1; rank < (is_message ? 2 : ranks.size()); ++rank) {
    for (const std::string& call : difference.others) ranks[rank].tell(call);
  }
  for (size_t rank = 1; rank < (is_message ? 2 : ranks.size()); ++rank) {
    for (size_t call = 0; call < difference.others.size(); ++call) {
      const std::string answer = ranks[rank].hear(kSoonMs);
      if (answers[rank].empty() && answer != "right") answers[rank] = answer;
    }
  }
  const std::string sentence = ranks.expect_one_sentence(difference.meeting, answers, {});
  for (const std::string& words : difference.told)
    EXPECT_NE(sentence.find(words), std::string::npos) << sentence << " lacks " << words;
}

INSTANTIATE_TEST_SUITE_P(Over, AheadWithADifference,
                         testing::Combine(testing::ValuesIn(kDifferences),
                                          testing::Values(Where{"tcp", "..", "tcp"},
                                                          Where{"tcp_of_3", "...", "tcp"},
                                                          Where{"mixed", "aab", ""}, Where{"shm", "..", ""})),
                         [](const auto& tested) {
                           return std::string(std::get<0>(tested.param).name) + "_" +
                                  std::get<1>(tested.param).name;
                         });

}  // namespace
}  // namespace comity::test
