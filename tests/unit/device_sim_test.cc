// What is particular to the sim device: memory that nobody else can touch, and work that is late and
// reordered.
#include "src/device/sim/sim_device.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

#include <gtest/gtest.h>
#include "src/base/unique_fd.h"

namespace comity {
namespace {

class SimDeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = SimDevice::create();
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    device_ = std::move(opened).value();
    auto memory = device_->allocate(4096);
    ASSERT_TRUE(memory.ok());
    memory_ = static_cast<std::byte*>(*memory);
  }
  // Polls until complete and says how many it took.
  int finish(uint32_t queue, Token token) {
    for (int polls = 1;; ++polls) {
      if (device_->poll(queue, token).value()) return polls;
    }
  }
  std::unique_ptr<SimDevice> device_;
  std::byte* memory_ = nullptr;
};

using SimDeviceDeathTest = SimDeviceTest;

TEST_F(SimDeviceDeathTest, TheHostCannotLoadOrStoreItsMemory) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH({ *reinterpret_cast<volatile char*>(memory_) = 1; }, "");
  EXPECT_DEATH({ (void)*reinterpret_cast<volatile char*>(memory_); }, "");
}

TEST_F(SimDeviceTest, TheKernelCannotReadItEither) {
  char local[16] = {};
  const iovec to{local, sizeof local};
  const iovec from{memory_, sizeof local};
  EXPECT_EQ(::process_vm_readv(::getpid(), &to, 1, &from, 1, 0), -1);
  EXPECT_EQ(errno, EFAULT);
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const UniqueFd left(ends[0]), right(ends[1]);
  EXPECT_EQ(::send(left.get(), memory_, 16, 0), -1);
  EXPECT_EQ(errno, EFAULT);
}

TEST_F(SimDeviceTest, OwnsItsRangeAndNothingElse) {
  EXPECT_TRUE(device_->owns(memory_, 4096));
  EXPECT_TRUE(device_->owns(memory_ + 4095, 1));
  EXPECT_FALSE(device_->owns(memory_, UINT64_MAX));
  EXPECT_FALSE(device_->owns(&device_, 1));
  EXPECT_FALSE(device_->owns(nullptr, 0));
  EXPECT_FALSE(device_->host_addressable());
}

TEST_F(SimDeviceTest, RefusesHostPointersInAReductionAndRangesPastAnAllocation) {
  std::byte local[64] = {};
  const std::byte* sources[] = {memory_, local};
  std::byte* destination = memory_;
  ReduceWork work;
  work.type = DataType::kInt32;
  work.sources = sources;
  work.destinations = {&destination, 1};
  work.count = 16;
  EXPECT_EQ(device_->reduce(0, work).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(device_->copy(0, local, memory_ + 4090, 7).status().code(), Code::kInvalidArgument);
  EXPECT_TRUE(device_->copy(0, local, memory_ + 4090, 6).ok());
  sources[1] = memory_ + 64;
  work.count = UINT64_MAX / 2;
  EXPECT_EQ(device_->reduce(0, work).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(device_->copy(SimDevice::kStreams, local, memory_, 1).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(device_->poll(SimDevice::kStreams, 0).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(device_->poll(1, 5).status().code(), Code::kInvalidArgument);
  ASSERT_TRUE(device_->release(memory_).ok());
  EXPECT_EQ(device_->copy(0, local, memory_, 1).status().code(), Code::kInvalidArgument);
}

TEST_F(SimDeviceTest, WorksLateAtDifferentTimes) {
  std::byte local[64] = {};
  std::set<int> polls;
  for (int i = 0; i < 200; ++i) polls.insert(finish(0, device_->copy(0, memory_, local, 64).value()));
  EXPECT_EQ(polls, (std::set<int>{1, 2, 3, 4, 5, 6}));
}

// A caller that reuses a source before its token is complete must be found out: the content is read late.
TEST_F(SimDeviceTest, ReadsSourcesWhenItWorksAndNotWhenIssued) {
  int seen_late = 0;
  for (int i = 0; i < 100; ++i) {
    std::byte local[64] = {};
    const Token token = device_->copy(0, memory_, local, 64).value();
    local[0] = std::byte{9};
    finish(0, token);
    std::byte back[64];
    finish(0, device_->copy(0, back, memory_, 64).value());
    seen_late += back[0] == std::byte{9} ? 1 : 0;
  }
  EXPECT_EQ(seen_late, 100);
}

TEST_F(SimDeviceTest, CompletesQueuesInEitherOrder) {
  std::byte local[64] = {};
  int first_before_second = 0;
  for (int i = 0; i < 200; ++i) {
    const Token first = device_->copy(0, memory_, local, 64).value();
    const Token second = device_->copy(1, memory_ + 64, local, 64).value();
    bool first_done = false, second_done = false;
    while (!first_done && !second_done) {
      first_done = device_->poll(0, first).value();
      second_done = device_->poll(1, second).value();
    }
    first_before_second += first_done && !second_done ? 1 : 0;
    finish(0, first);
    finish(1, second);
  }
  EXPECT_GT(first_before_second, 20);
  EXPECT_LT(first_before_second, 180);
}

TEST_F(SimDeviceTest, WorksOnOneQueueWhileAnotherIsPolled) {
  std::byte local[64] = {};
  const Token token = device_->copy(2, memory_, local, 64).value();
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(device_->poll(0, 0).ok());
  EXPECT_TRUE(device_->poll(2, token).value());
}

TEST_F(SimDeviceTest, ReplaysExactlyFromASeed) {
  const auto history = [](uint64_t seed) {
    auto device = std::move(SimDevice::create({uint64_t{1} << 20, seed, 10})).value();
    void* memory = device->allocate(64).value();
    std::byte local[64] = {};
    std::vector<int> polls;
    for (uint32_t i = 0; i < 50; ++i) {
      const Token token = device->copy(i % 4, memory, local, 64).value();
      int count = 1;
      while (!device->poll(i % 4, token).value()) ++count;
      polls.push_back(count);
    }
    return polls;
  };
  EXPECT_EQ(history(5), history(5));
  EXPECT_NE(history(5), history(6));
}

TEST_F(SimDeviceTest, GivesNewMemoryWithoutOldContent) {
  std::byte local[64];
  std::memset(local, 7, sizeof local);
  finish(0, device_->copy(0, memory_, local, 64).value());
  ASSERT_TRUE(device_->release(memory_).ok());
  void* again = device_->allocate(4096).value();
  finish(0, device_->copy(0, local, again, 64).value());
  EXPECT_EQ(local[0], std::byte{0});
}

}  // namespace
}  // namespace comity
