// Sends and Recvs among ranks that are processes: in groups and alone, any order and length, and peers that
// are killed or stopped in the middle of an exchange.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "tests/support/rank_processes.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

constexpr size_t kRanks = 4;
constexpr size_t kLong = 1'000'003;  // 8 MB: more than any connection holds

struct Where {
  const char* name;
  const char* hosts;
  const char* transports;
};

class ExchangeProcesses : public testing::TestWithParam<Where> {
 protected:
  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam().transports};
  RankProcesses ranks_{hosts_of(GetParam().hosts)};

  static std::string sends(size_t to, size_t count) { return fmt::format(" s{}:{}", to, count); }
  static std::string receives(size_t from, size_t count) { return fmt::format(" r{}:{}", from, count); }
  // To the rank above and from the rank below.
  std::string ring(size_t rank, size_t count) const {
    return "exchange 0" + sends((rank + 1) % kRanks, count) + receives((rank + kRanks - 1) % kRanks, count);
  }
};

// What goes from one rank to another in the n-th exchange: nothing, a little, more than a segment, a lot.
size_t length_between(size_t from, size_t to, size_t exchange) {
  constexpr size_t kCounts[] = {0, 1, 1009, 200'003, 17};
  return kCounts[(from * 3 + to + exchange) % std::size(kCounts)];
}

// One group of Sends to all and Recvs from all, oneself included, in an order of each rank's own.
TEST_P(ExchangeProcesses, EveryoneSendsToEveryoneInAnyOrder) {
  for (size_t exchange = 0; exchange < 5; ++exchange) {
    for (size_t rank = 0; rank < kRanks; ++rank) {
      std::vector<std::string> messages;
      for (size_t peer = 0; peer < kRanks; ++peer) {
        messages.push_back(sends(peer, length_between(rank, peer, exchange)));
        messages.push_back(receives(peer, length_between(peer, rank, exchange)));
      }
      std::shuffle(messages.begin(), messages.end(),
                   std::mt19937(static_cast<unsigned>(rank + 10 * exchange)));
      std::string line = "exchange 0";
      for (const std::string& message : messages) line += message;
      ranks_[rank].tell(line);
    }
    EXPECT_EQ(ranks_.hear_all(), std::vector<std::string>(kRanks, "right")) << "exchange " << exchange;
  }
  ranks_.expect_all("finalize 0", "ok");
}

// From rank to rank without groups, and collectives in between.
TEST_P(ExchangeProcesses, OneMessageAfterTheOtherGoesAroundTheRanks) {
  for (const size_t count : {size_t{1}, size_t{300'001}}) {
    ranks_[0].tell("exchange 0" + sends(1, count));
    ranks_[0].tell("exchange 0" + receives(3, count));
    for (size_t rank = 1; rank < kRanks; ++rank) {
      ranks_[rank].tell("exchange 0" + receives(rank - 1, count));
      ranks_[rank].tell("exchange 0" + sends((rank + 1) % kRanks, count));
    }
    for (int each = 0; each < 2; ++each)
      EXPECT_EQ(ranks_.hear_all(), std::vector<std::string>(kRanks, "right"));
    ranks_.expect_all("call 0 all_reduce 100", "right");
  }
  ranks_.expect_all("finalize 0", "ok");
}

// The others wait in a ring for rank 2, which has not come.
TEST_P(ExchangeProcesses, APeerThatIsKilledBeforeItCameIsNamedToAll) {
  for (size_t rank = 0; rank < kRanks; ++rank) ranks_[rank].tell(ring(rank, 100));
  EXPECT_EQ(ranks_.hear_all(), std::vector<std::string>(kRanks, "right"));
  for (const size_t rank : {size_t{0}, size_t{1}, size_t{3}}) ranks_[rank].tell(ring(rank, kLong));
  ASSERT_TRUE(ranks_.sleeps_in_a_call(1));
  ASSERT_TRUE(ranks_.sleeps_in_a_call(3));
  ranks_[2].signal(SIGKILL);
  const std::string why = ranks_.expect_one_sentence("call 0 barrier", ranks_.hear_all({2}), {2});
  EXPECT_NE(why.find("rank 2"), std::string::npos) << why;
}

// In the middle: its bytes are on their way when it ends.
TEST_P(ExchangeProcesses, APeerThatIsKilledInTheMiddleIsNamedToAll) {
  for (size_t rank = 0; rank < kRanks; ++rank) ranks_[rank].tell(ring(rank, 1));
  EXPECT_EQ(ranks_.hear_all(), std::vector<std::string>(kRanks, "right"));
  for (size_t rank = 0; rank < kRanks; ++rank) ranks_[rank].tell(ring(rank, kLong));
  ranks_[1].signal(SIGKILL);
  const std::string why = ranks_.expect_one_sentence("call 0 barrier", ranks_.hear_all({1}), {1});
  EXPECT_NE(why.find("rank 1"), std::string::npos) << why;
}

TEST_P(ExchangeProcesses, APeerThatIsStoppedDelaysAndLosesNothing) {
  for (size_t rank = 0; rank < kRanks; ++rank) ranks_[rank].tell(ring(rank, 1));
  EXPECT_EQ(ranks_.hear_all(), std::vector<std::string>(kRanks, "right"));
  for (size_t rank = 0; rank < kRanks; ++rank) ranks_[rank].tell(ring(rank, kLong));
  ranks_[1].stop();
  // Whom it leaves waiting sleeps; it may have been through before it was stopped.
  ASSERT_TRUE(ranks_.comes_to_rest(2));
  ASSERT_TRUE(ranks_.comes_to_rest(0));
  ranks_[1].signal(SIGCONT);
  EXPECT_EQ(ranks_.hear_all(), std::vector<std::string>(kRanks, "right"));
  for (size_t rank = 0; rank < kRanks; ++rank) ranks_[rank].tell(ring(rank, 1000));
  EXPECT_EQ(ranks_.hear_all(), std::vector<std::string>(kRanks, "right"));
  ranks_.expect_all("finalize 0", "ok");
}

// Stopped while others wait for it in an exchange, and never woken.
TEST_P(ExchangeProcesses, APeerThatIsStoppedAndThenKilledIsNamedToAll) {
  ranks_[3].stop();
  for (size_t rank = 0; rank < 3; ++rank) ranks_[rank].tell(ring(rank, kLong));
  ASSERT_TRUE(ranks_.sleeps_in_a_call(2));
  ranks_[3].signal(SIGKILL);
  const std::string why = ranks_.expect_one_sentence("call 0 barrier", ranks_.hear_all({3}), {3});
  EXPECT_NE(why.find("rank 3"), std::string::npos) << why;
}

INSTANTIATE_TEST_SUITE_P(Over, ExchangeProcesses,
                         testing::Values(Where{"shm", "....", ""}, Where{"tcp", "....", "tcp"},
                                         Where{"mixed", "abab", ""}),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace comity::test
