// Send, Recv and the v-variants through the C API, ranks as threads, over shared memory and over sockets.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "comity/comity.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

// Runs `body` on each rank of a communicator, in a thread of its own, and destroys the communicator.
void on_ranks(uint32_t nranks, const std::function<void(comityComm_t, uint32_t)>& body) {
  std::vector<comityComm_t> comms(nranks);
  ASSERT_EQ(comityCommInitAll(comms.data(), static_cast<int>(nranks), nullptr), comitySuccess)
      << comityGetLastError(nullptr);
  std::vector<std::thread> threads;
  for (uint32_t rank = 0; rank < nranks; ++rank) threads.emplace_back(body, comms[rank], rank);
  for (std::thread& thread : threads) thread.join();
  for (comityComm_t comm : comms) comityCommDestroy(comm);
}

std::vector<int> content(uint32_t from, uint32_t to, size_t count) {
  std::vector<int> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<int>(from * 7919 + to * 104'729 + i);
  return values;
}

class Messages : public testing::TestWithParam<const char*> {
 protected:
  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam()};
};

// Zero, one, some and 64 MiB, to everyone and to oneself.
size_t length_between(uint32_t from, uint32_t to) {
  constexpr size_t kCounts[] = {0, 1, 1009, 70'001};
  return from == 0 && to == 1 ? size_t{16} << 20 : kCounts[(from * 3 + to) % std::size(kCounts)];
}

TEST_P(Messages, EveryoneSendsToEveryoneInAnyOrder) {
  constexpr uint32_t kRanks = 8;
  on_ranks(kRanks, [](comityComm_t comm, uint32_t rank) {
    std::vector<std::vector<int>> sent, received;
    for (uint32_t peer = 0; peer < kRanks; ++peer) {
      sent.push_back(content(rank, peer, length_between(rank, peer)));
      received.emplace_back(length_between(peer, rank), -1);
    }
    std::vector<uint32_t> order(2 * kRanks);
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), std::mt19937(rank));
    comityGroupStart();
    for (const uint32_t each : order) {
      const uint32_t peer = each / 2;
      const comityResult_t added = each % 2 == 0
                                       ? comitySend(sent[peer].data(), sent[peer].size(), comityInt32,
                                                    static_cast<int>(peer), comm, nullptr)
                                       : comityRecv(received[peer].data(), received[peer].size(), comityInt32,
                                                    static_cast<int>(peer), comm, nullptr);
      EXPECT_EQ(added, comitySuccess) << comityGetLastError(comm);
    }
    ASSERT_EQ(comityGroupEnd(), comitySuccess) << comityGetLastError(comm);
    for (uint32_t peer = 0; peer < kRanks; ++peer)
      EXPECT_EQ(received[peer], content(peer, rank, length_between(peer, rank))) << rank << " from " << peer;
  });
}

TEST_P(Messages, AShortSendReturnsWhileItsReceiverIsElsewhere) {
  std::atomic<bool> returned{false};
  on_ranks(2, [&](comityComm_t comm, uint32_t rank) {
    std::vector<int> value(8, 5), got(8);
    // The connection is there.
    if (rank == 0) {
      ASSERT_EQ(comitySend(value.data(), 8, comityInt32, 1, comm, nullptr), comitySuccess);
      ASSERT_EQ(comitySend(value.data(), 8, comityInt32, 1, comm, nullptr), comitySuccess);
      returned = true;
      returned.notify_one();
    } else {
      ASSERT_EQ(comityRecv(got.data(), 8, comityInt32, 0, comm, nullptr), comitySuccess);
      returned.wait(false);  // in no call
      ASSERT_EQ(comityRecv(got.data(), 8, comityInt32, 0, comm, nullptr), comitySuccess);
      EXPECT_EQ(got, value);
    }
  });
}

TEST_P(Messages, WhatDiffersIsAnErrorOnEveryRankThatNamesBoth) {
  on_ranks(3, [](comityComm_t comm, uint32_t rank) {
    std::vector<float> a(64), b(64);
    comityResult_t result = comitySuccess;
    if (rank == 1) result = comitySend(a.data(), 12, comityFloat32, 0, comm, nullptr);
    if (rank == 0) result = comityRecv(b.data(), 10, comityFloat32, 1, comm, nullptr);
    if (rank == 0) {
      EXPECT_EQ(result, comityInvalidUsage);
    }
    // The others learn it from their next call.
    if (result == comitySuccess)
      result = comityAllReduce(a.data(), b.data(), 64, comityFloat32, comitySum, comm, nullptr);
    EXPECT_EQ(result, comityInvalidUsage);
    const std::string why = comityGetLastError(comm);
    EXPECT_NE(why.find("rank 1 sent 12 float32, rank 0 receives 10 float32"), std::string::npos) << why;
  });
}

