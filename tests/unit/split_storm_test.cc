// Many splits of one family: what they open is closed again, and their memory given back.
#include <dirent.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdint>
#include <string>

#include "tests/support/ranks.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

constexpr int kRanks = 8;

size_t open_descriptors() {
  size_t count = 0;
  DIR* folder = ::opendir("/proc/self/fd");
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

void split_often(Ranks& ranks, int splits) {
  ranks.run([splits](int r, comityComm_t comm) {
    for (int n = 0; n < splits; ++n) {
      comityComm_t made = nullptr;
      ASSERT_EQ(comityCommSplit(comm, (r + n) % 2, n, &made, nullptr), comitySuccess)
          << comityGetLastError(nullptr);
      int64_t one = 1;
      ASSERT_EQ(comityAllReduce(&one, &one, 1, comityInt64, comitySum, made, nullptr), comitySuccess)
          << comityGetLastError(nullptr);
      ASSERT_EQ(one, kRanks / 2);
      ASSERT_EQ(comityCommDestroy(made), comitySuccess) << comityGetLastError(nullptr);
    }
  });
}

class SplitStorm : public testing::TestWithParam<const char*> {
  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam()};
};

TEST_P(SplitStorm, AThousandSplitsKeepDescriptorsAndMemoryAsTheyWere) {
  Ranks ranks(kRanks);
  split_often(ranks, 100);
  const size_t descriptors = open_descriptors();
  const size_t bytes = ::mallinfo2().uordblks;
  split_often(ranks, 1000);
  EXPECT_EQ(open_descriptors(), descriptors);
  // Handles are never freed: they are some hundred bytes each.
  EXPECT_LT(::mallinfo2().uordblks, bytes + kRanks * 1000 * size_t{4096});
}

INSTANTIATE_TEST_SUITE_P(Every, SplitStorm, testing::Values("shm", "tcp"),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace comity::test
