// What of RDMA needs no port: addresses, rails, letters.
#include <gtest/gtest.h>

#include <random>

#include "transports/verbs/letters.h"
#include "transports/verbs/rails.h"

namespace comity::verbs {
namespace {

RailAddress roce(uint8_t network, uint8_t host, uint8_t device = 0) {
  RailAddress rail;
  rail.mtu = 3;
  rail.prefix_bits = 120;
  rail.device = device;
  rail.bandwidth_bytes_per_s = 1'000'000;
  rail.gid[10] = rail.gid[11] = std::byte{0xff};
  rail.gid[12] = std::byte{10};
  rail.gid[13] = std::byte{9};
  rail.gid[14] = static_cast<std::byte>(network);
  rail.gid[15] = static_cast<std::byte>(host);
  return rail;
}

RailAddress infiniband(uint8_t subnet, uint16_t lid) {
  RailAddress rail;
  rail.layer = LinkLayer::kInfiniBand;
  rail.mtu = 5;
  rail.prefix_bits = 64;
  rail.lid = lid;
  rail.gid[0] = std::byte{0xfe};
  rail.gid[1] = std::byte{0x80};
  rail.gid[7] = static_cast<std::byte>(subnet);
  rail.gid[15] = static_cast<std::byte>(lid);
  return rail;
}

RankAddress rank_of(uint64_t host, std::vector<RailAddress> rails) {
  return {host, 2, std::move(rails)};
}

std::vector<std::pair<uint32_t, uint32_t>> paired(const RankAddress& lower, const RankAddress& higher) {
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  for (const RailPair& pair : pair_rails(lower, higher)) pairs.emplace_back(pair.lower, pair.higher);
  return pairs;
}

using Pairs = std::vector<std::pair<uint32_t, uint32_t>>;

TEST(VerbsRails, PortsOfOneNetworkAreJoinedInTheirOrder) {
  EXPECT_EQ(paired(rank_of(1, {roce(0, 1), roce(1, 1)}), rank_of(2, {roce(1, 2), roce(0, 2)})),
            (Pairs{{0, 1}, {1, 0}}));
  EXPECT_EQ(paired(rank_of(1, {roce(0, 1), roce(0, 3)}), rank_of(2, {roce(0, 2)})), (Pairs{{0, 0}}))
      << "each port is part of one rail";
  EXPECT_EQ(paired(rank_of(1, {infiniband(1, 4)}), rank_of(2, {infiniband(2, 5), infiniband(1, 6)})),
            (Pairs{{0, 1}}));
}

TEST(VerbsRails, WhatIsOnNoCommonNetworkIsNotJoined) {
  EXPECT_TRUE(paired(rank_of(1, {roce(0, 1)}), rank_of(2, {roce(1, 2)})).empty());
  EXPECT_TRUE(paired(rank_of(1, {roce(0, 1)}), rank_of(2, {infiniband(0, 2)})).empty());
  EXPECT_TRUE(paired(rank_of(1, {roce(0, 1)}), rank_of(2, {roce(0, 1)})).empty())
      << "two machines with one address do not mean each other";
}

TEST(VerbsRails, OnOneMachineAPortReachesItself) {
  EXPECT_EQ(paired(rank_of(1, {roce(0, 1), roce(0, 2)}), rank_of(1, {roce(0, 1), roce(0, 2)})),
            (Pairs{{0, 0}, {1, 1}}));
}

TEST(VerbsRails, AddressesSurviveTheWireAndDamageIsRefused) {
  const RankAddress address = rank_of(77, {roce(0, 1), infiniband(3, 9)});
  const std::vector<std::byte> bytes = encode(address);
  const auto decoded = decode(bytes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(describe(*decoded), "RoCE 10.9.0.1, InfiniBand LID 9");
  EXPECT_EQ(encode(*decoded), bytes);
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_FALSE(decode(std::span(bytes).first(length)).ok()) << length;
  std::mt19937 random(3);
  for (int n = 0; n < 20'000; ++n) {
    std::vector<std::byte> damaged = bytes;
    for (int i = 0; i < 3; ++i) damaged[random() % damaged.size()] = static_cast<std::byte>(random());
    const auto again = decode(damaged);
    if (!again.ok()) continue;
    EXPECT_LE(again->rails.size(), kMaxRails);
    EXPECT_LE(again->queue_pairs, kMaxQueuePairs);
    static_cast<void>(pair_rails(address, *again));
  }
}

TEST(VerbsLetters, OnlyWhoKnowsTheSecretReadsAndWritesThem) {
  Secret secret{}, other{};
  other[3] = std::byte{1};
  const Secret key = letter_key(secret, 5);
  LetterContent letter;
  letter.from = 3;
  letter.to = 9;
  letter.epoch = 1;
  letter.queues = {{17, 0xabcdef}, {18, 2}};
  const std::vector<std::byte> sealed = seal(letter, key);
  const auto read = unseal(sealed, key);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->to, 9u);
  ASSERT_EQ(read->queues.size(), 2u);
  EXPECT_EQ(read->queues[0].sequence, 0xabcdefu);
  EXPECT_NE(seal(letter, key), sealed) << "two letters are never alike";
  EXPECT_FALSE(unseal(sealed, letter_key(other, 5)));
  EXPECT_FALSE(unseal(sealed, letter_key(secret, 6))) << "nor that of another communicator";
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::vector<std::byte> damaged = sealed;
    damaged[i] ^= std::byte{1};
    EXPECT_FALSE(unseal(damaged, key)) << i;
    EXPECT_FALSE(unseal(std::span(sealed).first(i), key)) << i;
  }
}

}  // namespace
}  // namespace comity::verbs
