// The progress thread: the engine's calls on a thread of their own, over real shared memory and sockets.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>

#include "src/api/assembly.h"
#include "src/engine/progress_thread.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

class ProgressThreadTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto id = control::create_unique_id();
    ASSERT_TRUE(id.ok()) << id.status().message();
    std::vector<std::thread> threads;
    for (uint32_t r = 0; r < 3; ++r) {
      threads.emplace_back([this, r, &id] {
        auto made = api::Assembly::make(*id, 3, r);
        ASSERT_TRUE(made.ok()) << made.status().message();
        ranks_[r] = std::move(made).value();
      });
    }
    for (auto& thread : threads) thread.join();
  }

  engine::Call sum(size_t rank) {
    return {Collective::kAllReduce, DataType::kInt64, RedOp::kSum, in_[rank].size(), 0,
            in_[rank].data(),       out_[rank].data()};
  }

  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam()};
  std::array<std::unique_ptr<api::Assembly>, 3> ranks_;
  std::array<std::array<int64_t, 3001>, 3> in_{}, out_{};
};

TEST_P(ProgressThreadTest, OneThreadCarriesOutTheCallsOfSeveralRanksInOrder) {
  std::atomic<int> done{0};
  for (size_t r = 0; r < 3; ++r) in_[r].fill(static_cast<int64_t>(r) + 1);
  engine::ProgressThread progress;
  for (size_t r = 0; r < 3; ++r) {
    for (int i = 0; i < 10; ++i) {
      progress.submit(ranks_[r]->engine(), sum(r), [&done](const Status& status) {
        EXPECT_TRUE(status.ok()) << status.message();
        ++done;
      });
    }
  }
  const Deadline deadline = Deadline::after_ms(20'000);
  while (done < 30 && !deadline.passed()) std::this_thread::yield();
  ASSERT_EQ(done, 30);
  for (const auto& out : out_) {
    for (const int64_t value : out) ASSERT_EQ(value, 6);
  }
}

TEST_P(ProgressThreadTest, EndingItEndsWhatIsInFlight) {
  std::atomic<int> failed{0};
  {
    engine::ProgressThread progress;
    progress.submit(ranks_[0]->engine(), sum(0),
                    [&failed](const Status& status) { failed += status.ok() ? 0 : 1; });
  }
  EXPECT_EQ(failed, 1);
}

TEST_P(ProgressThreadTest, AbortOfOneEndsItsCallsWhileAnotherWaits) {
  std::atomic<int> aborted{0}, waiting{0};
  engine::ProgressThread progress;
  progress.submit(ranks_[1]->engine(), sum(1), [&waiting](const Status&) { ++waiting; });
  for (int i = 0; i < 2; ++i) {
    progress.submit(ranks_[0]->engine(), sum(0), [&aborted](const Status& status) {
      EXPECT_EQ(status.code(), Code::kRemoteError) << status.message();
      ++aborted;
    });
  }
  const Deadline deadline = Deadline::after_ms(1000);  // ten times what is promised
  ranks_[0]->engine().abort();
  while (aborted < 2 && !deadline.passed()) std::this_thread::yield();
  EXPECT_EQ(aborted, 2);
  EXPECT_EQ(waiting, 0);
}

INSTANTIATE_TEST_SUITE_P(Over, ProgressThreadTest, testing::Values("shm", "tcp"),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace comity::test
