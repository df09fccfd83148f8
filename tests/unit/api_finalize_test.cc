// Finalize: completes what was begun, compares what ranks did, and can be aborted while it waits.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
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

class FinalizeOver : public testing::TestWithParam<const char*> {
 protected:
  // Two ranks that do not block.
  std::array<comityComm_t, 2> pair() {
    comityUniqueId id;
    EXPECT_EQ(comityGetUniqueId(&id), comitySuccess);
    comityConfig_t config = COMITY_CONFIG_INITIALIZER;
    config.blocking = 0;
    std::array<comityComm_t, 2> comms{};
    for (int r = 0; r < 2; ++r) {
      EXPECT_EQ(comityCommInitRankConfig(&comms[static_cast<size_t>(r)], 2, id, r, &config),
                comityInProgress);
    }
    for (comityComm_t comm : comms) EXPECT_EQ(settled(comm), comitySuccess) << comityGetLastError(comm);
    return comms;
  }
  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam()};
};

TEST_P(FinalizeOver, CompletesWhatIsEnqueuedAndThenTakesNoCall) {
  Ranks ranks(3);
  const Streams streams(3);
  std::vector<std::vector<int64_t>> buffers(3, std::vector<int64_t>(100'003, 1));
  ranks.run([&](int rank, comityComm_t comm) {
    const auto r = static_cast<size_t>(rank);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(sum(buffers[r], comm, streams[r]), comitySuccess);
    EXPECT_EQ(comityCommFinalize(comm), comitySuccess) << last();
    EXPECT_EQ(comityStreamQuery(streams[r]), comitySuccess) << "all has ended";
    EXPECT_EQ(comityBarrier(comm, nullptr), comityInvalidUsage);
    EXPECT_NE(last().find("is finalized"), std::string::npos) << last();
    EXPECT_EQ(comityBarrier(comm, streams[r]), comityInvalidUsage);
    EXPECT_EQ(comityCommFinalize(comm), comityInvalidUsage);
    int number = -1;
    EXPECT_EQ(comityCommUserRank(comm, &number), comitySuccess);
    EXPECT_EQ(number, rank);
    EXPECT_EQ(settled(comm), comitySuccess);
  });
  for (const auto& buffer : buffers) EXPECT_EQ(buffer, std::vector<int64_t>(100'003, 27));
  for (comityComm_t& comm : ranks.comms)
    EXPECT_EQ(comityCommDestroy(std::exchange(comm, nullptr)), comitySuccess) << last();
}

// Rank 1 leaves its last broadcast out, which the root did not wait for.
TEST_P(FinalizeOver, ACallThatOneRankLeftOutIsToldToAll) {
  Ranks ranks(2);
  std::vector<std::vector<int64_t>> buffers(2, std::vector<int64_t>(5, 1));
  ranks.run([&](int rank, comityComm_t comm) {
    auto& buffer = buffers[static_cast<size_t>(rank)];
    EXPECT_EQ(sum(buffer, comm, nullptr), comitySuccess);
    if (rank == 0) {
      EXPECT_EQ(comityReduce(buffer.data(), buffer.data(), 0, comityInt64, comitySum, 1, comm, nullptr),
                comitySuccess);
    }
    EXPECT_EQ(comityCommFinalize(comm), comityInvalidUsage);
    EXPECT_NE(last().find("rank 0"), std::string::npos) << last();
    EXPECT_NE(last().find("rank 1"), std::string::npos) << last();
    EXPECT_EQ(heard(comm), comityInvalidUsage);
  });
}

// Two ranks take themselves for the root, the third hears from the one that is: over shared memory nobody
// meets what differs.
TEST_P(FinalizeOver, ACallThatDiffersAndWasMetByNobodyIsToldToAll) {
  Ranks ranks(3);
  ranks.run([&](int rank, comityComm_t comm) {
    std::vector<int64_t> all(9, rank), mine(3, 0);
    comityResult_t told =
        comityScatter(all.data(), mine.data(), 3, comityInt64, rank == 1 ? 1 : 0, comm, nullptr);
    if (told == comitySuccess) told = comityCommFinalize(comm);
    EXPECT_EQ(told, comityInvalidUsage);
    EXPECT_NE(last().find("scatter of 3 int64 (root 0)"), std::string::npos) << last();
    EXPECT_NE(last().find("scatter of 3 int64 (root 1)"), std::string::npos) << last();
  });
}

TEST_P(FinalizeOver, AnotherThreadsAbortEndsTheWait) {
  Ranks ranks(2);
  std::atomic<bool> inside{false};
  std::thread waits([&] {
    inside = true;
    EXPECT_EQ(comityCommFinalize(ranks.comms[0]), comityRemoteError) << last();
  });
  comityResult_t state = comitySuccess;
  const Deadline deadline = Deadline::after_ms(20'000);
  while (state != comityInProgress && !deadline.passed()) {
    ASSERT_EQ(comityCommGetAsyncError(ranks.comms[0], &state), comitySuccess);
  }
  ASSERT_EQ(state, comityInProgress) << "it finalizes";
  EXPECT_EQ(comityCommDestroy(ranks.comms[0]), comityInvalidUsage) << "another thread is inside";
  const uint64_t begun_ns = now_ns();
  EXPECT_EQ(comityCommAbort(ranks.comms[0]), comitySuccess) << last();
  EXPECT_LT(now_ns() - begun_ns, 1'000'000'000u);  // ten times what is promised
  waits.join();
  ranks.comms[0] = nullptr;
  EXPECT_EQ(comityCommFinalize(ranks.comms[1]), comityRemoteError) << "the others hear of it";
}

TEST_P(FinalizeOver, EndsWithTheTimeoutAndNamesWhoDidNotCome) {
  const ScopedEnv timeout("COMITY_TIMEOUT", "300ms");
  Ranks ranks(4);
  ranks.run([](int rank, comityComm_t comm) {
    if (rank % 2 == 1) return;
    EXPECT_EQ(comityCommFinalize(comm), comityTimeout);
    EXPECT_NE(last().find("waited for ranks 1, 3 in comityCommFinalize"), std::string::npos) << last();
  });
  EXPECT_EQ(comityCommFinalize(ranks.comms[1]), comityTimeout) << "the others hear of it";
  EXPECT_EQ(heard(ranks.comms[3]), comityTimeout);
}

TEST_P(FinalizeOver, OfASplitThatDoesNotBlockEndsWithItsOwnTimeout) {
  Ranks ranks(4);
  ranks.run([](int rank, comityComm_t comm) {
    comityConfig_t config = COMITY_CONFIG_INITIALIZER;
    config.blocking = 0;
    config.timeoutMs = 300;
    comityComm_t pair = nullptr;
    ASSERT_EQ(comityCommSplit(comm, rank / 2, -rank, &pair, &config), comitySuccess) << last();
    if (rank != 2) {
      EXPECT_EQ(comityCommFinalize(pair), comityInProgress) << last();
    }
    EXPECT_EQ(settled(pair), rank < 2 ? comitySuccess : rank == 3 ? comityTimeout : comitySuccess);
    if (rank == 3) {
      EXPECT_NE(std::string(comityGetLastError(pair))
                    .find("rank 0 (rank 3 of the family) waited for rank 1 (rank 2 of the family) in"),
                std::string::npos)
          << comityGetLastError(pair);
    }
    EXPECT_EQ(comityBarrier(comm, nullptr), comitySuccess) << "it ended alone";
    static_cast<void>(comityCommAbort(pair));
  });
}

TEST_P(FinalizeOver, OfOneThatDoesNotBlockReturnsAtOnce) {
  const auto comms = pair();
  std::array<std::vector<int64_t>, 2> buffers;
  buffers.fill(std::vector<int64_t>(50'021, 2));
  for (size_t r = 0; r < 2; ++r) {
    EXPECT_EQ(sum(buffers[r], comms[r], nullptr), comityInProgress);
    EXPECT_EQ(comityCommFinalize(comms[r]), comityInProgress) << last();
    EXPECT_EQ(comityBarrier(comms[r], nullptr), comityInvalidUsage);
  }
  for (comityComm_t comm : comms) EXPECT_EQ(settled(comm), comitySuccess) << comityGetLastError(comm);
  for (const auto& buffer : buffers) EXPECT_EQ(buffer, std::vector<int64_t>(50'021, 4));
  for (comityComm_t comm : comms) EXPECT_EQ(comityCommDestroy(comm), comitySuccess) << last();
}

TEST_P(FinalizeOver, AbortAndDestroyEndOneThatIsInProgress) {
  const auto comms = pair();
  std::vector<int64_t> buffer(64, 1);
  EXPECT_EQ(sum(buffer, comms[0], nullptr), comityInProgress);  // which rank 1 does not join
  EXPECT_EQ(comityCommFinalize(comms[0]), comityInProgress);
  const uint64_t begun_ns = now_ns();
  EXPECT_EQ(comityCommDestroy(comms[0]), comitySuccess) << last();
  EXPECT_LT(now_ns() - begun_ns, 1'000'000'000u);
  EXPECT_EQ(comityCommFinalize(comms[1]), comityInProgress);
  EXPECT_EQ(heard(comms[1]), comityRemoteError);
  EXPECT_EQ(comityCommAbort(comms[1]), comitySuccess) << last();
}

INSTANTIATE_TEST_SUITE_P(Over, FinalizeOver, testing::Values("shm", "tcp"),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace comity::test
