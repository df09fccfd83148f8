// Communicators that do not block: made, used and ended behind the caller's back.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "src/base/clock.h"
#include "tests/support/api_calls.h"
#include "tests/support/ranks.h"
#include "tests/support/spawn.h"
#include "tests/support/streams.h"

namespace comity::test {
namespace {

comityConfig_t not_blocking() {
  comityConfig_t config = COMITY_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

comityComm_t begin(const comityUniqueId& id, int nranks, int rank) {
  comityConfig_t config = not_blocking();
  comityComm_t comm = nullptr;
  EXPECT_EQ(comityCommInitRankConfig(&comm, nranks, id, rank, &config), comityInProgress) << last();
  EXPECT_NE(comm, nullptr);
  return comm;
}

class NonblockingOver : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { ASSERT_EQ(comityGetUniqueId(&id_), comitySuccess) << last(); }
  // Both ranks of one thread.
  std::array<comityComm_t, 2> pair() {
    std::array<comityComm_t, 2> comms{begin(id_, 2, 0), begin(id_, 2, 1)};
    for (comityComm_t comm : comms) EXPECT_EQ(settled(comm), comitySuccess) << comityGetLastError(comm);
    return comms;
  }
  comityUniqueId id_;
  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam()};
};

TEST_P(NonblockingOver, InitReturnsAtOnceAndTheHandleTakesNoCallBeforeItIsDone) {
  comityComm_t first = begin(id_, 2, 0);
  int64_t value = 20;
  comityResult_t async = comitySuccess;
  EXPECT_EQ(comityCommGetAsyncError(first, &async), comitySuccess);
  EXPECT_EQ(async, comityInProgress);
  EXPECT_EQ(comityAllReduce(&value, &value, 1, comityInt64, comitySum, first, nullptr), comityInvalidUsage);
  EXPECT_NE(last().find("is not made yet"), std::string::npos) << last();
  int rank = -1, count = 0;
  EXPECT_EQ(comityCommUserRank(first, &rank), comitySuccess);
  EXPECT_EQ(comityCommCount(first, &count), comitySuccess);
  EXPECT_EQ(rank, 0);
  EXPECT_EQ(count, 2);
  comityComm_t second = begin(id_, 2, 1);
  for (comityComm_t comm : {first, second}) ASSERT_EQ(settled(comm), comitySuccess) << last();
  int64_t other = 22;
  EXPECT_EQ(comityAllReduce(&value, &value, 1, comityInt64, comitySum, first, nullptr), comityInProgress);
  EXPECT_EQ(comityAllReduce(&other, &other, 1, comityInt64, comitySum, second, nullptr), comityInProgress);
  for (comityComm_t comm : {first, second}) ASSERT_EQ(settled(comm), comitySuccess) << last();
  EXPECT_EQ(value, 42);
  EXPECT_EQ(other, 42);
  for (comityComm_t comm : {first, second}) EXPECT_EQ(comityCommDestroy(comm), comitySuccess);
}

TEST_P(NonblockingOver, CallsWithoutAStreamAndWithOneKeepTheirOrder) {
  const auto comms = pair();
  const Streams streams(2);
  std::array<std::vector<int64_t>, 2> buffers;
  buffers.fill(std::vector<int64_t>(30'011, 1));
  for (size_t r = 0; r < 2; ++r) {
    auto& buffer = buffers[r];
    for (int i = 0; i < 12; ++i) {
      const bool on_stream = i % 3 == static_cast<int>(r);
      EXPECT_EQ(comityAllReduce(buffer.data(), buffer.data(), buffer.size(), comityInt64, comitySum, comms[r],
                                on_stream ? streams[r] : nullptr),
                on_stream ? comitySuccess : comityInProgress)
          << last();
    }
    ASSERT_EQ(comityGroupStart(), comitySuccess);
    EXPECT_EQ(comityBarrier(comms[r], nullptr), comitySuccess);
    EXPECT_EQ(comityGroupEnd(), comityInProgress);
  }
  for (comityComm_t comm : comms) ASSERT_EQ(settled(comm), comitySuccess) << last();
  ASSERT_EQ(streams.synchronize(), comitySuccess) << last();
  for (const auto& buffer : buffers) EXPECT_EQ(buffer, std::vector<int64_t>(30'011, 1 << 12));
  for (comityComm_t comm : comms) EXPECT_EQ(comityCommDestroy(comm), comitySuccess);
}

TEST_P(NonblockingOver, AMismatchIsToldByGetAsyncErrorAndTheNextCall) {
  const auto comms = pair();
  int64_t value = 1;
  EXPECT_EQ(comityAllReduce(&value, &value, 1, comityInt64, comitySum, comms[0], nullptr), comityInProgress);
  EXPECT_EQ(comityAllReduce(&value, &value, 1, comityInt64, comityMax, comms[1], nullptr), comityInProgress);
  for (comityComm_t comm : comms) {
    EXPECT_EQ(settled(comm), comityInvalidUsage);
    EXPECT_NE(std::string(comityGetLastError(comm)).find("ranks disagree"), std::string::npos);
    EXPECT_EQ(comityBarrier(comm, nullptr), comityInvalidUsage);
  }
  for (comityComm_t comm : comms) EXPECT_EQ(comityCommDestroy(comm), comityInvalidUsage);
}

TEST_P(NonblockingOver, AbortWhileInitIsInProgressReturnsAtOnceAndTheOthersHearOfIt) {
  comityComm_t waits = begin(id_, 3, 0);
  comityComm_t aborts = begin(id_, 3, 1);
  const uint64_t begun_ns = now_ns();
  EXPECT_EQ(comityCommAbort(aborts), comitySuccess) << last();
  EXPECT_LT(now_ns() - begun_ns, 1'000'000'000u);  // ten times what is promised
  EXPECT_EQ(settled(waits), comityRemoteError);
  EXPECT_NE(std::string(comityGetLastError(waits)).find("rank 1"), std::string::npos)
      << comityGetLastError(waits);
  EXPECT_EQ(comityBarrier(waits, nullptr), comityInvalidUsage);
  EXPECT_NE(last().find("could not be made"), std::string::npos) << last();
  EXPECT_EQ(comityCommAbort(waits), comitySuccess);
  EXPECT_EQ(comityCommAbort(waits), comityInvalidArgument);
}

TEST_P(NonblockingOver, DestroyWhileInitIsInProgressIsAbort) {
  comityComm_t comm = begin(id_, 2, 0);
  const uint64_t begun_ns = now_ns();
  EXPECT_EQ(comityCommDestroy(comm), comitySuccess) << last();
  EXPECT_LT(now_ns() - begun_ns, 1'000'000'000u);
  EXPECT_EQ(comityCommDestroy(comm), comityInvalidArgument);
}

// At moments spread over the time that init takes; the second at once, or once it has heard of the first.
TEST_P(NonblockingOver, AbortAtAnyMomentOfInitEndsBoth) {
  for (size_t round = 0; round < 20; ++round) {
    comityUniqueId id;
    ASSERT_EQ(comityGetUniqueId(&id), comitySuccess);
    const std::array<comityComm_t, 2> comms{begin(id, 2, 0), begin(id, 2, 1)};
    const uint64_t from_ns = now_ns();
    while (now_ns() - from_ns < round * 1'500'000) std::this_thread::yield();
    for (const size_t turn : {0, 1}) {
      const comityComm_t comm = comms[(round + turn) % 2];
      uint64_t begun_ns = now_ns();
      if (turn == 1 && round % 4 < 2) {
        EXPECT_NE(settled(comm), comityInProgress);
        EXPECT_LT(now_ns() - begun_ns, 1'000'000'000u) << round;  // ten times what is promised
        begun_ns = now_ns();
      }
      ASSERT_EQ(comityCommAbort(comm), comitySuccess) << last();
      EXPECT_LT(now_ns() - begun_ns, 1'000'000'000u) << round;
    }
  }
}

TEST_P(NonblockingOver, AnInitThatFailsSaysWhyAndIsGivenBack) {
  comityConfig_t config = not_blocking();
  config.initTimeoutMs = 300;
  comityComm_t comm = nullptr;
  ASSERT_EQ(comityCommInitRankConfig(&comm, 2, id_, 0, &config), comityInProgress);
  EXPECT_EQ(settled(comm), comityTimeout);
  EXPECT_NE(std::string(comityGetLastError(comm)).find("missing ranks: 1"), std::string::npos)
      << comityGetLastError(comm);
  EXPECT_EQ(comityCommAbort(comm), comitySuccess);
}

INSTANTIATE_TEST_SUITE_P(Over, NonblockingOver, testing::Values("shm", "tcp"),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace comity::test
