// comityCommSplit of communicators that do not block: in order with their other calls, used when it is done,
// aborted and destroyed at any time. One thread is all ranks, unless a test says otherwise.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "src/base/clock.h"
#include "tests/support/api_calls.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

constexpr size_t kRanks = 2;
constexpr uint64_t kSoonNs = 1'000'000'000;  // ten times what is promised

using Handles = std::array<comityComm_t, kRanks>;

comityConfig_t config_of(int blocking) {
  comityConfig_t config = COMITY_CONFIG_INITIALIZER;
  config.blocking = blocking;
  return config;
}

class SplitBehindOver : public testing::TestWithParam<const char*> {
 protected:
  // Ranks of a communicator that does not block.
  Handles ranks() {
    comityUniqueId id;
    EXPECT_EQ(comityGetUniqueId(&id), comitySuccess) << last();
    comityConfig_t config = config_of(0);
    Handles comms{};
    for (size_t r = 0; r < kRanks; ++r) {
      EXPECT_EQ(comityCommInitRankConfig(&comms[r], kRanks, id, static_cast<int>(r), &config),
                comityInProgress);
    }
    expect_settled(comms);
    return comms;
  }
  static void expect_settled(const Handles& comms, comityResult_t expected = comitySuccess) {
    for (comityComm_t comm : comms) {
      if (comm == nullptr) continue;
      EXPECT_EQ(settled(comm), expected) << comityGetLastError(comm);
    }
  }
  static comityComm_t split(comityComm_t comm, int color, int key = 0, comityConfig_t* config = nullptr) {
    comityComm_t made = comm;
    EXPECT_EQ(comityCommSplit(comm, color, key, &made, config), comityInProgress) << last();
    return made;
  }
  // Sums of `value` and of twice as much come to three times as much.
  static void expect_works(const Handles& comms, int64_t value, size_t count = 1000) {
    std::array<std::vector<int64_t>, kRanks> buffers;
    for (size_t r = 0; r < kRanks; ++r) {
      buffers[r].assign(count, value * static_cast<int64_t>(r + 1));
      EXPECT_EQ(sum(buffers[r], comms[r], nullptr), comityInProgress) << last();
    }
    expect_settled(comms);
    for (const auto& buffer : buffers) EXPECT_EQ(buffer, std::vector<int64_t>(count, 3 * value));
  }
  static void destroy(const Handles& comms) {
    for (comityComm_t comm : comms) {
      if (comm == nullptr) continue;
      EXPECT_EQ(comityCommDestroy(comm), comitySuccess) << last();
    }
  }
  static void abort(const Handles& comms) {
    for (comityComm_t comm : comms) EXPECT_EQ(comityCommAbort(comm), comitySuccess) << last();
  }
  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam()};
};

