// A device that fails or hangs in the middle of a collective is the same error on every rank, which names it,
// and the process goes on.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "comity/comity.h"
#include "src/base/clock.h"
#include "tests/support/api_calls.h"
#include "tests/support/ranks.h"

namespace comity::test {
namespace {

constexpr size_t kCount = 10'007;

struct Fault {
  const char* device;
  const char* variable;
};

class DeviceFaults : public testing::TestWithParam<Fault> {
 protected:
  void SetUp() override { ::setenv(GetParam().variable, trigger_.c_str(), 1); }
  void TearDown() override {
    ::unlink(trigger_.c_str());
    ::unsetenv(GetParam().variable);
  }
  void trigger() { std::ofstream(trigger_) << "now"; }
  const std::string trigger_ = testing::TempDir() + "comity_device_fault_" + std::to_string(::getpid());
};

TEST_P(DeviceFaults, AreOneErrorOnEveryRankAndTheProcessGoesOn) {
  Ranks ranks(3);
  std::vector<std::string> said(3);
  std::vector<comityResult_t> results(3);
  std::vector<std::vector<float>> host(3, std::vector<float>(kCount, 1));
  void* memory = nullptr;
  ASSERT_EQ(comityMemAllocOn(&memory, kCount * sizeof(float), GetParam().device), comitySuccess) << last();
  const auto sum_once = [&](size_t rank, comityComm_t comm) {
    void* buffer = rank == 1 ? memory : host[rank].data();
    return comityAllReduce(buffer, buffer, kCount, comityFloat32, comitySum, comm, nullptr);
  };
  ranks.run([&](int rank, comityComm_t comm) {
    EXPECT_EQ(sum_once(static_cast<size_t>(rank), comm), comitySuccess) << last();
  });
  trigger();
  ranks.run([&](int rank, comityComm_t comm) {
    const auto at = static_cast<size_t>(rank);
    results[at] = sum_once(at, comm);
    said[at] = comityGetLastError(comm);
  });
  for (size_t rank = 0; rank < 3; ++rank) {
    EXPECT_NE(results[rank], comitySuccess) << "rank " << rank;
    EXPECT_NE(said[rank].find(GetParam().device), std::string::npos) << "rank " << rank << ": " << said[rank];
    EXPECT_NE(said[rank].find("rank 1"), std::string::npos) << "rank " << rank << ": " << said[rank];
  }
  Ranks others(2);
  others.run([&](int rank, comityComm_t comm) {
    auto& values = host[static_cast<size_t>(rank)];
    EXPECT_EQ(comityAllReduce(values.data(), values.data(), kCount, comityFloat32, comitySum, comm, nullptr),
              comitySuccess)
        << last();
  });
}

INSTANTIATE_TEST_SUITE_P(Device, DeviceFaults,
                         testing::Values(Fault{"failing", "COMITY_TEST_FAIL"},
                                         Fault{"hanging", "COMITY_TEST_HANG"}),
                         [](const auto& each) { return std::string(each.param.device); });

// What was queued cannot be recalled: it is carried out when the communicator is long gone, on memory that
// stays for it.
TEST(DeviceAborts, WorkThatIsQueuedOutlivesItsCommunicator) {
  const std::string trigger = testing::TempDir() + "comity_device_hold_" + std::to_string(::getpid());
  ::setenv("COMITY_TEST_HOLD", trigger.c_str(), 1);
  void* memory = nullptr;
  constexpr size_t kLong = 1'000'003;
  ASSERT_EQ(comityMemAllocOn(&memory, kLong * sizeof(float), "holding"), comitySuccess) << last();
  {
    Ranks ranks(2);
    std::vector<float> host(kLong, 1);
    std::ofstream(trigger) << "now";
    std::atomic<int> inside{0};
    std::thread aborts([&] {
      while (inside.load() < 2) std::this_thread::yield();
      // The copies are on the queue soon, and wait there.
      const Deadline soon = Deadline::after_ms(100);
      while (!soon.passed()) std::this_thread::yield();
      for (comityComm_t& comm : ranks.comms) {
        EXPECT_EQ(comityCommAbort(comm), comitySuccess) << last();
        comm = nullptr;
      }
    });
    const std::vector<comityComm_t> comms = ranks.comms;
    ranks.run([&](int rank, comityComm_t) {
      void* buffer = rank == 1 ? memory : host.data();
      ++inside;
      EXPECT_NE(comityAllReduce(buffer, buffer, kLong, comityFloat32, comitySum,
                                comms[static_cast<size_t>(rank)], nullptr),
                comitySuccess);
    });
    aborts.join();
  }
  ::unlink(trigger.c_str());
  float values[4] = {};
  EXPECT_EQ(comityMemCopy(values, memory, sizeof values), comitySuccess) << last();
  ::unsetenv("COMITY_TEST_HOLD");
}

}  // namespace
}  // namespace comity::test

int main(int argc, char** argv) {
  ::setenv("COMITY_DEVICES", "host," COMITY_FAILING_PLUGINS, 1);
  ::setenv("COMITY_DEVICE_TIMEOUT", "4", 1);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
