// Streams and events of the C API: order, overlap, errors, handles.
#include <gtest/gtest.h>
#include <malloc.h>

#include <array>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "src/base/clock.h"
#include "tests/support/api_calls.h"
#include "tests/support/ranks.h"
#include "tests/support/spawn.h"
#include "tests/support/streams.h"

namespace comity::test {
namespace {

// comitySuccess once it is there, comityInProgress if it does not come within 20 s.
template <typename Query>
comityResult_t await_success(Query query) {
  const Deadline deadline = Deadline::after_ms(20'000);
  comityResult_t result = comityInProgress;
  while ((result = query()) == comityInProgress && !deadline.passed()) std::this_thread::yield();
  return result;
}

class StreamsOver : public testing::TestWithParam<const char*> {
  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam()};
};

// One thread without a group is three ranks: every call returns before the others are made.
TEST_P(StreamsOver, ACallReturnsWhenItIsEnqueuedAndTheCallsOfAStreamKeepTheirOrder) {
  Ranks ranks(3);
  const Streams streams(3);
  for (const size_t count : {0u, 1u, 97u, 40'009u, 2'000'003u}) {
    std::vector<std::vector<int64_t>> buffers(3);
    for (size_t r = 0; r < 3; ++r) {
      buffers[r].assign(count, static_cast<int64_t>(r) + 1);
      ASSERT_EQ(sum(buffers[r], ranks.comms[r], streams[r]), comitySuccess) << last();
      ASSERT_EQ(comityBarrier(ranks.comms[r], streams[r]), comitySuccess) << last();
      ASSERT_EQ(sum(buffers[r], ranks.comms[r], streams[r]), comitySuccess) << last();
    }
    ASSERT_EQ(streams.synchronize(), comitySuccess) << last();
    for (const auto& buffer : buffers) {
      for (const int64_t value : buffer) ASSERT_EQ(value, 18);
    }
  }
}

TEST_P(StreamsOver, CallsOnOneCommunicatorKeepTheirOrderWhateverTheirStreams) {
  constexpr size_t kCalls = 40;
  Ranks ranks(2);
  const Streams streams(6);
  std::array<std::vector<int64_t>, 2> buffers{std::vector<int64_t>(1009, 1), std::vector<int64_t>(1009, 1)};
  for (size_t r = 0; r < 2; ++r) {
    // Doubled on any stream, the last time on none, which waits for the others and is complete.
    for (size_t i = 0; i < kCalls; ++i)
      ASSERT_EQ(sum(buffers[r], ranks.comms[r], streams[r * 3 + (i * (r + 1)) % 3]), comitySuccess) << last();
  }
  ranks.run([&](int rank, comityComm_t comm) {
    auto& buffer = buffers[static_cast<size_t>(rank)];
    EXPECT_EQ(sum(buffer, comm, nullptr), comitySuccess) << last();
    for (const int64_t value : buffer) ASSERT_EQ(value, int64_t{1} << (kCalls + 1));
  });
  EXPECT_EQ(streams.synchronize(), comitySuccess) << last();
}

TEST_P(StreamsOver, CommunicatorsInOtherOrdersOnOtherStreamsFinish) {
  Ranks first(2), second(2);
  const Streams streams(4);
  std::array<std::vector<int64_t>, 4> buffers;
  buffers.fill(std::vector<int64_t>(100'003, 5));
  for (int round = 0; round < 10; ++round) {
    ASSERT_EQ(sum(buffers[0], first.comms[0], streams[0]), comitySuccess);
    ASSERT_EQ(sum(buffers[1], second.comms[0], streams[1]), comitySuccess);
    ASSERT_EQ(sum(buffers[2], second.comms[1], streams[2]), comitySuccess);
    ASSERT_EQ(sum(buffers[3], first.comms[1], streams[3]), comitySuccess);
  }
  ASSERT_EQ(streams.synchronize(), comitySuccess) << last();
  for (const auto& buffer : buffers) {
    for (const int64_t value : buffer) ASSERT_EQ(value, 5 << 10);
  }
}

// Each rank has one stream, and the two communicators are in its groups in another order.
TEST_P(StreamsOver, CommunicatorsInOtherOrdersInsideGroupsOnOneStreamFinish) {
  Ranks first(2), second(2);
  const Streams streams(2);
  std::array<std::vector<int64_t>, 4> buffers;
  buffers.fill(std::vector<int64_t>(4001, 3));
  for (int round = 0; round < 10; ++round) {
    for (size_t r = 0; r < 2; ++r) {
      ASSERT_EQ(comityGroupStart(), comitySuccess);
      ASSERT_EQ(sum(buffers[2 * r], (r == 0 ? first : second).comms[r], streams[r]), comitySuccess);
      ASSERT_EQ(sum(buffers[2 * r + 1], (r == 0 ? second : first).comms[r], streams[r]), comitySuccess);
      ASSERT_EQ(comityGroupEnd(), comitySuccess) << last();
    }
  }
  ASSERT_EQ(streams.synchronize(), comitySuccess) << last();
  for (const auto& buffer : buffers) {
    for (const int64_t value : buffer) ASSERT_EQ(value, 3 << 10);
  }
}

TEST_P(StreamsOver, SeveralThreadsAndCommunicatorsAtOnceGetTheirOwnResults) {
  constexpr int kThreads = 6;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([t] {
      Ranks ranks(2);
      const Streams streams(2);
      std::array<std::vector<int64_t>, 2> buffers;
      buffers.fill(std::vector<int64_t>(static_cast<size_t>(t) * 1013 + 1, t + 1));
      for (int round = 0; round < 20; ++round) {
        for (size_t r = 0; r < 2; ++r)
          EXPECT_EQ(sum(buffers[r], ranks.comms[r], streams[r]), comitySuccess) << last();
      }
      EXPECT_EQ(streams.synchronize(), comitySuccess) << last();
      for (const auto& buffer : buffers) {
        for (const int64_t value : buffer) ASSERT_EQ(value, int64_t{t + 1} << 20);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_P(StreamsOver, AStreamWaitsForAnEventOfAnother) {
  Ranks first(2), second(2);
  const Streams streams(3);
  const Event event;
  std::vector<int64_t> mine(50'021, 20), others(50'021, 22), received(50'021, 0);
  EXPECT_EQ(comityEventQuery(event), comitySuccess) << "it was never recorded";
  EXPECT_EQ(comityStreamWaitEvent(streams[1], event), comitySuccess);
  ASSERT_EQ(sum(mine, first.comms[0], streams[0]), comitySuccess);
  ASSERT_EQ(comityEventRecord(event, streams[0]), comitySuccess);
  ASSERT_EQ(comityStreamWaitEvent(streams[1], event), comitySuccess);
  ASSERT_EQ(
      comityBroadcast(mine.data(), mine.data(), mine.size(), comityInt64, 0, second.comms[0], streams[1]),
      comitySuccess);
  EXPECT_EQ(comityEventQuery(event), comityInProgress);
  EXPECT_EQ(comityStreamQuery(streams[1]), comityInProgress);
  ASSERT_EQ(
      comityBroadcast(nullptr, received.data(), received.size(), comityInt64, 0, second.comms[1], streams[2]),
      comitySuccess);
  ASSERT_EQ(sum(others, first.comms[1], nullptr), comitySuccess);
  EXPECT_EQ(comityEventSynchronize(event), comitySuccess);
  EXPECT_EQ(comityEventQuery(event), comitySuccess);
  ASSERT_EQ(comityStreamSynchronize(streams[2]), comitySuccess);
  for (const int64_t value : received) ASSERT_EQ(value, 42);
  EXPECT_EQ(await_success([&] { return comityStreamQuery(streams[1]); }), comitySuccess);
}

// Streams hand on to each other, a long chain of events; the end is the sum of all.
TEST_P(StreamsOver, AChainOfEventsCarriesOneBufferThroughManyStreams) {
  constexpr size_t kStreams = 24;
  std::vector<std::unique_ptr<Ranks>> pairs;
  const Streams mine(kStreams), others(kStreams);
  std::vector<std::unique_ptr<Event>> events;
  std::array<std::vector<int64_t>, 2> buffers;
  buffers.fill(std::vector<int64_t>(317, 1));
  for (size_t i = 0; i < kStreams; ++i) {
    pairs.push_back(std::make_unique<Ranks>(2));
    for (size_t r = 0; r < 2; ++r) {
      const comityStream_t stream = (r == 0 ? mine : others)[i];
      if (i > 0) {
        ASSERT_EQ(comityStreamWaitEvent(stream, *events[2 * (i - 1) + r]), comitySuccess);
      }
      ASSERT_EQ(sum(buffers[r], pairs.back()->comms[r], stream), comitySuccess);
      events.push_back(std::make_unique<Event>());
      ASSERT_EQ(comityEventRecord(*events.back(), stream), comitySuccess);
    }
  }
  events.resize(2);  // given back while streams wait for them
  ASSERT_EQ(mine.synchronize(), comitySuccess) << last();
  ASSERT_EQ(others.synchronize(), comitySuccess) << last();
  for (const auto& buffer : buffers) {
    for (const int64_t value : buffer) ASSERT_EQ(value, int64_t{1} << kStreams);
  }
}

TEST_P(StreamsOver, AnErrorIsToldOnceByTheStreamAndThenByTheCommunicator) {
  Ranks ranks(2), healthy(2);
  const Streams streams(2);
  std::vector<int64_t> mine(64, 1), others(65, 1);
  ASSERT_EQ(sum(mine, ranks.comms[0], streams[0]), comitySuccess);
  ASSERT_EQ(sum(others, ranks.comms[1], streams[1]), comitySuccess);
  std::vector<int64_t> good(64, 2), fine(64, 2);
  ASSERT_EQ(sum(good, healthy.comms[0], streams[0]), comitySuccess);
  ASSERT_EQ(sum(fine, healthy.comms[1], streams[1]), comitySuccess);
  for (size_t r = 0; r < 2; ++r) {
    EXPECT_EQ(comityStreamSynchronize(streams[r]), comityInvalidUsage);
    EXPECT_NE(last().find("ranks disagree"), std::string::npos) << last();
    EXPECT_NE(last().find("comityAllReduce"), std::string::npos) << last();
    EXPECT_EQ(comityStreamSynchronize(streams[r]), comitySuccess) << "told once";
    EXPECT_EQ(comityStreamQuery(streams[r]), comitySuccess);
    comityResult_t async = comitySuccess;
    EXPECT_EQ(comityCommGetAsyncError(ranks.comms[r], &async), comitySuccess);
    EXPECT_EQ(async, comityInvalidUsage);
    EXPECT_EQ(sum(mine, ranks.comms[r], streams[r]), comityInvalidUsage) << "the next call says so at once";
    EXPECT_EQ(comityStreamSynchronize(streams[r]), comitySuccess) << "that call was not enqueued";
  }
  EXPECT_EQ(good, std::vector<int64_t>(64, 4)) << "other communicators on the stream go on";
  EXPECT_EQ(fine, good);
}

TEST_P(StreamsOver, AbortEndsWhatIsEnqueuedAndEvents) {
  Ranks ranks(3);
  const Streams streams(2);
  std::vector<int64_t> a(1 << 20, 1), b(64, 1);
  const Event event;
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(sum(a, ranks.comms[0], streams[0]), comitySuccess);
    ASSERT_EQ(sum(b, ranks.comms[0], streams[1]), comitySuccess);
  }
  ASSERT_EQ(comityEventRecord(event, streams[1]), comitySuccess);
  const uint64_t begun_ns = now_ns();
  std::thread waits([&] { EXPECT_EQ(comityEventSynchronize(event), comitySuccess); });
  ASSERT_EQ(comityCommAbort(std::exchange(ranks.comms[0], nullptr)), comitySuccess) << last();
  waits.join();
  EXPECT_LT(now_ns() - begun_ns, 1'000'000'000u);  // ten times what is promised
  for (size_t s = 0; s < 2; ++s) {
    EXPECT_EQ(comityStreamSynchronize(streams[s]), comityRemoteError);
    EXPECT_NE(last().find("aborted"), std::string::npos) << last();
  }
  EXPECT_EQ(sum(b, ranks.comms[1], nullptr), comityRemoteError) << "the others hear of it";
}

// The communicator's call stands behind one that waits for a rank.
TEST_P(StreamsOver, AbortEndsACallThatStandsBehindAnothersOnItsStream) {
  Ranks stuck(2), ranks(2);
  const Streams streams(1);
  std::vector<int64_t> a(64, 1), b(64, 1), c(64, 1);
  ASSERT_EQ(sum(a, stuck.comms[0], streams[0]), comitySuccess);
  ASSERT_EQ(sum(b, ranks.comms[0], streams[0]), comitySuccess);
  ASSERT_EQ(comityCommAbort(std::exchange(ranks.comms[0], nullptr)), comitySuccess) << last();
  EXPECT_EQ(comityStreamQuery(streams[0]), comityInProgress);
  ASSERT_EQ(sum(c, stuck.comms[1], nullptr), comitySuccess);
  EXPECT_EQ(comityStreamSynchronize(streams[0]), comityRemoteError) << "the aborted one's";
  EXPECT_EQ(a, std::vector<int64_t>(64, 2));
}

TEST_P(StreamsOver, ADestroyedStreamFinishesItsWorkAndDestroyWaitsForIt) {
  Ranks ranks(2);
  std::array<std::vector<int64_t>, 2> buffers;
  buffers.fill(std::vector<int64_t>(300'007, 4));
  for (size_t r = 0; r < 2; ++r) {
    comityStream_t stream = nullptr;
    ASSERT_EQ(comityStreamCreate(&stream), comitySuccess);
    for (int i = 0; i < 4; ++i) ASSERT_EQ(sum(buffers[r], ranks.comms[r], stream), comitySuccess);
    ASSERT_EQ(comityStreamDestroy(stream), comitySuccess);
    EXPECT_EQ(sum(buffers[r], ranks.comms[r], stream), comityInvalidArgument);
    EXPECT_NE(last().find("was destroyed"), std::string::npos) << last();
  }
  for (comityComm_t& comm : ranks.comms)
    EXPECT_EQ(comityCommDestroy(std::exchange(comm, nullptr)), comitySuccess) << last();
  for (const auto& buffer : buffers) {
    for (const int64_t value : buffer) ASSERT_EQ(value, 4 << 4);
  }
}

INSTANTIATE_TEST_SUITE_P(Over, StreamsOver, testing::Values("shm", "tcp"),
                         [](const auto& each) { return std::string(each.param); });

TEST(Streams, HandlesThatAreNoneDeadOrOfAnotherKindAreToldApart) {
  Ranks ranks(1);
  const Streams streams(1);
  const Event event;
  auto* const wrong_stream = reinterpret_cast<comityStream_t>(ranks.comms[0]);
  auto* const wrong_event = reinterpret_cast<comityEvent_t>(streams[0]);
  EXPECT_EQ(comityStreamCreate(nullptr), comityInvalidArgument);
  EXPECT_EQ(comityEventCreate(nullptr), comityInvalidArgument);
  for (const comityStream_t bad : {comityStream_t{nullptr}, wrong_stream}) {
    const char* const words = bad == nullptr ? "is NULL" : "this is no stream";
    for (const comityResult_t result :
         {comityStreamSynchronize(bad), comityStreamQuery(bad), comityStreamWaitEvent(bad, event),
          comityEventRecord(event, bad), comityStreamDestroy(bad)}) {
      EXPECT_EQ(result, comityInvalidArgument);
      EXPECT_NE(last().find(words), std::string::npos) << last();
    }
  }
  for (const comityEvent_t bad : {comityEvent_t{nullptr}, wrong_event}) {
    for (const comityResult_t result :
         {comityEventSynchronize(bad), comityEventQuery(bad), comityStreamWaitEvent(streams[0], bad),
          comityEventRecord(bad, streams[0]), comityEventDestroy(bad)}) {
      EXPECT_EQ(result, comityInvalidArgument);
    }
  }
  comityEvent_t dead = nullptr;
  ASSERT_EQ(comityEventCreate(&dead), comitySuccess);
  ASSERT_EQ(comityEventDestroy(dead), comitySuccess);
  EXPECT_EQ(comityEventDestroy(dead), comityInvalidArgument);
  EXPECT_NE(last().find("was destroyed"), std::string::npos) << last();
  EXPECT_EQ(comityBarrier(ranks.comms[0], wrong_stream), comityInvalidArgument);
}

TEST(Streams, WaitingInsideAGroupIsRefused) {
  Ranks ranks(1);
  const Streams streams(1);
  const Event event;
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  EXPECT_EQ(comityBarrier(ranks.comms[0], streams[0]), comitySuccess);
  EXPECT_EQ(comityStreamSynchronize(streams[0]), comityInvalidUsage);
  EXPECT_EQ(comityEventSynchronize(event), comityInvalidUsage);
  EXPECT_EQ(comityStreamQuery(streams[0]), comitySuccess) << "nothing is enqueued yet";
  EXPECT_EQ(comityGroupEnd(), comitySuccess) << last();
  EXPECT_EQ(comityStreamSynchronize(streams[0]), comitySuccess);
}

TEST(Streams, KeepNoMemoryForWhatHasEnded) {
  Ranks ranks(1);
  const Streams streams(2);
  const Event event;
  int64_t value = 7;
  const auto round = [&] {
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(comityAllReduce(&value, &value, 1, comityInt64, comitySum, ranks.comms[0], streams[0]),
                comitySuccess);
      ASSERT_EQ(comityEventRecord(event, streams[0]), comitySuccess);
      ASSERT_EQ(comityStreamWaitEvent(streams[1], event), comitySuccess);
    }
    ASSERT_EQ(streams.synchronize(), comitySuccess);
  };
  round();
  const size_t before = mallinfo2().uordblks;
  for (int i = 0; i < 200; ++i) round();
  EXPECT_LT(mallinfo2().uordblks, before + (64u << 10)) << "20,000 calls";
  EXPECT_EQ(value, 7);
}

}  // namespace
}  // namespace comity::test
