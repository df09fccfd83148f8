// Verdicts with ranks as threads: mismatched calls, declared errors, leaving and aborting.
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "tests/support/control_ranks.h"

namespace comity::control {
namespace {

using testing::eventually;
using testing::for_each_rank;
using testing::join_all;
using testing::Joined;

CallRecord all_reduce_call(uint64_t number, uint64_t count) {
  CallRecord record;
  record.number = number;
  record.count = count;
  record.collective = Collective::kAllReduce;
  record.type = DataType::kFloat32;
  record.op = RedOp::kSum;
  record.signature = signature_of(record, 17);
  return record;
}

CallRecord broadcast_call(uint64_t number, uint64_t count, uint32_t root) {
  CallRecord record;
  record.number = number;
  record.count = count;
  record.root = root;
  record.collective = Collective::kBroadcast;
  record.type = DataType::kFloat32;
  record.signature = signature_of(record, 17);
  return record;
}

// Reports like a rank that waits in call `number`, until a verdict comes; null if none came within
// `within_ms`.
const Verdict* wait_in_call(Session& session, uint64_t number, uint64_t within_ms) {
  eventually(
      [&] {
        session.report(number);
        return session.verdict() != nullptr;
      },
      within_ms);
  return session.verdict();
}

class ControlVerdict : public ::testing::TestWithParam<uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Ranks, ControlVerdict, ::testing::Values(2, 20));

TEST_P(ControlVerdict, MismatchedCallsAreNamedToAllWithinASecond) {
  const uint32_t nranks = GetParam();
  Joined joined = join_all(nranks);
  ASSERT_TRUE(joined.all()) << joined.text();
  const uint32_t odd = nranks - 1;
  const uint64_t start_ns = now_ns();
  for_each_rank(nranks, [&](uint32_t rank) {
    Session& session = *joined.sessions[rank];
    for (uint64_t number = 1; number < 7; ++number) session.calls().record(all_reduce_call(number, 1));
    session.calls().record(rank == odd ? broadcast_call(7, 8, 1) : all_reduce_call(7, 1024));
    // As an engine does: whoever sees another signature or waits says so, not everybody at once.
    if (rank == odd || rank == 0) session.report(7);
    EXPECT_TRUE(eventually([&] { return session.verdict() != nullptr; }));
  });
  EXPECT_LT(now_ns() - start_ns, 1'000'000'000u);
  const std::string sentence = joined.sessions[0]->verdict()->message;
  for (const auto& session : joined.sessions) {
    EXPECT_EQ(session->verdict()->code, Code::kInvalidUsage);
    EXPECT_EQ(session->verdict()->message, sentence);
  }
  EXPECT_EQ(sentence.find("ranks disagree on collective 7: rank "), 0u) << sentence;
  EXPECT_NE(sentence.find(" called all_reduce of 1024 float32 (sum), rank "), std::string::npos) << sentence;
  EXPECT_NE(sentence.find("rank " + std::to_string(odd) + " called broadcast of 8 float32 (root 1)"),
            std::string::npos)
      << sentence;
}

TEST_P(ControlVerdict, ARankThatIsMerelyLateBringsNoVerdict) {
  const uint32_t nranks = GetParam();
  Joined joined = join_all(nranks);
  ASSERT_TRUE(joined.all()) << joined.text();
  const uint32_t late = nranks / 2;
  std::atomic<uint32_t> waited{0};
  for_each_rank(nranks, [&](uint32_t rank) {
    Session& session = *joined.sessions[rank];
    if (rank == late) {
      EXPECT_TRUE(eventually([&] { return waited == nranks - 1; }));
      session.calls().record(all_reduce_call(1, 64));
      EXPECT_EQ(wait_in_call(session, 1, 250), nullptr);
    } else {
      session.calls().record(all_reduce_call(1, 64));
      EXPECT_EQ(wait_in_call(session, 1, 250), nullptr);
      ++waited;
    }
  });
  // A round trip through the whole tree: whatever the reports set off has been decided by now.
  for_each_rank(nranks, [&](uint32_t rank) {
    EXPECT_TRUE(joined.sessions[rank]->all_gather({}, Deadline::after_ms(20'000)).ok());
    EXPECT_EQ(joined.sessions[rank]->verdict(), nullptr);
  });
}

TEST(ControlVerdictOf, ALateMismatchIsFoundByRanksThatKeepReporting) {
  Joined joined = join_all(3);
  ASSERT_TRUE(joined.all()) << joined.text();
  std::atomic<bool> waited{false};
  for_each_rank(3, [&](uint32_t rank) {
    Session& session = *joined.sessions[rank];
    if (rank == 2) {
      EXPECT_TRUE(eventually([&] { return waited.load(); }));
      session.calls().record(all_reduce_call(1, 65));  // calls, and says nothing itself
      EXPECT_TRUE(eventually([&] { return session.verdict() != nullptr; }, 1000));
      return;
    }
    session.calls().record(all_reduce_call(1, 64));
    EXPECT_EQ(wait_in_call(session, 1, 120), nullptr);
    waited = true;
    EXPECT_NE(wait_in_call(session, 1, 1000), nullptr);
  });
}

TEST(ControlVerdictOf, AlikeCallsWithOtherPlansSaysSo) {
  Joined joined = join_all(2);
  ASSERT_TRUE(joined.all()) << joined.text();
  for_each_rank(2, [&](uint32_t rank) {
    CallRecord record = all_reduce_call(1, 64);
    record.signature = signature_of(record, rank);
    joined.sessions[rank]->calls().record(record);
    const Verdict* verdict = wait_in_call(*joined.sessions[rank], 1, 10'000);
    ASSERT_NE(verdict, nullptr);
    EXPECT_NE(verdict->message.find("planned differently"), std::string::npos) << verdict->message;
  });
}

TEST(ControlVerdictOf, ACollectiveThatARankLeftBeforeNamesIt) {
  Joined joined = join_all(12);
  ASSERT_TRUE(joined.all()) << joined.text();
  for (const uint32_t leaver : {1u, 11u}) {
    joined.sessions[leaver]->calls().record(all_reduce_call(1, 64));
    joined.sessions[leaver]->leave(true);
  }
  std::atomic<int> waited{0};
  for_each_rank(12, [&](uint32_t rank) {
    if (rank == 1 || rank == 11) return;
    Session& session = *joined.sessions[rank];
    session.calls().record(all_reduce_call(1, 64));
    EXPECT_EQ(wait_in_call(session, 1, 150), nullptr);
    ++waited;
    EXPECT_TRUE(eventually([&] { return waited == 10; }));
    session.calls().record(all_reduce_call(2, 64));
    const Verdict* verdict = wait_in_call(session, 2, 5000);
    ASSERT_NE(verdict, nullptr);
    EXPECT_NE(verdict->message.find("1 left the communicator after collective 1"), std::string::npos)
        << verdict->message;
  });
}

TEST_P(ControlVerdict, TheFirstDeclaredErrorIsTheSameOnAllRanks) {
  const uint32_t nranks = GetParam();
  Joined joined = join_all(nranks);
  ASSERT_TRUE(joined.all()) << joined.text();
  for_each_rank(nranks, [&](uint32_t rank) {
    joined.sessions[rank]->declare(Code::kSystemError, "rank " + std::to_string(rank) + " has no memory");
    EXPECT_TRUE(eventually([&] { return joined.sessions[rank]->verdict() != nullptr; }));
  });
  for (const auto& session : joined.sessions) {
    EXPECT_EQ(session->verdict()->code, Code::kSystemError);
    EXPECT_EQ(session->verdict()->message, joined.sessions[0]->verdict()->message);
  }
}

TEST_P(ControlVerdict, AnAbortReachesAllAndEndsTheirWaits) {
  const uint32_t nranks = GetParam();
  Joined joined = join_all(nranks);
  ASSERT_TRUE(joined.all()) << joined.text();
  const uint32_t aborting = nranks > 9 ? 1 : nranks - 1;  // an inner node where there is one
  for_each_rank(nranks, [&](uint32_t rank) {
    if (rank == aborting) return joined.sessions[rank]->leave(false);
    const auto all = joined.sessions[rank]->all_gather({}, Deadline::after_ms(20'000));
    EXPECT_EQ(all.status().code(), Code::kRemoteError);
    EXPECT_EQ(all.status().message(), "rank " + std::to_string(aborting) + " aborted");
  });
}

TEST_P(ControlVerdict, RanksThatLeaveInOrderBringNoVerdictToThoseThatWork) {
  const uint32_t nranks = GetParam();
  Joined joined = join_all(nranks);
  ASSERT_TRUE(joined.all()) << joined.text();
  for (uint32_t rank = 0; rank + 1 < nranks; ++rank) joined.sessions[rank].reset();
  Session& last = *joined.sessions[nranks - 1];
  EXPECT_EQ(wait_in_call(last, 0, 150), nullptr);
  last.leave(true);
  EXPECT_EQ(last.verdict(), nullptr);
}

TEST(ControlVerdictOf, ARelayThatLeftStillPassesVerdictsOn) {
  constexpr uint32_t kRanks = 20;  // 9 to 16 are below 1, 17 to 19 below 2
  Joined joined = join_all(kRanks);
  ASSERT_TRUE(joined.all()) << joined.text();
  for (const uint32_t inner : {0u, 1u, 2u}) joined.sessions[inner]->leave(true);
  joined.sessions[16]->declare(Code::kSystemError, "no memory");
  EXPECT_TRUE(eventually([&] { return joined.sessions[19]->verdict() != nullptr; }));
}

TEST(ControlVerdictOf, LeavingTwiceAndAfterAVerdictIsHarmless) {
  Joined joined = join_all(3);
  ASSERT_TRUE(joined.all()) << joined.text();
  joined.sessions[2]->leave(false);
  joined.sessions[2]->leave(false);
  EXPECT_TRUE(eventually([&] { return joined.sessions[1]->verdict() != nullptr; }));
  joined.sessions[1]->leave(true);
  joined.sessions[1]->leave(false);
}

}  // namespace
}  // namespace comity::control
