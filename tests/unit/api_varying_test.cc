// v-variants of ranks on one host through the C API: the provider carries them out, without a link between
// ranks; lengths that differ are told on every rank.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "comity/comity.h"
#include "src/api/handle.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

constexpr uint32_t kRanks = 3;

void on_ranks(const std::function<void(comityComm_t, uint32_t)>& body) {
  std::vector<comityComm_t> comms(kRanks);
  ASSERT_EQ(comityCommInitAll(comms.data(), static_cast<int>(kRanks), nullptr), comitySuccess)
      << comityGetLastError(nullptr);
  std::vector<std::thread> threads;
  for (uint32_t rank = 0; rank < kRanks; ++rank) threads.emplace_back(body, comms[rank], rank);
  for (std::thread& thread : threads) thread.join();
  for (comityComm_t comm : comms) comityCommDestroy(comm);
}

// One of each, with blocks of `unit` times 0 to 2 elements.
void call_all_five(comityComm_t comm, uint32_t rank, size_t unit) {
  const std::vector<size_t> counts{0, unit, 2 * unit};
  const size_t whole = 3 * unit;
  const auto check = [&](comityResult_t result) {
    ASSERT_EQ(result, comitySuccess) << comityGetLastError(comm);
  };
  std::vector<int> mine(counts[rank], static_cast<int>(rank)), all(whole, -1), back(counts[rank], -1);
  std::vector<int> want(unit, 1);
  want.insert(want.end(), 2 * unit, 2);
  check(comityAllGatherV(mine.data(), all.data(), counts.data(), nullptr, comityInt32, comm, nullptr));
  EXPECT_EQ(all, want);
  check(comityReduceScatterV(all.data(), back.data(), counts.data(), nullptr, comityInt32, comitySum, comm,
                             nullptr));
  EXPECT_EQ(back, std::vector<int>(counts[rank], static_cast<int>(rank * kRanks)));
  std::fill(all.begin(), all.end(), -1);
  check(comityGatherV(mine.data(), mine.size(), all.data(), counts.data(), nullptr, comityInt32, 1, comm,
                      nullptr));
  if (rank == 1) {
    EXPECT_EQ(all, want);
  }
  check(comityScatterV(all.data(), counts.data(), nullptr, back.data(), back.size(), comityInt32, 1, comm,
                       nullptr));
  EXPECT_EQ(back, mine);
  // Everyone gives rank r what r gets from all: as many elements of its own number.
  const std::vector<size_t> same(kRanks, counts[rank]);
  std::vector<int> given(whole, static_cast<int>(rank)), taken(kRanks * counts[rank], -1);
  check(comityAlltoAllV(given.data(), counts.data(), nullptr, taken.data(), same.data(), nullptr, comityInt32,
                        comm, nullptr));
  for (size_t i = 0; i < taken.size(); ++i) ASSERT_EQ(taken[i], static_cast<int>(i / counts[rank])) << i;
}

TEST(ApiVarying, RanksOfAHostMakeNoLink) {
  for (const size_t unit : {1, 1000, 400'000}) {
    on_ranks([unit](comityComm_t comm, uint32_t rank) {
      call_all_five(comm, rank, unit);
      EXPECT_EQ(comm->assembly->engine().links_made(), 0u);
    });
  }
}

TEST(ApiVarying, RanksWithoutSharedMemoryDo) {
  const ScopedEnv transports("COMITY_TRANSPORTS", "tcp");
  on_ranks([](comityComm_t comm, uint32_t rank) {
    call_all_five(comm, rank, 1000);
    EXPECT_GT(comm->assembly->engine().links_made(), 0u);
  });
}

// Over links a giver would wait behind its window of eight messages.
TEST(ApiVarying, GiversOfAShortGatherAre64CallsAhead) {
  std::atomic<uint32_t> ahead{0};
  on_ranks([&](comityComm_t comm, uint32_t rank) {
    const std::vector<size_t> counts{5, 7, 0};
    std::vector<int> mine(counts[rank], static_cast<int>(rank)), all(12, -1);
    EXPECT_EQ(comityBarrier(comm, nullptr), comitySuccess);
    if (rank == 0) {
      while (ahead.load() != kRanks - 1) std::this_thread::yield();
    }
    for (int call = 0; call < 64; ++call) {
      ASSERT_EQ(comityGatherV(mine.data(), mine.size(), all.data(), counts.data(), nullptr, comityInt32, 0,
                              comm, nullptr),
                comitySuccess);
    }
    ahead.fetch_add(1);
    if (rank == 0) {
      EXPECT_EQ(std::accumulate(all.begin(), all.end(), 0), 7);
    }
  });
}

class ApiVaryingDiffers : public testing::TestWithParam<size_t> {};

// Rank 0 and rank 1 disagree on what 0 gives 1; every rank hears the same words, in this call or the next.
TEST_P(ApiVaryingDiffers, IsAnErrorOnEveryRankThatNamesBoth) {
  for (const int kind : {0, 1, 2}) {
    on_ranks([kind](comityComm_t comm, uint32_t rank) {
      const size_t sent = GetParam(), taken = GetParam() + 3;
      std::vector<int> in(3 * taken, 1), out(3 * taken, 0);
      const std::vector<size_t> none(kRanks, 0);
      std::vector<size_t> gives = none, takes = none;
      if (rank == 0) gives[1] = sent;
      if (rank == 1) takes[0] = taken;
      comityResult_t result = comitySuccess;
      if (kind == 0) {
        result = comityAlltoAllV(in.data(), gives.data(), nullptr, out.data(), takes.data(), nullptr,
                                 comityInt32, comm, nullptr);
      } else if (kind == 1) {
        result = comityGatherV(in.data(), rank == 0 ? sent : 0, out.data(), takes.data(), nullptr,
                               comityInt32, 1, comm, nullptr);
      } else {
        result = comityScatterV(in.data(), gives.data(), nullptr, out.data(), rank == 1 ? taken : 0,
                                comityInt32, 0, comm, nullptr);
      }
      if (result == comitySuccess) result = comityBarrier(comm, nullptr);
      EXPECT_EQ(result, comityInvalidUsage) << "rank " << rank;
      const std::string why = comityGetLastError(comm);
      const std::string words =
          "rank 0 sent " + std::to_string(sent) + " int32, rank 1 receives " + std::to_string(taken);
      EXPECT_NE(why.find(words), std::string::npos) << "rank " << rank << ": " << why;
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Lengths, ApiVaryingDiffers, testing::Values(0, 10, 3000, 500'000));

}  // namespace
}  // namespace comity::test
