// Meeting, all-gather and agreement with ranks as threads.
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "tests/support/control_ranks.h"

namespace comity::control {
namespace {

using testing::for_each_rank;
using testing::join_all;
using testing::Joined;

Bytes bytes_of(const std::string& text) {
  const auto raw = std::as_bytes(std::span(text.data(), text.size()));
  return Bytes(raw.begin(), raw.end());
}

class ControlSession : public ::testing::TestWithParam<uint32_t> {};

TEST_P(ControlSession, RanksMeetAndGatherEverythingByRank) {
  const uint32_t nranks = GetParam();
  Joined joined = join_all(nranks);
  ASSERT_TRUE(joined.all()) << joined.text();
  for_each_rank(nranks, [&](uint32_t rank) {
    for (int round = 0; round < 3; ++round) {
      const auto all = joined.sessions[rank]->all_gather(bytes_of(std::to_string(rank * 10 + round)),
                                                         Deadline::after_ms(20'000));
      ASSERT_TRUE(all.ok()) << all.status().message();
      ASSERT_EQ(all->size(), nranks);
      for (uint32_t other = 0; other < nranks; ++other) {
        EXPECT_EQ((*all)[other], bytes_of(std::to_string(other * 10 + round)));
      }
    }
  });
}

TEST_P(ControlSession, EqualItemsAgree) {
  const uint32_t nranks = GetParam();
  Joined joined = join_all(nranks);
  ASSERT_TRUE(joined.all()) << joined.text();
  for_each_rank(nranks, [&](uint32_t rank) {
    const std::vector<std::pair<std::string, std::string>> items = {{"version", "1"}, {"COMITY_ALGO", ""}};
    const Status status = joined.sessions[rank]->agree(items, Deadline::after_ms(20'000));
    EXPECT_TRUE(status.ok()) << status.message();
  });
}

TEST_P(ControlSession, SecretsAndNamesAreEqualOnAllRanksAndDifferBetweenCommunicators) {
  const uint32_t nranks = GetParam();
  Joined first = join_all(nranks);
  Joined second = join_all(nranks);
  ASSERT_TRUE(first.all() && second.all()) << first.text() << second.text();
  for (uint32_t rank = 0; rank < nranks; ++rank) {
    EXPECT_EQ(first.sessions[rank]->data_secret(), first.sessions[0]->data_secret());
    EXPECT_EQ(first.sessions[rank]->communicator_id(), first.sessions[0]->communicator_id());
    EXPECT_EQ(first.sessions[rank]->verdict(), nullptr);
  }
  EXPECT_NE(first.sessions[0]->data_secret(), second.sessions[0]->data_secret());
  EXPECT_NE(first.sessions[0]->communicator_id(), second.sessions[0]->communicator_id());
}

INSTANTIATE_TEST_SUITE_P(Ranks, ControlSession, ::testing::Values(1, 2, 3, 7, 9, 16, 64, 100));

TEST(ControlAgreement, NamesTheFirstDifferingItemTwoRanksAndTheirValuesOnAllRanks) {
  constexpr uint32_t kRanks = 11;
  Joined joined = join_all(kRanks);
  ASSERT_TRUE(joined.all()) << joined.text();
  for_each_rank(kRanks, [&](uint32_t rank) {
    const std::vector<std::pair<std::string, std::string>> items = {
        {"version", "1"}, {"COMITY_ALGO", rank == 9 ? "ring" : "tree"}, {"topology", rank == 4 ? "b" : "a"}};
    const Status status = joined.sessions[rank]->agree(items, Deadline::after_ms(20'000));
    EXPECT_EQ(status.code(), Code::kInvalidUsage);
    EXPECT_EQ(
        status.message(),
        "ranks disagree on COMITY_ALGO: rank 0 has \"tree\", rank 9 has \"ring\"; give all ranks the same");
    EXPECT_EQ(joined.sessions[rank]->verdict(), nullptr);
    // The session still works.
    EXPECT_TRUE(joined.sessions[rank]->all_gather({}, Deadline::after_ms(20'000)).ok());
  });
}

TEST(ControlAgreement, NamesAnItemThatARankLacks) {
  Joined joined = join_all(3);
  ASSERT_TRUE(joined.all()) << joined.text();
  for_each_rank(3, [&](uint32_t rank) {
    std::vector<std::pair<std::string, std::string>> items = {{"version", "1"}};
    if (rank == 2) items.emplace_back("plugin", "x");
    const Status status = joined.sessions[rank]->agree(items, Deadline::after_ms(20'000));
    EXPECT_EQ(status.message(),
              "ranks disagree on plugin: rank 0 has nothing, rank 2 has \"x\"; give all ranks the same");
  });
}

TEST(ControlGather, LargeContributionsArriveWhole) {
  constexpr uint32_t kRanks = 10;
  Joined joined = join_all(kRanks);
  ASSERT_TRUE(joined.all()) << joined.text();
  for_each_rank(kRanks, [&](uint32_t rank) {
    const Bytes mine(200'000 + rank, static_cast<std::byte>(rank));
    const auto all = joined.sessions[rank]->all_gather(mine, Deadline::after_ms(20'000));
    ASSERT_TRUE(all.ok()) << all.status().message();
    for (uint32_t other = 0; other < kRanks; ++other) {
      EXPECT_EQ((*all)[other], Bytes(200'000 + other, static_cast<std::byte>(other)));
    }
  });
}

TEST(ControlGather, OneRankMayContributeWhatTheOthersDoNot) {
  constexpr uint32_t kRanks = 176;  // of which one has a topology of 800 KB
  Joined joined = join_all(kRanks);
  ASSERT_TRUE(joined.all()) << joined.text();
  for_each_rank(kRanks, [&](uint32_t rank) {
    const Bytes mine(rank == 170 ? 800'000 : 8, static_cast<std::byte>(rank));
    const auto all = joined.sessions[rank]->all_gather(mine, Deadline::after_ms(60'000));
    ASSERT_TRUE(all.ok()) << all.status().message();
    EXPECT_EQ((*all)[170].size(), 800'000u);
  });
}

TEST(ControlGather, MoreThanCanTravelIsOneErrorForAll) {
  Joined joined = join_all(3);
  ASSERT_TRUE(joined.all()) << joined.text();
  for_each_rank(3, [&](uint32_t rank) {
    const Bytes mine(rank == 2 ? (64u << 20) : (33u << 20));
    const auto all = joined.sessions[rank]->all_gather(mine, Deadline::after_ms(60'000));
    EXPECT_EQ(all.status().code(), Code::kInvalidArgument);
    EXPECT_EQ(
        all.status().message(),
        "ranks contribute 136314880 bytes and more to one all-gather of initialisation, rank 2 the most with "
        "67108864; 134217728 in all are the limit");
  });
}

TEST(ControlGather, ARankThatNeverComesIsNamedToAllWithinTheDeadline) {
  constexpr uint32_t kRanks = 12;  // ranks 9 to 11 are below rank 1
  Joined joined = join_all(kRanks);
  ASSERT_TRUE(joined.all()) << joined.text();
  for_each_rank(kRanks, [&](uint32_t rank) {
    if (rank == 10) return;
    const auto all = joined.sessions[rank]->all_gather({}, Deadline::after_ms(rank == 1 ? 300 : 20'000));
    EXPECT_EQ(all.status().code(), Code::kTimeout);
    EXPECT_NE(all.status().message().find("waited for rank 10 "), std::string::npos)
        << all.status().message();
  });
}

}  // namespace
}  // namespace comity::control