TEST_P(SplitBehindOver, ReturnsAtOnceAndTheNewOneTakesNoCallBeforeItIsDone) {
  const Handles comms = ranks();
  Handles made{};
  made[0] = split(comms[0], 7, 1);
  comityResult_t async = comitySuccess;
  for (comityComm_t comm : {comms[0], made[0]}) {
    EXPECT_EQ(comityCommGetAsyncError(comm, &async), comitySuccess);
    EXPECT_EQ(async, comityInProgress);
  }
  EXPECT_EQ(comityBarrier(made[0], nullptr), comityInvalidUsage);
  EXPECT_NE(last().find("the communicator that rank 0 splits off is not made yet"), std::string::npos)
      << last();
  int number = -1;
  EXPECT_EQ(comityCommUserRank(made[0], &number), comityInvalidUsage) << "nobody knows it yet";
  EXPECT_EQ(comityCommCount(made[0], &number), comityInvalidUsage);
  comityComm_t none = nullptr;
  EXPECT_EQ(comityCommSplit(made[0], 0, 0, &none, nullptr), comityInvalidUsage);
  EXPECT_EQ(comityCommFinalize(made[0]), comityInvalidUsage);
  made[1] = split(comms[1], 7, 0);
  expect_settled(made);
  expect_settled(comms);
  for (size_t r = 0; r < kRanks; ++r) {
    EXPECT_EQ(comityCommUserRank(made[r], &number), comitySuccess) << last();
    EXPECT_EQ(number, r == 0 ? 1 : 0) << "by key";
    EXPECT_EQ(comityCommCount(made[r], &number), comitySuccess);
    EXPECT_EQ(number, 2);
  }
  expect_works(made, 5);
  destroy(comms);
  expect_works(made, 6, 100'003);
  destroy(made);
}

TEST_P(SplitBehindOver, IsInOrderWithTheCallsBeforeAndAfterIt) {
  const Handles comms = ranks();
  std::array<std::vector<int64_t>, kRanks> buffers;
  buffers.fill(std::vector<int64_t>(50'021, 1));
  Handles first{}, second{};
  for (size_t r = 0; r < kRanks; ++r) {
    EXPECT_EQ(sum(buffers[r], comms[r], nullptr), comityInProgress);
    first[r] = split(comms[r], 0);
    EXPECT_EQ(sum(buffers[r], comms[r], nullptr), comityInProgress);
    second[r] = split(comms[r], static_cast<int>(r));
    EXPECT_EQ(sum(buffers[r], comms[r], nullptr), comityInProgress);
    EXPECT_EQ(comityCommFinalize(comms[r]), comityInProgress) << last();
  }
  for (const Handles& handles : {comms, first, second}) expect_settled(handles);
  for (const auto& buffer : buffers) EXPECT_EQ(buffer, std::vector<int64_t>(50'021, 8));
  expect_works(first, 4);
  for (const Handles& handles : {comms, first, second}) destroy(handles);
}

TEST_P(SplitBehindOver, WithoutAColourIsPolledOnTheParent) {
  const Handles comms = ranks();
  EXPECT_EQ(split(comms[0], COMITY_SPLIT_NOCOLOR), nullptr);
  comityResult_t async = comitySuccess;
  EXPECT_EQ(comityCommGetAsyncError(comms[0], &async), comitySuccess);
  EXPECT_EQ(async, comityInProgress);
  const comityComm_t alone = split(comms[1], 0);
  expect_settled(comms);
  EXPECT_EQ(settled(alone), comitySuccess) << comityGetLastError(alone);
  EXPECT_EQ(comityCommDestroy(alone), comitySuccess) << last();
  expect_works(comms, 1);
  destroy(comms);
}

TEST_P(SplitBehindOver, TheParentSaysWhetherItBlocksAndTheConfigWhetherTheNewOneDoes) {
  const Handles comms = ranks();
  Handles made{};
  comityConfig_t blocking = config_of(1);
  for (size_t r = 0; r < kRanks; ++r) made[r] = split(comms[r], 0, 0, &blocking);
  expect_settled(made);
  Handles parts{};
  std::vector<std::thread> threads;
  for (size_t r = 0; r < kRanks; ++r) {
    threads.emplace_back([&, r] {
      std::vector<int64_t> buffer(10, 3);
      EXPECT_EQ(sum(buffer, made[r], nullptr), comitySuccess) << last();
      EXPECT_EQ(buffer, std::vector<int64_t>(10, 6));
      comityConfig_t not_blocking = config_of(0);
      EXPECT_EQ(comityCommSplit(made[r], 0, 0, &parts[r], &not_blocking), comitySuccess) << last();
    });
  }
  for (std::thread& thread : threads) thread.join();
  expect_works(parts, 2);
  for (const Handles& handles : {comms, made, parts}) destroy(handles);
}

TEST_P(SplitBehindOver, AGroupsEndBeginsIt) {
  const Handles comms = ranks();
  Handles pairs{}, singles{};
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  for (size_t r = 0; r < kRanks; ++r) {
    ASSERT_EQ(comityCommSplit(comms[r], 0, 0, &pairs[r], nullptr), comitySuccess) << last();
    ASSERT_EQ(comityBarrier(comms[r], nullptr), comitySuccess);
    ASSERT_EQ(comityCommSplit(comms[r], static_cast<int>(r), 0, &singles[r], nullptr), comitySuccess);
    ASSERT_EQ(pairs[r], nullptr);
  }
  ASSERT_EQ(comityGroupEnd(), comityInProgress) << last();
  for (const Handles& handles : {comms, pairs, singles}) expect_settled(handles);
  expect_works(pairs, 9);
  for (const Handles& handles : {comms, pairs, singles}) destroy(handles);
}

// --- ended meanwhile ---------------------------------------------------------------------------------------

TEST_P(SplitBehindOver, TheNewOneAbortedOrDestroyedMeanwhileLeavesTheParentToItself) {
  for (const bool destroys : {false, true}) {
    const Handles comms = ranks();
    const comityComm_t aborted = split(comms[0], 0);
    const uint64_t begun_ns = now_ns();
    EXPECT_EQ(destroys ? comityCommDestroy(aborted) : comityCommAbort(aborted), comitySuccess) << last();
    EXPECT_LT(now_ns() - begun_ns, kSoonNs) << "it waits for nobody";
    EXPECT_EQ(comityCommAbort(aborted), comityInvalidArgument) << "dead";
    const comityComm_t other = split(comms[1], 0);
    expect_settled(comms);
    const Deadline deadline = Deadline::after_ms(20'000);
    comityResult_t told = comitySuccess;
    while (told != comityRemoteError && !deadline.passed())
      ASSERT_EQ(comityCommGetAsyncError(other, &told), comitySuccess) << last();
    EXPECT_EQ(told, comityRemoteError);
    EXPECT_NE(std::string(comityGetLastError(other)).find("rank 0 aborted"), std::string::npos)
        << comityGetLastError(other);
    EXPECT_EQ(comityCommAbort(other), comitySuccess) << last();
    expect_works(comms, 2);
    destroy(comms);
  }
}

TEST_P(SplitBehindOver, TheParentAbortedMeanwhileEndsBoth) {
  const Handles comms = ranks();
  const comityComm_t made = split(comms[0], 0), queued = split(comms[0], 0);
  const uint64_t begun_ns = now_ns();
  EXPECT_EQ(comityCommAbort(comms[0]), comitySuccess) << last();
  EXPECT_LT(now_ns() - begun_ns, kSoonNs);
  for (comityComm_t comm : {made, queued}) {
    EXPECT_EQ(settled(comm), comityRemoteError) << comityGetLastError(comm);
    EXPECT_EQ(comityBarrier(comm, nullptr), comityInvalidUsage);
    EXPECT_NE(last().find("could not be made"), std::string::npos) << last();
    EXPECT_EQ(comityCommDestroy(comm), comitySuccess) << last();
  }
  comityComm_t other = nullptr;
  if (comityCommSplit(comms[1], 0, 0, &other, nullptr) == comityInProgress) {
    EXPECT_EQ(settled(other), comityRemoteError);
    EXPECT_EQ(comityCommAbort(other), comitySuccess) << last();
  }
  EXPECT_EQ(comityCommAbort(comms[1]), comitySuccess) << last();
}

TEST_P(SplitBehindOver, DestroyOfTheParentWaitsForIt) {
  const Handles comms = ranks();
  Handles made{};
  for (size_t r = 0; r < kRanks; ++r) made[r] = split(comms[r], 0);
  destroy(comms);
  expect_settled(made);
  expect_works(made, 3);
  destroy(made);
}

// At moments spread over the time that a split takes.
TEST_P(SplitBehindOver, AbortAtAnyMomentEndsWhatItNames) {
  for (uint64_t delay_us = 0; delay_us < 6'000; delay_us += 300) {
    const Handles comms = ranks();
    Handles made{};
    for (size_t r = 0; r < kRanks; ++r) made[r] = split(comms[r], 0);
    const uint64_t from_ns = now_ns();
    while (now_ns() - from_ns < delay_us * 1000) std::this_thread::yield();
    const bool parent = delay_us / 300 % 2 == 0;
    const uint64_t begun_ns = now_ns();
    ASSERT_EQ(comityCommAbort(parent ? comms[0] : made[0]), comitySuccess) << last();
    EXPECT_LT(now_ns() - begun_ns, 2 * kSoonNs) << delay_us;
    if (parent) {
      EXPECT_EQ(comityCommAbort(made[0]), comitySuccess) << last();
    } else {
      expect_settled(comms);
      EXPECT_EQ(comityCommDestroy(comms[0]), comitySuccess) << last();
    }
    EXPECT_EQ(comityCommAbort(made[1]), comitySuccess) << last();
    EXPECT_EQ(comityCommAbort(comms[1]), comitySuccess) << last();
  }
}

TEST_P(SplitBehindOver, ARankThatMakesAnotherCallInsteadIsNamedByBoth) {
  const Handles comms = ranks();
  const comityComm_t made = split(comms[0], 0);
  char byte = 0;
  EXPECT_EQ(comityBroadcast(&byte, &byte, 1, comityInt8, 0, comms[1], nullptr), comityInProgress);
  for (comityComm_t comm : {made, comms[0], comms[1]}) {
    EXPECT_EQ(settled(comm), comityInvalidUsage);
    EXPECT_NE(std::string(comityGetLastError(comm)).find("rank 1 called broadcast"), std::string::npos)
        << comityGetLastError(comm);
  }
  EXPECT_EQ(comityCommAbort(made), comitySuccess) << last();
  abort(comms);
}

// --- several of one family ---------------------------------------------------------------------------------

// The ranks take the two up in different orders, and so may come to different numbers for the new ones.
TEST_P(SplitBehindOver, SplitsOfTwoOfOneFamilyAtOnceDoNotMixUpTheirNewOnes) {
  const Handles whole = ranks();
  Handles other{};
  for (size_t r = 0; r < kRanks; ++r) other[r] = split(whole[r], 0);
  expect_settled(other);
  for (int round = 0; round < 30; ++round) {
    Handles of_whole{}, of_other{};
    for (size_t r = 0; r < kRanks; ++r) {
      if (r == 0) of_whole[r] = split(whole[r], 0);
      of_other[r] = split(other[r], 0);
      if (r != 0) of_whole[r] = split(whole[r], 0);
    }
    expect_settled(of_whole);
    expect_settled(of_other);
    std::array<std::array<std::vector<int64_t>, kRanks>, 2> buffers;
    for (size_t r = 0; r < kRanks; ++r) {
      for (size_t which = 0; which < 2; ++which) {
        buffers[which][r].assign(20'000, static_cast<int64_t>(10 + which));
        EXPECT_EQ(sum(buffers[which][r], which == 0 ? of_whole[r] : of_other[r], nullptr), comityInProgress);
      }
    }
    expect_settled(of_whole);
    expect_settled(of_other);
    for (size_t r = 0; r < kRanks; ++r) {
      ASSERT_EQ(buffers[0][r], std::vector<int64_t>(20'000, 20)) << round;
      ASSERT_EQ(buffers[1][r], std::vector<int64_t>(20'000, 22)) << round;
    }
    destroy(of_whole);
    destroy(of_other);
  }
  destroy(other);
  destroy(whole);
}

INSTANTIATE_TEST_SUITE_P(Over, SplitBehindOver, testing::Values("shm", "tcp"),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace comity::test
