// Whether ranks outnumber cores is found from all their CPU masks together, however each of them is pinned.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include <array>
#include <thread>

#include "comity/comity.h"
#include "src/api/handle.h"
#include "src/base/cpu_mask.h"

namespace comity::test {
namespace {

void pin_this_thread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  ASSERT_EQ(pthread_setaffinity_np(pthread_self(), sizeof set, &set), 0);
}

// Two ranks, rank r pinned to cpus[r]; what each of them thinks.
std::array<bool, 2> oversubscribed_when_pinned(const std::array<int, 2>& cpus) {
  std::array<bool, 2> said{};
  comityUniqueId id;
  EXPECT_EQ(comityGetUniqueId(&id), comitySuccess);
  const auto rank = [&](int r) {
    pin_this_thread(cpus[static_cast<size_t>(r)]);
    comityComm_t comm = nullptr;
    ASSERT_EQ(comityCommInitRank(&comm, 2, id, r), comitySuccess) << comityGetLastError(nullptr);
    said[static_cast<size_t>(r)] = comm->assembly->engine().oversubscribed();
    EXPECT_EQ(comityBarrier(comm, nullptr), comitySuccess);
    EXPECT_EQ(comityCommDestroy(comm), comitySuccess);
  };
  std::thread other(rank, 1);
  std::thread first(rank, 0);
  other.join();
  first.join();
  return said;
}

// The parameter: COMITY_TRANSPORTS.
class Crowding : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    setenv("COMITY_TRANSPORTS", GetParam(), 1);
    const CpuMask usable = usable_cpus();
    for (int cpu = 0; cpu < 1024; ++cpu) {
      if ((usable[static_cast<size_t>(cpu) / 64] >> (cpu % 64) & 1u) != 0) cpus_.push_back(cpu);
    }
  }
  void TearDown() override { unsetenv("COMITY_TRANSPORTS"); }
  std::vector<int> cpus_;
};

TEST_P(Crowding, RanksPinnedToACoreEachAreNotCrowded) {
  if (cpus_.size() < 2) GTEST_SKIP() << "needs two cores";
  EXPECT_EQ(oversubscribed_when_pinned({cpus_[0], cpus_[1]}), (std::array{false, false}));
}

TEST_P(Crowding, RanksPinnedToOneCoreAreCrowded) {
  EXPECT_EQ(oversubscribed_when_pinned({cpus_[0], cpus_[0]}), (std::array{true, true}));
}

INSTANTIATE_TEST_SUITE_P(Transports, Crowding, testing::Values("shm", "tcp"),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace comity::test
