// Communicators of a part of the ranks.
#include <thread>
#include <utility>
#include <vector>

#include "tests/cpp/ranks.h"

namespace comity::test {
namespace {

constexpr int kRanks = 3;

TEST(CppSplit, MakesCommunicatorsOfAPart) {
  on_ranks(kRanks, [](Communicator& comm) {
    const bool even = comm.rank() % 2 == 0;
    auto part = comm.split(even ? 7 : COMITY_SPLIT_NOCOLOR, -comm.rank());
    ASSERT_TRUE(worked(part));
    ASSERT_EQ(static_cast<bool>(*part), even);
    if (!even) return;
    EXPECT_EQ(part->nranks(), 2);
    EXPECT_EQ(part->rank(), comm.rank() == 0 ? 1 : 0);
    std::vector<int> values = {comm.rank() + 1};
    ASSERT_TRUE(worked(part->all_reduce(values)));
    EXPECT_EQ(values[0], 4);
    ASSERT_TRUE(worked(part->finalize()));
  });
}

TEST(CppSplit, OfOneThatDoesNotBlockGoesOnBehindTheCallersBack) {
  on_ranks(kRanks, [](Communicator& comm) {
    Config config;
    config.blocking = false;
    auto parent = comm.split(0, 0, config);
    ASSERT_TRUE(worked(parent));
    auto part = parent->split(0, comm.rank());
    ASSERT_TRUE(worked(part));
    ASSERT_TRUE(static_cast<bool>(*part));
    Expected<bool> made = part->async_state();
    for (; made && !*made; made = part->async_state()) std::this_thread::yield();
    ASSERT_TRUE(worked(made));
    EXPECT_EQ(part->rank(), comm.rank());
    EXPECT_EQ(part->nranks(), kRanks);
  });
}

}  // namespace
}  // namespace comity::test
