// Calls on streams, below the C API: order, launches, abort, over real shared memory and sockets.
#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "src/api/assembly.h"
#include "src/engine/stream_dispatcher.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

class StreamDispatcherTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto id = control::create_unique_id();
    ASSERT_TRUE(id.ok()) << id.status().message();
    std::vector<std::thread> threads;
    for (uint32_t r = 0; r < 3; ++r) {
      threads.emplace_back([this, r, &id] {
        auto made = api::Assembly::make(*id, 3, r, api::read_config(nullptr));
        ASSERT_TRUE(made.ok()) << made.status().message();
        ranks_[r] = std::move(made).value();
      });
    }
    for (auto& thread : threads) thread.join();
    for (size_t r = 0; r < 3; ++r) {
      queues_[r] = std::make_shared<engine::CallQueue>(dispatcher_, ranks_[r]->engine(), -1);
      streams_[r] = std::make_shared<engine::Stream>();
    }
  }

  void enqueue_sum(size_t rank, std::shared_ptr<engine::Outcome> outcome = nullptr) {
    engine::Call call;
    call.collective = Collective::kAllReduce;
    call.type = DataType::kInt64;
    call.count = in_[rank].size();
    call.input = in_[rank].data();
    call.output = out_[rank].data();
    std::vector<engine::Enqueued> launch;
    launch.push_back({queues_[rank], engine::KeptCall(call), "sum", {streams_[rank]}, std::move(outcome), 0});
    EXPECT_TRUE(dispatcher_.enqueue(std::move(launch)).ok());
  }

  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam()};
  std::array<std::unique_ptr<api::Assembly>, 3> ranks_;
  std::array<std::shared_ptr<engine::Stream>, 3> streams_;
  std::array<std::shared_ptr<engine::CallQueue>, 3> queues_;
  std::array<std::array<int64_t, 3001>, 3> in_{}, out_{};
  engine::StreamDispatcher dispatcher_;  // ends its threads first
};

TEST_P(StreamDispatcherTest, OneThreadCarriesOutTheCallsOfSeveralRanksInOrder) {
  for (size_t r = 0; r < 3; ++r) in_[r].fill(static_cast<int64_t>(r) + 1);
  for (size_t r = 0; r < 3; ++r) {
    for (int i = 0; i < 10; ++i) enqueue_sum(r);
  }
  for (size_t r = 0; r < 3; ++r) {
    dispatcher_.await(dispatcher_.mark(streams_[r]));
    EXPECT_EQ(streams_[r]->ended(), 10u);
    EXPECT_TRUE(dispatcher_.take_error(*streams_[r]).ok());
    dispatcher_.drain(*queues_[r]);
    EXPECT_TRUE(queues_[r]->idle());
  }
  for (const auto& out : out_) {
    for (const int64_t value : out) ASSERT_EQ(value, 6);
  }
}

TEST_P(StreamDispatcherTest, AbortOfOneEndsItsCallsWhileAnotherWaits) {
  const auto aborted = std::make_shared<engine::Outcome>();
  enqueue_sum(1);
  for (int i = 0; i < 2; ++i) enqueue_sum(0, aborted);
  const uint64_t begun_ns = now_ns();
  ranks_[0]->engine().abort();
  dispatcher_.cancel(*queues_[0], Status(Code::kRemoteError, "aborted"));
  EXPECT_EQ(dispatcher_.await(*aborted).error.code(), Code::kRemoteError);
  EXPECT_LT(now_ns() - begun_ns, 1'000'000'000u);  // ten times what is promised
  EXPECT_EQ(dispatcher_.take_error(*streams_[0]).code(), Code::kRemoteError);
  dispatcher_.drain(*queues_[0]);
  EXPECT_FALSE(queues_[1]->idle());
  ranks_[1]->engine().abort();
  dispatcher_.drain(*queues_[1]);
}

// A call that was cancelled ends out of order; what was enqueued before it on its stream still counts.
TEST_P(StreamDispatcherTest, APlaceHasEndedWithAllBeforeIt) {
  enqueue_sum(1);
  const engine::Mark first = dispatcher_.mark(streams_[1]);
  streams_[0] = streams_[1];
  enqueue_sum(0);
  const engine::Mark second = dispatcher_.mark(streams_[1]);
  dispatcher_.cancel(*queues_[0], Status(Code::kRemoteError, "aborted"));
  dispatcher_.drain(*queues_[0]);
  EXPECT_FALSE(dispatcher_.ended(first));
  EXPECT_FALSE(dispatcher_.ended(second));
  ranks_[1]->engine().abort();
  dispatcher_.await(second);
  EXPECT_TRUE(dispatcher_.ended(first));
  dispatcher_.drain(*queues_[1]);
}

INSTANTIATE_TEST_SUITE_P(Over, StreamDispatcherTest, testing::Values("shm", "tcp"),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace comity::test