TEST_P(Messages, BlocksOfAnyLengthsComeWhereTheyBelong) {
  constexpr uint32_t kRanks = 4;
  on_ranks(kRanks, [](comityComm_t comm, uint32_t rank) {
    std::vector<size_t> sends(kRanks), receives(kRanks), common(kRanks);
    std::vector<int> input, gathered, want_all, want_pairs, want_gather;
    for (uint32_t peer = 0; peer < kRanks; ++peer) {
      const auto length = [](uint32_t from, uint32_t to) { return size_t{from + to} % 3 * 5000 * (to + 1); };
      sends[peer] = length(rank, peer);
      receives[peer] = length(peer, rank);
      common[peer] = length(peer, 0);
      const auto to_peer = content(rank, peer, sends[peer]), from_peer = content(peer, rank, receives[peer]);
      input.insert(input.end(), to_peer.begin(), to_peer.end());
      want_pairs.insert(want_pairs.end(), from_peer.begin(), from_peer.end());
      const auto first = content(peer, 0, common[peer]);
      want_all.insert(want_all.end(), first.begin(), first.end());
    }
    std::vector<int> pairs(want_pairs.size());
    ASSERT_EQ(comityAlltoAllV(input.data(), sends.data(), nullptr, pairs.data(), receives.data(), nullptr,
                              comityInt32, comm, nullptr),
              comitySuccess)
        << comityGetLastError(comm);
    EXPECT_EQ(pairs, want_pairs);
    const auto mine = content(rank, 0, common[rank]);
    std::vector<int> all(want_all.size());
    ASSERT_EQ(comityAllGatherV(mine.data(), all.data(), common.data(), nullptr, comityInt32, comm, nullptr),
              comitySuccess)
        << comityGetLastError(comm);
    EXPECT_EQ(all, want_all);
    // To the root and back.
    std::vector<int> at_root(rank == 2 ? want_all.size() : 0), back(mine.size());
    ASSERT_EQ(comityGatherV(mine.data(), mine.size(), at_root.data(), rank == 2 ? common.data() : nullptr,
                            nullptr, comityInt32, 2, comm, nullptr),
              comitySuccess)
        << comityGetLastError(comm);
    ASSERT_EQ(comityScatterV(at_root.data(), rank == 2 ? common.data() : nullptr, nullptr, back.data(),
                             back.size(), comityInt32, 2, comm, nullptr),
              comitySuccess)
        << comityGetLastError(comm);
    EXPECT_EQ(back, mine);
    // Everyone gives the same.
    std::vector<int> summed(common[rank]), want(common[rank]);
    const auto block = want_all.begin() + static_cast<std::ptrdiff_t>([&] {
                         size_t before = 0;
                         for (uint32_t peer = 0; peer < rank; ++peer) before += common[peer];
                         return before;
                       }());
    std::transform(block, block + static_cast<std::ptrdiff_t>(want.size()), want.begin(),
                   [](int value) { return value * static_cast<int>(kRanks); });
    ASSERT_EQ(comityReduceScatterV(want_all.data(), summed.data(), common.data(), nullptr, comityInt32,
                                   comitySum, comm, nullptr),
              comitySuccess)
        << comityGetLastError(comm);
    EXPECT_EQ(summed, want);
  });
}

TEST_P(Messages, BadArgumentsAreRefusedAndHarmless) {
  on_ranks(1, [](comityComm_t comm, uint32_t) {
    int value = 1, other = 0;
    const size_t one[] = {1}, two[] = {2}, huge[] = {SIZE_MAX / 2}, none[] = {0};
    EXPECT_EQ(comitySend(&value, 1, comityInt32, 0, comm, nullptr), comityInvalidUsage) << "itself, alone";
    EXPECT_EQ(comitySend(&value, 1, comityInt32, 1, comm, nullptr), comityInvalidArgument);
    EXPECT_EQ(comityRecv(nullptr, 1, comityInt32, 0, comm, nullptr), comityInvalidArgument);
    EXPECT_EQ(comitySend(&value, SIZE_MAX / 2, comityInt32, 0, comm, nullptr), comityInvalidArgument);
    EXPECT_EQ(comityAllGatherV(&value, &other, nullptr, nullptr, comityInt32, comm, nullptr),
              comityInvalidArgument);
    EXPECT_EQ(comityAllGatherV(&value, &other, huge, nullptr, comityInt32, comm, nullptr),
              comityInvalidArgument);
    EXPECT_EQ(comityAllGatherV(&value, &other, one, huge, comityInt32, comm, nullptr), comityInvalidArgument);
    EXPECT_EQ(comityAllGatherV(&value, nullptr, one, nullptr, comityInt32, comm, nullptr),
              comityInvalidArgument);
    EXPECT_EQ(comityAlltoAllV(&value, one, nullptr, &other, two, nullptr, comityInt32, comm, nullptr),
              comityInvalidArgument);
    EXPECT_EQ(comityGatherV(&value, 1, &other, one, nullptr, comityInt32, 1, comm, nullptr),
              comityInvalidArgument);
    EXPECT_EQ(comityAllGatherV(nullptr, nullptr, none, nullptr, comityInt32, comm, nullptr), comitySuccess);
    EXPECT_EQ(comityAllGatherV(&value, &other, one, nullptr, comityInt32, comm, nullptr), comitySuccess)
        << comityGetLastError(comm);
    EXPECT_EQ(other, 1);
  });
}

INSTANTIATE_TEST_SUITE_P(Over, Messages, testing::Values("", "tcp"), [](const auto& each) {
  return *each.param == '\0' ? std::string("all") : std::string(each.param);
});

}  // namespace
}  // namespace comity::test
