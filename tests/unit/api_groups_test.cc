// Groups of the C API: nesting, mixing streams and none, making communicators, misuse.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/api_calls.h"
#include "tests/support/ranks.h"
#include "tests/support/spawn.h"
#include "tests/support/streams.h"

namespace comity::test {
namespace {

class GroupsOver : public testing::TestWithParam<const char*> {
  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam()};
};

TEST_P(GroupsOver, NestAndTheOutermostEndCounts) {
  Ranks ranks(3);
  std::vector<std::vector<int64_t>> buffers(3, std::vector<int64_t>(1009, 2));
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  for (size_t r = 0; r < 3; ++r) {
    ASSERT_EQ(comityGroupStart(), comitySuccess);
    ASSERT_EQ(comityGroupStart(), comitySuccess);
    EXPECT_EQ(sum(buffers[r], ranks.comms[r], nullptr), comitySuccess);
    EXPECT_EQ(comityGroupEnd(), comitySuccess);
    EXPECT_EQ(comityGroupEnd(), comitySuccess);
    EXPECT_EQ(buffers[r], std::vector<int64_t>(1009, 2)) << "nothing is carried out inside";
  }
  ASSERT_EQ(comityGroupEnd(), comitySuccess) << last();
  for (const auto& buffer : buffers) EXPECT_EQ(buffer, std::vector<int64_t>(1009, 6));
  EXPECT_EQ(comityGroupEnd(), comityInvalidUsage);
}

// Doubled on a stream, on none and on another stream; the second is complete when the group ends.
TEST_P(GroupsOver, CallsWithStreamsAndWithoutKeepTheirOrder) {
  Ranks ranks(2);
  const Streams streams(4);
  std::vector<std::vector<int64_t>> first(2, std::vector<int64_t>(70'001, 1)), second = first;
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  for (size_t r = 0; r < 2; ++r) {
    EXPECT_EQ(sum(first[r], ranks.comms[r], streams[2 * r]), comitySuccess);
    EXPECT_EQ(comityBroadcast(first[r].data(), second[r].data(), first[r].size(), comityInt64, 1,
                              ranks.comms[r], nullptr),
              comitySuccess);
    EXPECT_EQ(sum(first[r], ranks.comms[r], streams[2 * r + 1]), comitySuccess);
  }
  ASSERT_EQ(comityGroupEnd(), comitySuccess) << last();
  for (const auto& buffer : second) EXPECT_EQ(buffer, std::vector<int64_t>(70'001, 2));
  ASSERT_EQ(streams.synchronize(), comitySuccess) << last();
  for (const auto& buffer : first) EXPECT_EQ(buffer, std::vector<int64_t>(70'001, 4));
}

// One of two communicators has calls on a stream already, which wait for a rank that this group serves.
TEST_P(GroupsOver, ACommunicatorThatIsBusyDoesNotHoldUpAnother) {
  Ranks busy(2), other(2);
  const Streams streams(2);
  std::vector<std::vector<int64_t>> a(2, std::vector<int64_t>(64, 1)), b = a;
  ASSERT_EQ(sum(a[0], busy.comms[0], streams[0]), comitySuccess);
  ASSERT_EQ(sum(b[1], other.comms[1], streams[1]), comitySuccess);
  ASSERT_EQ(sum(a[1], busy.comms[1], streams[1]), comitySuccess) << "behind the other communicator's call";
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  for (size_t r = 0; r < 2; ++r) EXPECT_EQ(sum(a[r], busy.comms[r], nullptr), comitySuccess);
  EXPECT_EQ(sum(b[0], other.comms[0], nullptr), comitySuccess);
  ASSERT_EQ(comityGroupEnd(), comitySuccess) << last();
  for (const auto& buffer : a) EXPECT_EQ(buffer, std::vector<int64_t>(64, 4));
  ASSERT_EQ(streams.synchronize(), comitySuccess) << last();
  for (const auto& buffer : b) EXPECT_EQ(buffer, std::vector<int64_t>(64, 2));
}

TEST_P(GroupsOver, TheFirstErrorInTheOrderOfTheCallsIsReturned) {
  Ranks wrong(2), healthy(2);
  std::vector<std::vector<int64_t>> good(2, std::vector<int64_t>(64, 1)), bad(2, std::vector<int64_t>(64, 1));
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  for (size_t r = 0; r < 2; ++r) EXPECT_EQ(sum(good[r], healthy.comms[r], nullptr), comitySuccess);
  EXPECT_EQ(sum(bad[0], wrong.comms[0], nullptr), comitySuccess);
  EXPECT_EQ(comityBarrier(wrong.comms[1], nullptr), comitySuccess);
  EXPECT_EQ(comityGroupEnd(), comityInvalidUsage);
  EXPECT_NE(last().find("comityAllReduce"), std::string::npos) << last();
  EXPECT_NE(last().find("ranks disagree"), std::string::npos) << last();
  for (const auto& buffer : good) EXPECT_EQ(buffer, std::vector<int64_t>(64, 2)) << "it is carried out";
}

INSTANTIATE_TEST_SUITE_P(Over, GroupsOver, testing::Values("shm", "tcp"),
                         [](const auto& each) { return std::string(each.param); });

TEST(Groups, MakeCommunicatorsOfOneThread) {
  std::array<comityComm_t, 4> comms{};
  std::array<comityUniqueId, 2> ids;
  for (comityUniqueId& id : ids) ASSERT_EQ(comityGetUniqueId(&id), comitySuccess);
  comityConfig_t config = COMITY_CONFIG_INITIALIZER;
  config.blocking = 0;  // a group's init is one of a blocking communicator
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  for (int r = 0; r < 2; ++r) {
    EXPECT_EQ(comityCommInitRank(&comms[static_cast<size_t>(r)], 2, ids[0], r), comitySuccess);
    EXPECT_EQ(comityCommInitRankConfig(&comms[static_cast<size_t>(r) + 2], 2, ids[1], 1 - r, &config),
              comitySuccess);
  }
  EXPECT_EQ(comms[0], nullptr) << "there is none before the end";
  ASSERT_EQ(comityGroupEnd(), comitySuccess) << last();
  std::array<std::vector<int64_t>, 4> buffers;
  buffers.fill(std::vector<int64_t>(5, 3));
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(sum(buffers[i], comms[i], nullptr), comitySuccess);
  ASSERT_EQ(comityGroupEnd(), comitySuccess) << last();
  for (const auto& buffer : buffers) EXPECT_EQ(buffer, std::vector<int64_t>(5, 6));
  int rank = -1;
  EXPECT_EQ(comityCommUserRank(comms[2], &rank), comitySuccess);
  EXPECT_EQ(rank, 1);
  for (comityComm_t comm : comms) EXPECT_EQ(comityCommDestroy(comm), comitySuccess);
}

// Of one thread: the ranks of a communicator are divided twice, between calls on it.
TEST(Groups, SplitCommunicatorsOfOneThread) {
  Ranks ranks(4);
  std::array<comityComm_t, 4> halves{}, wholes{};
  std::array<std::vector<int64_t>, 4> buffers;
  buffers.fill(std::vector<int64_t>(1009, 1));
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  for (size_t r = 0; r < 4; ++r) {
    const int rank = static_cast<int>(r);
    EXPECT_EQ(sum(buffers[r], ranks.comms[r], nullptr), comitySuccess);
    EXPECT_EQ(comityCommSplit(ranks.comms[r], rank % 2, 0, &halves[r], nullptr), comitySuccess) << last();
    EXPECT_EQ(
        comityCommSplit(ranks.comms[r], rank == 3 ? COMITY_SPLIT_NOCOLOR : 7, -rank, &wholes[r], nullptr),
        comitySuccess)
        << last();
    EXPECT_EQ(halves[r], nullptr) << "there is none before the end";
  }
  ASSERT_EQ(comityGroupEnd(), comitySuccess) << last();
  EXPECT_EQ(wholes[3], nullptr) << "it has no colour";
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  for (size_t r = 0; r < 4; ++r) EXPECT_EQ(sum(buffers[r], halves[r], nullptr), comitySuccess);
  for (size_t r = 0; r < 3; ++r) EXPECT_EQ(comityBarrier(wholes[r], nullptr), comitySuccess);
  ASSERT_EQ(comityGroupEnd(), comitySuccess) << last();
  for (const auto& buffer : buffers) EXPECT_EQ(buffer, std::vector<int64_t>(1009, 8));
  int rank = -1;
  EXPECT_EQ(comityCommUserRank(wholes[0], &rank), comitySuccess);
  EXPECT_EQ(rank, 2) << "keys count backwards";
  for (size_t r = 0; r < 4; ++r) EXPECT_EQ(comityCommDestroy(halves[r]), comitySuccess);
  for (size_t r = 0; r < 3; ++r) EXPECT_EQ(comityCommDestroy(wholes[r]), comitySuccess);
}

TEST(Groups, InitAllIsCarriedOutAtTheirEnd) {
  std::array<comityComm_t, 3> comms{};
  comityComm_t alone = nullptr;
  comityUniqueId id;
  ASSERT_EQ(comityGetUniqueId(&id), comitySuccess);
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  EXPECT_EQ(comityCommInitAll(comms.data(), 3, nullptr), comitySuccess);
  EXPECT_EQ(comityCommInitRank(&alone, 1, id, 0), comitySuccess);
  for (comityComm_t comm : comms) EXPECT_EQ(comm, nullptr) << "there is none before the end";
  ASSERT_EQ(comityGroupEnd(), comitySuccess) << last();
  for (size_t r = 0; r < 3; ++r) {
    int rank = -1;
    EXPECT_EQ(comityCommUserRank(comms[r], &rank), comitySuccess) << last();
    EXPECT_EQ(rank, static_cast<int>(r));
    EXPECT_EQ(comityCommDestroy(comms[r]), comitySuccess);
  }
  EXPECT_EQ(comityCommDestroy(alone), comitySuccess);
}

TEST(Groups, AnInitAllThatIsRefusedSpoilsTheGroup) {
  std::array<comityComm_t, 2> comms{};
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  EXPECT_EQ(comityCommInitAll(comms.data(), 2, nullptr), comitySuccess);
  EXPECT_EQ(comityCommInitAll(comms.data(), 1025, nullptr), comityInvalidArgument);
  EXPECT_EQ(comityGroupEnd(), comityInvalidArgument);
  EXPECT_NE(last().find("from 1 to 1024"), std::string::npos) << last();
  for (comityComm_t comm : comms) EXPECT_EQ(comm, nullptr);
}

TEST(Groups, OnAnErrorOfOneInitAllHandlesAreNull) {
  const ScopedEnv patience("COMITY_INIT_TIMEOUT_MS", "1000");
  std::array<comityComm_t, 3> comms{};
  std::array<comityUniqueId, 2> ids;
  for (comityUniqueId& id : ids) ASSERT_EQ(comityGetUniqueId(&id), comitySuccess);
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  for (int r = 0; r < 2; ++r)
    EXPECT_EQ(comityCommInitRank(&comms[static_cast<size_t>(r)], 2, ids[0], r), comitySuccess);
  EXPECT_EQ(comityCommInitRank(&comms[2], 2, ids[1], 0), comitySuccess);  // its rank 1 never comes
  EXPECT_EQ(comityGroupEnd(), comityTimeout);
  EXPECT_NE(last().find("missing ranks: 1"), std::string::npos) << last();
  for (comityComm_t comm : comms) EXPECT_EQ(comm, nullptr);
}

TEST(Groups, AConfigThatIsNoneSpoilsTheGroup) {
  comityComm_t comm = nullptr;
  comityUniqueId id;
  ASSERT_EQ(comityGetUniqueId(&id), comitySuccess);
  comityConfig_t config = COMITY_CONFIG_INITIALIZER;
  config.magic = 1;
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  EXPECT_EQ(comityCommInitRankConfig(&comm, 1, id, 0, &config), comityInvalidArgument);
  EXPECT_EQ(comityGroupEnd(), comityInvalidArgument);
  EXPECT_NE(last().find("magic"), std::string::npos) << last();
  EXPECT_EQ(comm, nullptr);
}

TEST(Groups, EndingACommunicatorInsideOneIsRefused) {
  Ranks ranks(1);
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  EXPECT_EQ(comityCommDestroy(ranks.comms[0]), comityInvalidUsage);
  EXPECT_EQ(comityCommFinalize(ranks.comms[0]), comityInvalidUsage);
  EXPECT_EQ(comityGroupEnd(), comitySuccess) << last();
  EXPECT_EQ(comityBarrier(ranks.comms[0], nullptr), comitySuccess) << "it lives";
}

}  // namespace
}  // namespace comity::test
