// Ranks that wait for one another by Sends, Recvs and collectives: what is a ring, and what merely takes
// long.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "src/control/ring_search.h"
#include "tests/support/control_ranks.h"

namespace comity::control {
namespace {

using testing::eventually;
using testing::for_each_rank;
using testing::join_all;
using testing::Joined;

CallRecord record_of(Collective collective, uint64_t number, uint32_t root = 0) {
  CallRecord record;
  record.number = number;
  record.count = 4;
  record.root = root;
  record.collective = collective;
  record.type = DataType::kFloat32;
  return record;
}

class Ranks {
 public:
  // `rank` has made `last` collectives and waits in Sends or Recvs.
  Ranks& exchanges(uint32_t rank, uint64_t last, std::vector<WaitingFor::Exchange> incomplete,
                   std::vector<PairCount> pairs = {}) {
    Waiting& waiting = add(rank, last);
    waiting.now.exchanges = std::move(incomplete);
    waiting.now.pairs = std::move(pairs);
    return *this;
  }
  Ranks& collective(uint32_t rank, const CallRecord& record, std::vector<PairCount> pairs = {}) {
    Waiting& waiting = add(rank, record.number);
    waiting.now.collective = record.number;
    waiting.now.pairs = std::move(pairs);
    waiting.record = record;
    return *this;
  }
  // `rank` made `last` collectives and no more.
  Ranks& finalizes(uint32_t rank, uint64_t last) {
    add(rank, last).now.collective = last + 1;
    return *this;
  }
  std::vector<uint32_t> ring() const { return find_ring(waiting_); }
  std::string text() const { return describe_ring(waiting_, ring()); }

