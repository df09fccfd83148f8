// The typed calls give what the C functions promise, on any contiguous memory.
#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "tests/cpp/ranks.h"

namespace comity::test {
namespace {

// Rank r's input: distinct from every other rank's, at every place.
std::vector<std::int64_t> input_of(int rank, std::size_t size) {
  std::vector<std::int64_t> values(size);
  std::iota(values.begin(), values.end(), std::int64_t{1000} * (rank + 1));
  return values;
}

// The sum over ranks of input_of.
std::vector<std::int64_t> sum_of(int nranks, std::size_t size) {
  std::vector<std::int64_t> sum(size);
  for (int rank = 0; rank < nranks; ++rank) {
    const auto input = input_of(rank, size);
    std::transform(sum.begin(), sum.end(), input.begin(), sum.begin(), std::plus<>());
  }
  return sum;
}

constexpr int kRanks = 3;
constexpr std::size_t kSizes[] = {0, 1, 7, 4099};

class CppCalls : public testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Sizes, CppCalls, testing::ValuesIn(kSizes));

TEST_P(CppCalls, AllReduceSums) {
  on_ranks(kRanks, [](Communicator& comm) {
    const auto send = input_of(comm.rank(), GetParam());
    std::vector<std::int64_t> recv(GetParam(), -1);
    ASSERT_TRUE(worked(comm.all_reduce(send, recv)));
    EXPECT_EQ(recv, sum_of(kRanks, GetParam()));
    auto in_place = send;
    ASSERT_TRUE(worked(comm.all_reduce(in_place, Op::max)));
    EXPECT_EQ(in_place, input_of(kRanks - 1, GetParam()));
  });
}

TEST_P(CppCalls, ReduceGivesToTheRootAlone) {
  on_ranks(kRanks, [](Communicator& comm) {
    const auto send = input_of(comm.rank(), GetParam());
    std::vector<std::int64_t> recv(comm.rank() == 1 ? GetParam() : 0);
    ASSERT_TRUE(worked(comm.reduce(send, recv, Op::sum, 1)));
    if (comm.rank() == 1) {
      EXPECT_EQ(recv, sum_of(kRanks, GetParam()));
    }
  });
}

TEST_P(CppCalls, BroadcastGivesTheRootsToAll) {
  on_ranks(kRanks, [](Communicator& comm) {
    const auto send = input_of(comm.rank(), comm.rank() == 2 ? GetParam() : 0);
    std::vector<std::int64_t> recv(GetParam(), -1);
    ASSERT_TRUE(worked(comm.broadcast(send, recv, 2)));
    EXPECT_EQ(recv, input_of(2, GetParam()));
    auto in_place = input_of(comm.rank(), GetParam());
    ASSERT_TRUE(worked(comm.broadcast(in_place, 0)));
    EXPECT_EQ(in_place, input_of(0, GetParam()));
  });
}

TEST_P(CppCalls, GathersLayRanksInOrder) {
  on_ranks(kRanks, [](Communicator& comm) {
    std::vector<std::int64_t> expected;
    for (int rank = 0; rank < kRanks; ++rank) {
      const auto block = input_of(rank, GetParam());
      expected.insert(expected.end(), block.begin(), block.end());
    }
    const auto send = input_of(comm.rank(), GetParam());
    std::vector<std::int64_t> all(kRanks * GetParam(), -1), root(comm.rank() == 0 ? all.size() : 0);
    ASSERT_TRUE(worked(comm.all_gather(send, all)));
    EXPECT_EQ(all, expected);
    ASSERT_TRUE(worked(comm.gather(send, root, 0)));
    if (comm.rank() == 0) {
      EXPECT_EQ(root, expected);
    }
    std::vector<std::int64_t> back(GetParam(), -1);
    ASSERT_TRUE(worked(comm.scatter(root, back, 0)));
    EXPECT_EQ(back, send);
  });
}

TEST_P(CppCalls, ReduceScatterAndAllToAllCutBlocks) {
  on_ranks(kRanks, [](Communicator& comm) {
    const std::size_t block = GetParam();
    const auto mine = static_cast<std::size_t>(comm.rank()) * block;
    const auto send = input_of(comm.rank(), kRanks * block), sum = sum_of(kRanks, kRanks * block);
    std::vector<std::int64_t> recv(block, -1);
    ASSERT_TRUE(worked(comm.reduce_scatter(send, recv)));
    EXPECT_TRUE(std::ranges::equal(recv, std::span(sum).subspan(mine, block)));
    std::vector<std::int64_t> turned(kRanks * block, -1);
    ASSERT_TRUE(worked(comm.all_to_all(send, turned)));
    for (int rank = 0; rank < kRanks; ++rank) {
      const auto theirs = input_of(rank, kRanks * block);
      EXPECT_TRUE(std::ranges::equal(std::span(turned).subspan(static_cast<std::size_t>(rank) * block, block),
                                     std::span(theirs).subspan(mine, block)));
    }
  });
}

TEST(CppMemory, EveryContiguousRangeOfAnElementIsTaken) {
  on_ranks(2, [](Communicator& comm) {
    const std::array<float, 2> send = {1.5F, static_cast<float>(comm.rank())};
    auto buffer = Buffer<float>::allocate(2);
    ASSERT_TRUE(worked(buffer));
    ASSERT_TRUE(worked(comm.all_reduce(send, *buffer)));
    EXPECT_EQ((*buffer)[0], 3.0F);
    EXPECT_EQ((*buffer)[1], 1.0F);
    float plain[2] = {};
    ASSERT_TRUE(worked(comm.all_reduce(std::span<const float>(send), plain, Op::min)));
    EXPECT_EQ(plain[1], 0.0F);
    std::vector<std::byte> bytes(5, std::byte(comm.rank() + 7));
    ASSERT_TRUE(worked(comm.broadcast(bytes, 1)));
    EXPECT_EQ(bytes, std::vector<std::byte>(5, std::byte{8}));
  });
}

TEST(CppMemory, NarrowFloatsAreReducedByTheirTag) {
  on_ranks(2, [](Communicator& comm) {
    std::vector<bfloat16> wide = {{0x3f80}, {0x4000}};  // 1, 2
    ASSERT_TRUE(worked(comm.all_reduce(wide)));
    EXPECT_EQ(wide, (std::vector<bfloat16>{{0x4000}, {0x4080}}));  // 2, 4
    std::vector<float16> half = {{0x3c00}};
    ASSERT_TRUE(worked(comm.all_reduce(half)));
    EXPECT_EQ(half[0], float16{0x4000});
    std::vector<float8_e4m3> narrow = {{0x38}};
    ASSERT_TRUE(worked(comm.all_reduce(narrow)));
    EXPECT_EQ(narrow[0], float8_e4m3{0x40});
    std::vector<float8_e5m2> narrower = {{0x3c}};
    ASSERT_TRUE(worked(comm.all_reduce(narrower)));
    EXPECT_EQ(narrower[0], float8_e5m2{0x40});
  });
}

TEST(CppSizes, ThatDoNotFitAreRefusedAndNothingHappens) {
  on_ranks(2, [](Communicator& comm) {
    std::vector<float> one(1), two(2), three(3);
    const auto refused = [](const Expected<void>& call, const std::string& sentence) {
      return !call && call.error().code == comityInvalidArgument && call.error().message == sentence;
    };
    EXPECT_TRUE(refused(comm.all_reduce(two, three),
                        "all_reduce: send holds 2 elements, recv 3; they must be equally long"));
    EXPECT_TRUE(refused(comm.all_gather(two, three),
                        "all_gather: 3 elements are not 2 blocks of 2, one for each rank"));
    EXPECT_TRUE(refused(comm.reduce_scatter(three, one),
                        "reduce_scatter: 3 elements are not 2 blocks of 1, one for each rank"));
    EXPECT_TRUE(refused(comm.all_to_all(three, std::vector<float>(3)),
                        "all_to_all: 3 elements are not 2 blocks of 1, one for each rank"));
    if (comm.rank() == 0) {
      EXPECT_TRUE(
          refused(comm.gather(two, three, 0), "gather: 3 elements are not 2 blocks of 2, one for each rank"));
      EXPECT_TRUE(refused(comm.scatter(three, two, 0),
                          "scatter: 3 elements are not 2 blocks of 2, one for each rank"));
    }
    EXPECT_TRUE(worked(comm.all_reduce(two)));
  });
}

}  // namespace
}  // namespace comity::test
