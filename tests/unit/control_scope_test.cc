// Communicators of one family, with ranks as threads: each has its calls, gatherings and verdict of its own.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/control_ranks.h"

namespace comity::control {
namespace {

using testing::eventually;
using testing::for_each_rank;
using testing::join_all;
using testing::Joined;

constexpr uint64_t kWithinMs = 20'000;

CallRecord call_of(uint64_t number, uint64_t count) {
  CallRecord record;
  record.number = number;
  record.count = count;
  record.collective = Collective::kAllReduce;
  record.type = DataType::kFloat32;
  record.signature = signature_of(record, 17);
  return record;
}

Bytes bytes_of(const std::string& text) {
  const auto* raw = reinterpret_cast<const std::byte*>(text.data());
  return Bytes(raw, raw + text.size());
}

std::string text_of(const Bytes& bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

// A family of `nranks`, and of some of its ranks a communicator whose order is another than the family's.
class Family {
 public:
  Family(uint32_t nranks, std::vector<uint32_t> some_members) : members(std::move(some_members)) {
    joined = join_all(nranks);
    EXPECT_TRUE(joined.all()) << joined.text();
    scopes = open(7, members);
  }
  std::vector<std::unique_ptr<Session>> open(uint64_t id, const std::vector<uint32_t>& ranks) {
    std::vector<std::unique_ptr<Session>> opened;
    for (const uint32_t rank : ranks) {
      auto scope = joined.sessions[rank]->scope(id, ranks, {});
      EXPECT_TRUE(scope.ok()) << scope.status().message();
      opened.push_back(scope.ok() ? std::move(scope).value() : nullptr);
    }
    return opened;
  }
  // A round trip through the whole tree: whatever was set off before has been decided by then.
  void settle() {
    for_each_rank(static_cast<uint32_t>(joined.sessions.size()), [&](uint32_t rank) {
      EXPECT_TRUE(joined.sessions[rank]->all_gather({}, Deadline::after_ms(kWithinMs)).ok());
    });
  }

  const std::vector<uint32_t> members;
  Joined joined;
  std::vector<std::unique_ptr<Session>> scopes;  // by rank in the communicator
};

std::string verdict_of(const Session& session) {
  EXPECT_TRUE(eventually([&] { return session.verdict() != nullptr; }, kWithinMs));
  return session.verdict() == nullptr ? "none" : session.verdict()->message;
}

class ControlScope : public ::testing::TestWithParam<uint32_t> {
 protected:
  // Every third rank, the highest first.
  static std::vector<uint32_t> some_of(uint32_t nranks) {
    std::vector<uint32_t> members;
    for (uint32_t rank = nranks; rank-- > 0;) {
      if (rank % 3 == (nranks - 1) % 3) members.push_back(rank);
    }
    return members;
  }
};
INSTANTIATE_TEST_SUITE_P(Ranks, ControlScope, ::testing::Values(1, 2, 3, 9, 20, 80));

TEST_P(ControlScope, GathersAndAgreesAmongItsMembersByTheirOwnNumbers) {
  Family family(GetParam(), some_of(GetParam()));
  const auto count = static_cast<uint32_t>(family.members.size());
  for_each_rank(count, [&](uint32_t rank) {
    Session& session = *family.scopes[rank];
    for (int round = 0; round < 3; ++round) {
      const std::string mine = std::string(rank % 5, 'x') + std::to_string(family.members[rank]);
      const auto all = session.all_gather(bytes_of(mine), Deadline::after_ms(kWithinMs));
      ASSERT_TRUE(all.ok()) << all.status().message();
      ASSERT_EQ(all->size(), count);
      for (uint32_t other = 0; other < count; ++other)
        EXPECT_EQ(text_of((*all)[other]),
                  std::string(other % 5, 'x') + std::to_string(family.members[other]));
      const std::vector<std::pair<std::string, std::string>> items = {{"colour", "green"}};
      EXPECT_TRUE(session.agree(items, Deadline::after_ms(kWithinMs)).ok());
    }
    const std::vector<std::pair<std::string, std::string>> items = {{"size", rank == 1 ? "small" : "large"}};
    const Status status = session.agree(items, Deadline::after_ms(kWithinMs));
    EXPECT_EQ(status.message(), count < 2 ? ""
                                          : "ranks disagree on size: rank 0 has \"large\", rank 1 has "
                                            "\"small\"; give all ranks the same");
    EXPECT_EQ(session.communicator_id(), 7u);
  });
}

TEST_P(ControlScope, AMismatchEndsItAloneInBothNumberings) {
  if (GetParam() < 9) return;
  Family family(GetParam(), some_of(GetParam()));
  auto others = family.open(8, family.members);
  for (uint32_t rank = 0; rank < family.scopes.size(); ++rank) {
    family.scopes[rank]->calls().record(call_of(1, rank == 1 ? 8 : 16));
    others[rank]->calls().record(call_of(1, 16));
    family.joined.sessions[family.members[rank]]->calls().record(call_of(1, 16));
  }
  family.scopes[1]->report(1);
  others[1]->report(1);
  const std::string sentence = verdict_of(*family.scopes[0]);
  EXPECT_NE(sentence.find("rank 1 (rank " + std::to_string(family.members[1]) +
                          " of the family) called all_reduce of 8 float32 (sum)"),
            std::string::npos)
      << sentence;
  for (const auto& scope : family.scopes) EXPECT_EQ(verdict_of(*scope), sentence);
  family.settle();
  for (const auto& other : others) EXPECT_EQ(other->verdict(), nullptr);
  for (const auto& session : family.joined.sessions) EXPECT_EQ(session->verdict(), nullptr);
}

TEST_P(ControlScope, AnAbortEndsItOnAllItsMembersAndNothingElse) {
  Family family(GetParam(), some_of(GetParam()));
  auto others = family.open(8, family.members);
  const size_t count = family.members.size();
  const size_t aborting = count / 2;
  family.scopes[aborting]->leave(false);
  const std::string name = "rank " + std::to_string(aborting);
  const std::string sentence =
      (aborting == family.members[aborting]
           ? name
           : name + " (rank " + std::to_string(family.members[aborting]) + " of the family)") +
      " aborted";
  for (size_t rank = 0; rank < count; ++rank) {
    if (rank == aborting) continue;
    EXPECT_EQ(verdict_of(*family.scopes[rank]), sentence);
  }
  family.settle();
  for (const auto& other : others) EXPECT_EQ(other->verdict(), nullptr);
  // And the next one is decided as well.
  if (count < 2) return;
  others[0]->declare(Code::kSystemError, "no memory");
  for (const auto& other : others) EXPECT_EQ(verdict_of(*other), "no memory");
}

TEST_P(ControlScope, OutlivesTheFirstCommunicatorInWhateverOrderTheyAreLeft) {
  Family family(GetParam(), some_of(GetParam()));
  auto others = family.open(8, family.members);
  for (auto& session : family.joined.sessions) session.reset();
  family.scopes[0].reset();
  const auto count = static_cast<uint32_t>(family.members.size());
  for_each_rank(count, [&](uint32_t rank) {
    EXPECT_TRUE(others[rank]->all_gather({}, Deadline::after_ms(kWithinMs)).ok());
    if (rank == 0) return;
    EXPECT_EQ(family.scopes[rank]->verdict(), nullptr);
  });
  // Who left cannot make the call that the others wait in.
  if (count < 2) return;
  for (uint32_t rank = 1; rank < count; ++rank) family.scopes[rank]->calls().record(call_of(1, 4));
  EXPECT_TRUE(eventually([&] {
    family.scopes[1]->report(1);
    return family.scopes[1]->verdict() != nullptr;
  }));
  EXPECT_NE(verdict_of(*family.scopes[count - 1]).find("left the communicator after collective 0"),
            std::string::npos);
  for (const auto& other : others) EXPECT_EQ(other->verdict(), nullptr);
}

TEST(ControlScopes, OfDisjointMembersGatherSideBySide) {
  constexpr uint32_t kRanks = 24;
  Joined joined = join_all(kRanks);
  ASSERT_TRUE(joined.all()) << joined.text();
  for_each_rank(kRanks, [&](uint32_t rank) {
    for (uint64_t split = 1; split <= 20; ++split) {
      const auto groups = static_cast<uint32_t>(1 + split % 5);
      std::vector<uint32_t> members;
      for (uint32_t member = rank % groups; member < kRanks; member += groups) members.push_back(member);
      auto scope = joined.sessions[rank]->scope(split << 8 | rank % groups | 1u << 20, members, {});
      ASSERT_TRUE(scope.ok()) << scope.status().message();
      const auto all = (*scope)->all_gather(bytes_of(std::to_string(rank)), Deadline::after_ms(kWithinMs));
      ASSERT_TRUE(all.ok()) << all.status().message();
      for (size_t i = 0; i < members.size(); ++i) EXPECT_EQ(text_of((*all)[i]), std::to_string(members[i]));
    }
  });
  for (const auto& session : joined.sessions) EXPECT_EQ(session->verdict(), nullptr);
}

TEST(ControlScopes, ThatCannotBeAreRefused) {
  Joined joined = join_all(3);
  ASSERT_TRUE(joined.all()) << joined.text();
  Session& session = *joined.sessions[1];
  EXPECT_EQ(session.scope(7, {0, 2}, {}).status().code(), Code::kInvalidArgument) << "not a member";
  EXPECT_EQ(session.scope(7, {1, 1}, {}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(session.scope(7, {1, 3}, {}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(session.scope(7, {}, {}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(session.scope(0, {1}, {}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(session.scope(session.communicator_id(), {1}, {}).status().code(), Code::kInvalidArgument);
  auto first = session.scope(7, {1}, {});
  ASSERT_TRUE(first.ok());
  auto second = session.scope(7, {1}, {});
  ASSERT_TRUE(second.ok());
  EXPECT_NE(verdict_of(**second).find("two communicators of one family are called"), std::string::npos);
  EXPECT_EQ((*first)->verdict(), nullptr);
}

TEST(ControlScopes, AGatheringThatOneMemberGivesUpOnIsOverForAllAndNamesWhoDidNotCome) {
  Family family(30, {29, 4, 0, 17, 5});
  const std::string sentence =
      "rank 1 (rank 4 of the family) waited for ranks 2, 4 (ranks 0, 5 of the family) in an all-gather until "
      "its deadline";
  for_each_rank(4, [&](uint32_t rank) {
    if (rank == 2) return;
    const auto all = family.scopes[rank]->all_gather({}, Deadline::after_ms(rank == 1 ? 300 : kWithinMs));
    EXPECT_EQ(all.status().code(), Code::kTimeout);
    EXPECT_EQ(all.status().message(), sentence);
  });
  EXPECT_EQ(family.scopes[4]->all_gather({}, Deadline::never()).status().message(), sentence) << "too late";
  family.settle();
}

// --- The end of a communicator -----------------------------------------------------------------------------

TEST_P(ControlScope, IsFinalizedWhereAllMadeAsManyCalls) {
  Family family(GetParam(), some_of(GetParam()));
  const auto count = static_cast<uint32_t>(family.members.size());
  for_each_rank(count, [&](uint32_t rank) {
    Session& session = *family.scopes[rank];
    for (uint64_t number = 1; number <= 9; ++number) session.calls().record(call_of(number, 4));
    std::vector<PairCount> exchanged;
    if (count > 1) {
      const uint32_t next = (rank + 1) % count;
      const uint32_t before = (rank + count - 1) % count;
      exchanged.push_back({next, next + 3u, before == next ? rank + 3u : 0});
      if (before != next) exchanged.push_back({before, 0, rank + 3u});
    }
    const Status status = session.finalize(exchanged, Deadline::after_ms(kWithinMs));
    EXPECT_TRUE(status.ok()) << status.message();
  });
  for_each_rank(GetParam(), [&](uint32_t rank) {
    EXPECT_TRUE(family.joined.sessions[rank]->finalize({}, Deadline::after_ms(kWithinMs)).ok());
  });
}

TEST_P(ControlScope, ACallThatOneRankDidNotMakeIsToldWhenItIsFinalized) {
  Family family(GetParam(), some_of(GetParam()));
  const auto count = static_cast<uint32_t>(family.members.size());
  if (count < 2) return;
  for_each_rank(count, [&](uint32_t rank) {
    Session& session = *family.scopes[rank];
    for (uint64_t number = 1; number <= (rank == 1 ? 7 : 8); ++number)
      session.calls().record(call_of(number, 64));
    const Status status = session.finalize({}, Deadline::after_ms(kWithinMs));
    EXPECT_EQ(status.code(), Code::kInvalidUsage);
    EXPECT_EQ(status.message(),
              "ranks made different calls: rank 1 made 7 collectives, rank 0 made 8: number 8 was all_reduce "
              "of 64 float32 (sum)");
    EXPECT_EQ(verdict_of(session), status.message());
  });
}

TEST_P(ControlScope, ASendThatNobodyReceivedIsToldWhenItIsFinalized) {
  Family family(GetParam(), some_of(GetParam()));
  const auto count = static_cast<uint32_t>(family.members.size());
  if (count < 2) return;
  for_each_rank(count, [&](uint32_t rank) {
    std::vector<PairCount> exchanged;
    if (rank == 0) exchanged.push_back({count - 1, 3, 5});
    if (rank == count - 1) exchanged.push_back({0, 5, 2});
    const Status status = family.scopes[rank]->finalize(exchanged, Deadline::after_ms(kWithinMs));
    EXPECT_EQ(status.message(), "ranks made different calls: rank 0 made 3 Sends to rank " +
                                    std::to_string(count - 1) + ", which made 2 Recvs from it");
  });
}

TEST(ControlScopes, WhoWaitsInACallThatAnotherWillNotMakeIsToldBeforeItFinalizes) {
  Family family(9, {8, 2, 5});
  for_each_rank(3, [&](uint32_t rank) {
    Session& session = *family.scopes[rank];
    session.calls().record(call_of(1, 4));
    if (rank == 2) {
      EXPECT_EQ(session.finalize({}, Deadline::after_ms(kWithinMs)).code(), Code::kInvalidUsage);
    } else {
      session.calls().record(call_of(2, 4));
      EXPECT_TRUE(eventually([&] {
        session.report(2);
        return session.verdict() != nullptr;
      }));
    }
    EXPECT_NE(verdict_of(session).find("rank 2 (rank 5 of the family) made its last call after collective 1"),
              std::string::npos)
        << verdict_of(session);
  });
}

// --- Far ahead ---------------------------------------------------------------------------------------------

TEST(ControlScopes, TheFirstOfManyDifferencesIsNamedHoweverFarARankRanAhead) {
  constexpr uint64_t kAhead = 64;
  Joined joined = join_all(4);
  ASSERT_TRUE(joined.all()) << joined.text();
  for (uint32_t rank = 0; rank < 4; ++rank) {
    // Rank 2 skips the 100th of calls that all differ.
    for (uint64_t number = 1; number <= 100 + kAhead; ++number)
      joined.sessions[rank]->calls().record(call_of(number, number + (rank == 2 && number >= 100 ? 1 : 0)));
  }
  for (uint64_t number = 100; number <= 100 + kAhead; ++number) joined.sessions[3]->report(number);
  for (const auto& session : joined.sessions) {
    EXPECT_EQ(verdict_of(*session).find("ranks disagree on collective 100: "), 0u) << verdict_of(*session);
  }
}

}  // namespace
}  // namespace comity::control