 private:
  Waiting& add(uint32_t rank, uint64_t last) {
    Waiting& waiting = waiting_[rank];
    waiting.rank = waiting.member = rank;
    waiting.last_number = last;
    waiting.now.waits = true;
    return waiting;
  }
  std::map<uint32_t, Waiting> waiting_;
};

using Ring = std::vector<uint32_t>;
constexpr bool kSend = true;
constexpr bool kRecv = false;

TEST(ControlRing, IsARecvOfWhatTheOtherSendsAfterACollective) {
  Ranks ranks;
  ranks.exchanges(0, 4, {{1, kRecv, 1}}).collective(1, record_of(Collective::kAllReduce, 5));
  EXPECT_EQ(ranks.ring(), (Ring{0, 1}));
  EXPECT_EQ(ranks.text(),
            "ranks wait for one another and can never get on: rank 0 waits in its Recv 1 from rank 1, rank 1 "
            "waits for rank 0 in collective 5, all_reduce of 4 float32 (sum)");
}

TEST(ControlRing, IsNoneWhereTheMessageIsOnItsWay) {
  Ranks ranks;
  ranks.exchanges(0, 4, {{1, kRecv, 3}}).collective(1, record_of(Collective::kAllReduce, 5), {{0, 3, 0}});
  EXPECT_EQ(ranks.ring(), Ring());
}

TEST(ControlRing, IsNoneWhereTheOtherIsInNoCall) {
  Ranks ranks;
  ranks.exchanges(0, 4, {{1, kRecv, 1}}).collective(2, record_of(Collective::kBarrier, 5));
  EXPECT_EQ(ranks.ring(), Ring());
}

TEST(ControlRing, IsNoneWhereTheCollectiveCanEndWithoutTheOther) {
  Ranks broadcast;
  broadcast.exchanges(0, 4, {{1, kRecv, 1}}).collective(1, record_of(Collective::kBroadcast, 5, 2));
  EXPECT_EQ(broadcast.ring(), Ring()) << "rank 2 sends, rank 0 may come later";
  Ranks from_it;
  from_it.exchanges(0, 4, {{1, kRecv, 1}}).collective(1, record_of(Collective::kBroadcast, 5, 0));
  EXPECT_EQ(from_it.ring(), (Ring{0, 1}));
  Ranks reduce;
  reduce.exchanges(0, 4, {{1, kRecv, 1}}).collective(1, record_of(Collective::kReduce, 5, 1));
  EXPECT_EQ(reduce.ring(), (Ring{0, 1}));
  Ranks to_another;
  to_another.exchanges(0, 4, {{1, kRecv, 1}}).collective(1, record_of(Collective::kReduce, 5, 2));
  EXPECT_EQ(to_another.ring(), Ring());
  Ranks came;
  came.exchanges(0, 5, {{1, kRecv, 1}}).collective(1, record_of(Collective::kAllReduce, 5));
  EXPECT_EQ(came.ring(), Ring()) << "rank 0 has left the collective already";
}

TEST(ControlRing, IsSendsThatNobodyReceivesAndOneToItself) {
  Ranks ranks;
  ranks.exchanges(3, 0, {{5, kSend, 2}}, {{5, 2, 0}}).exchanges(5, 0, {{3, kSend, 1}}, {{3, 1, 1}});
  EXPECT_EQ(ranks.ring(), (Ring{3, 5}));
  EXPECT_EQ(ranks.text(),
            "ranks wait for one another and can never get on: rank 3 waits in its Send 2 to "
            "rank 5, rank 5 waits in its Send 1 to rank 3");
  Ranks itself;
  itself.exchanges(1, 0, {{1, kRecv, 1}}, {{1, 0, 1}});
  EXPECT_EQ(itself.ring(), Ring{1});
  EXPECT_NE(itself.text().find("rank 1 waits in its Recv 1 from itself"), std::string::npos);
}

TEST(ControlRing, IsNoneOfRanksThatFinalize) {
  Ranks ranks;
  for (const uint32_t rank : {0u, 1u, 2u}) ranks.finalizes(rank, 7);
  EXPECT_EQ(ranks.ring(), Ring());
  ranks.exchanges(3, 7, {{1, kRecv, 1}});
  EXPECT_EQ(ranks.ring(), (Ring{1, 3}));
}

TEST(ControlRing, IsFoundAmongManyThatWaitAndStartsWithItsLowestRank) {
  Ranks ranks;
  constexpr uint32_t kRing = 3000;
  for (uint32_t rank = 0; rank < kRing; ++rank) {
    if (rank >= 10) ranks.exchanges(rank, 0, {{rank + 1 < kRing ? rank + 1 : 10, kRecv, 1}});
  }
  for (uint32_t rank = 0; rank < 10; ++rank) ranks.exchanges(rank, 0, {{10 + rank, kRecv, 1}});
  ASSERT_EQ(ranks.ring().size(), kRing - 10);
  EXPECT_EQ(ranks.ring()[0], 10u);
  EXPECT_NE(ranks.text().find("rank 11 waits in its Recv 1 from rank 12, and so on around 2990 ranks"),
            std::string::npos)
      << ranks.text();
}

TEST(ControlRing, IsTheVerdictOfItsCommunicatorOnAllRanks) {
  constexpr uint32_t kRanks = 12;
  Joined joined = join_all(kRanks);
  ASSERT_TRUE(joined.all()) << joined.text();
  for_each_rank(kRanks, [&](uint32_t rank) {
    Session& session = *joined.sessions[rank];
    if (rank == 11) {
      session.waiting().in_exchanges({{2, kRecv, 1}}, {{2, 0, 1}});
    } else {
      CallRecord record = record_of(Collective::kAllReduce, 1);
      record.signature = signature_of(record, 1);
      session.calls().record(record);
      session.waiting().in_collective(1, {});
    }
    EXPECT_TRUE(eventually([&] {
      session.report_waiting();
      return session.verdict() != nullptr;
    }));
  });
  for (const auto& session : joined.sessions) {
    ASSERT_NE(session->verdict(), nullptr);
    EXPECT_EQ(session->verdict()->message,
              "ranks wait for one another and can never get on: rank 2 waits for rank 11 in collective 1, "
              "all_reduce of 4 float32 (sum), rank 11 waits in its Recv 1 from rank 2");
  }
}

TEST(ControlRing, IsSeenWhereOneWaitsForTheOtherToFinalize) {
  Joined joined = join_all(3);
  ASSERT_TRUE(joined.all()) << joined.text();
  for_each_rank(3, [&](uint32_t rank) {
    Session& session = *joined.sessions[rank];
    if (rank != 1) {
      EXPECT_EQ(session.finalize({}, Deadline::after_ms(20'000)).code(), Code::kInvalidUsage);
      return;
    }
    session.waiting().in_exchanges({{0, kRecv, 1}}, {{0, 0, 1}});
    EXPECT_TRUE(eventually([&] {
      session.report_waiting();
      return session.verdict() != nullptr;
    }));
    EXPECT_NE(session.verdict()->message.find("rank 0 waits for rank 1 to finalize the communicator"),
              std::string::npos)
        << session.verdict()->message;
  });
}

// It gets on between the questions each time: nobody waits for ever.
TEST(ControlRing, IsNoneWhereARankGetsOnBetweenTheQuestions) {
  Joined joined = join_all(2);
  ASSERT_TRUE(joined.all()) << joined.text();
  std::atomic<bool> done{false};
  for_each_rank(2, [&](uint32_t rank) {
    Session& session = *joined.sessions[rank];
    if (rank == 1) {
      session.waiting().in_exchanges({{0, kRecv, 1}}, {{0, 0, 1}});
      const Deadline end = Deadline::after_ms(700);
      eventually([&] { return session.report_waiting(), end.passed(); });
      done = true;
      return;
    }
    for (uint64_t number = 1; !done; ++number) {
      session.waiting().in_exchanges({{1, kRecv, number}}, {{1, 0, number}});
      const Deadline next = Deadline::after_ms(20);
      eventually([&] { return next.passed(); });
    }
  });
  for (const auto& session : joined.sessions) EXPECT_EQ(session->verdict(), nullptr);
}

}  // namespace
}  // namespace comity::control
