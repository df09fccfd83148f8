// Pairs are measured each once, and no host is in two pairs of a turn.
#include "topology/turns.h"

#include <gtest/gtest.h>

#include <set>

namespace comity::topology {
namespace {

void expect_each_pair_once_and_hosts_apart(const std::vector<uint32_t>& host_of_rank) {
  std::set<RankPair> seen;
  for (const auto& turn : turns_of(host_of_rank)) {
    EXPECT_FALSE(turn.empty());
    std::set<uint32_t> hosts;
    for (const RankPair& pair : turn) {
      EXPECT_LT(pair.first, pair.second);
      EXPECT_TRUE(seen.insert(pair).second) << pair.first << " and " << pair.second << " twice";
      EXPECT_TRUE(hosts.insert(host_of_rank[pair.first]).second);
      if (host_of_rank[pair.first] != host_of_rank[pair.second]) {
        EXPECT_TRUE(hosts.insert(host_of_rank[pair.second]).second);
      }
    }
  }
  EXPECT_EQ(seen.size(), host_of_rank.size() * (host_of_rank.size() - 1) / 2);
}

TEST(Turns, HoldEachPairOnceWithoutSharingAHost) {
  for (uint32_t ranks : {1u, 2u, 3u, 4u, 7u, 8u, 17u, 32u}) {
    for (uint32_t per_host : {1u, 2u, 3u, 8u}) {
      std::vector<uint32_t> host_of_rank;
      for (uint32_t rank = 0; rank < ranks; ++rank) host_of_rank.push_back(rank / per_host);
      expect_each_pair_once_and_hosts_apart(host_of_rank);
    }
  }
}

TEST(Turns, AreAsFewAsATournamentsRoundsForHostsOfOneRank) {
  std::vector<uint32_t> hosts;
  for (uint32_t n = 1; n <= 16; ++n) {
    hosts.push_back(n);
    EXPECT_EQ(turns_of(hosts).size(), n == 1 ? 0 : n % 2 == 0 ? n - 1 : n) << n << " hosts";
  }
}

TEST(Turns, AreOnePairEachOnOneHost) {
  EXPECT_EQ(turns_of({0, 0, 0, 0}).size(), 6u);
}

}  // namespace
}  // namespace comity::topology
