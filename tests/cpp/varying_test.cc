// Blocks of different lengths, Send and Recv.
#include <algorithm>
#include <array>
#include <numeric>
#include <span>
#include <vector>

#include "tests/cpp/ranks.h"

namespace comity::test {
namespace {

constexpr int kRanks = 3;
constexpr std::array<std::size_t, kRanks> kCounts = {3, 0, 2};
constexpr std::size_t kWhole = 5;

// Rank r's elements, distinct from every other rank's.
std::vector<int> input_of(int rank, std::size_t size) {
  std::vector<int> values(size);
  std::iota(values.begin(), values.end(), 100 * (rank + 1));
  return values;
}

std::size_t count_of(int rank) {
  return kCounts[static_cast<std::size_t>(rank)];
}

TEST(CppVarying, GathersAndScattersBlocksOfAnyLength) {
  on_ranks(kRanks, [](Communicator& comm) {
    std::vector<int> expected;
    for (int rank = 0; rank < kRanks; ++rank) {
      const auto block = input_of(rank, count_of(rank));
      expected.insert(expected.end(), block.begin(), block.end());
    }
    const auto mine = input_of(comm.rank(), count_of(comm.rank()));
    std::vector<int> all(kWhole, -1), root(comm.rank() == 1 ? kWhole : 0), back(mine.size(), -1);
    ASSERT_TRUE(worked(comm.all_gather_v(mine, all, {kCounts})));
    EXPECT_EQ(all, expected);
    ASSERT_TRUE(worked(comm.gather_v(mine, root, {kCounts}, 1)));
    if (comm.rank() == 1) {
      EXPECT_EQ(root, expected);
    }
    ASSERT_TRUE(worked(comm.scatter_v(root, {kCounts}, back, 1)));
    EXPECT_EQ(back, mine);
  });
}

TEST(CppVarying, DisplacementsSayWhereABlockBegins) {
  on_ranks(kRanks, [](Communicator& comm) {
    const std::array<std::size_t, kRanks> displs = {4, 0, 1};
    const auto mine = input_of(comm.rank(), count_of(comm.rank()));
    std::vector<int> all(7, -1);
    ASSERT_TRUE(worked(comm.all_gather_v(mine, all, {kCounts, displs})));
    EXPECT_EQ(all, (std::vector<int>{-1, 300, 301, -1, 100, 101, 102}));
  });
}

TEST(CppVarying, ReduceScatterGivesEachRankItsBlockOfTheSum) {
  on_ranks(kRanks, [](Communicator& comm) {
    const auto send = input_of(comm.rank(), kWhole);
    std::vector<int> recv(count_of(comm.rank()), -1);
    ASSERT_TRUE(worked(comm.reduce_scatter_v(send, recv, {kCounts})));
    const int first = comm.rank() == 2 ? 3 : 0;
    for (std::size_t i = 0; i < recv.size(); ++i) EXPECT_EQ(recv[i], 600 + 3 * (first + static_cast<int>(i)));
  });
}

TEST(CppVarying, AllToAllTurnsBlocks) {
  on_ranks(kRanks, [](Communicator& comm) {
    // Rank s gives s + r elements to rank r.
    std::array<std::size_t, kRanks> counts;
    for (std::size_t r = 0; r < kRanks; ++r) counts[r] = static_cast<std::size_t>(comm.rank()) + r;
    const std::size_t whole = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
    const auto send = input_of(comm.rank(), whole);
    std::vector<int> recv(whole, -1);
    ASSERT_TRUE(worked(comm.all_to_all_v(send, {counts}, recv, {counts})));
    std::vector<int> expected;
    for (int s = 0; s < kRanks; ++s) {
      int first = 0;
      for (int r = 0; r < comm.rank(); ++r) first += s + r;
      for (int i = 0; i < s + comm.rank(); ++i) expected.push_back(100 * (s + 1) + first + i);
    }
    EXPECT_EQ(recv, expected);
  });
}

TEST(CppVarying, ALayoutThatDoesNotFitIsRefused) {
  on_ranks(kRanks, [](Communicator& comm) {
    const auto mine = input_of(comm.rank(), count_of(comm.rank()));
    std::vector<int> all(kWhole - 1);
    const auto message = [&](const Blocks& layout) {
      return comm.all_gather_v(mine, all, layout).error().message;
    };
    EXPECT_EQ(message({kCounts}), "all_gather_v: recv holds 4 elements, and block 2 of 2 begins at 3");
    const std::array<std::size_t, 2> few = {3, 0};
    EXPECT_EQ(message({few}),
              "all_gather_v: recv has 2 counts and 0 displacements; one for each of 3 ranks are needed (no "
              "displacements: contiguous)");
    const std::array<std::size_t, kRanks> other = {1, 1, 1};
    if (comm.rank() == 0) {
      EXPECT_EQ(message({other}), "all_gather_v: send holds 3 elements, and block 0 has 1");
    }
    EXPECT_TRUE(worked(comm.barrier()));
  });
}

TEST(CppSendRecv, ARingInAGroup) {
  on_ranks(kRanks, [](Communicator& comm) {
    const auto mine = input_of(comm.rank(), 1000);
    std::vector<int> got(1000, -1);
    Group group;
    ASSERT_TRUE(worked(comm.send(mine, (comm.rank() + 1) % kRanks)));
    ASSERT_TRUE(worked(comm.recv(got, (comm.rank() + kRanks - 1) % kRanks)));
    ASSERT_TRUE(worked(group.end()));
    EXPECT_EQ(got, input_of((comm.rank() + kRanks - 1) % kRanks, 1000));
  });
}

}  // namespace
}  // namespace comity::test
