// The control plane in simulation: aborts, deaths, frozen and cut-off ranks, and ranks that leave, seeded.
#include <gtest/gtest.h>

#include <string>

#include "src/control/tree_shape.h"
#include "tests/support/control_sim.h"

namespace comity::control::sim {
namespace {

// --- Aborts and deaths -----------------------------------------------------------------------------------

TEST(ControlSim, WhoeverFallsAtOneMomentAllSurvivorsHearTheSameWords) {
  for_each_seed(60, [](uint64_t seed) {
    World world(seed, kRanks);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    SplitMix random(mix(seed, 3));
    std::set<uint32_t> aside;
    std::vector<std::pair<uint32_t, bool>> fallen;
    const uint64_t count = 1 + random.up_to(4);
    while (fallen.size() < count) {
      const auto rank = static_cast<uint32_t>(random.up_to(kRanks - 1));
      if (!aside.insert(rank).second) continue;
      const bool aborts = random.chance(50);
      fallen.emplace_back(rank, aborts);
      if (aborts) {
        ranks[rank].leave(false);
      } else {
        world.kill(rank);
      }
      if (random.chance(30)) world.run_for_ms(random.up_to(3));
    }
    const std::string heard = heard_by_all(world, ranks, aside);
    EXPECT_TRUE(names_one_of(heard, fallen)) << heard;
  });
}

// What the root holds of one communicator is not forgotten when it leaves its last one.
TEST(ControlSim, AnAbortIsHeardThoughItsRankLeavesTheFamilyRightBehindIt) {
  for_each_seed(60, [](uint64_t seed) {
    World world(seed, kRanks);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    std::vector<uint32_t> members(kRanks);
    for (uint32_t rank = 0; rank < kRanks; ++rank) members[rank] = rank;
    std::vector<std::shared_ptr<Scope>> parts;
    for (uint32_t rank = 0; rank < kRanks; ++rank) {
      parts.push_back(std::make_shared<Scope>(777, members, rank, kRanks, ""));
      ranks[rank].loop().post(
          [node = ranks[rank].shared_node(), part = parts[rank]] { node->open_scope(part); });
    }
    world.run_for_ms(50);
    const auto leaver = static_cast<uint32_t>(mix(seed) % 3);  // the root or an inner rank
    const bool orderly = mix(seed, 1) % 2 == 0;
    // While another verdict is being decided: its own waits for that.
    const auto other = static_cast<uint32_t>(3 + mix(seed, 2) % (kRanks - 3));
    ranks[other].loop().post(
        [node = ranks[other].shared_node(), part = parts[other]] { node->leave(part, false); });
    world.run_for_ms(mix(seed, 3) % 3);
    ranks[leaver].loop().post([node = ranks[leaver].shared_node(), part = parts[leaver], orderly] {
      node->leave(node->base(), false);
      node->leave(part, orderly);
    });
    EXPECT_EQ(heard_by_all(world, ranks, {leaver}), sentence_of(leaver, "abort"));
    for (uint32_t rank = 0; rank < kRanks; ++rank) {
      ranks[rank].loop().post(
          [node = ranks[rank].shared_node(), part = parts[rank]] { node->leave(part, true); });
    }
  });
}

TEST(ControlSim, ADeathIsKnownFromTheProcessWhereConnectionsStayOpen) {
  for_each_seed(30, [](uint64_t seed) {
    World world(seed, kRanks);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    const auto victim = static_cast<uint32_t>(mix(seed) % kRanks);
    world.kill(victim, true);
    const std::string heard = heard_by_all(world, ranks, {});
    EXPECT_TRUE(names_one_of(heard, {{victim, false}})) << heard;
  });
}

TEST(ControlSim, AFrozenRankKeepsNoVerdictFromTheOthersAndHearsItWhenItGoesOn) {
  for_each_seed(30, [](uint64_t seed) {
    World world(seed, kRanks);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    const auto frozen = static_cast<uint32_t>(mix(seed) % 3);  // the root or an inner rank
    const auto aborting = static_cast<uint32_t>(3 + mix(seed, 1) % (kRanks - 3));
    world.freeze(frozen);
    ranks[aborting].leave(false);
    EXPECT_EQ(heard_by_all(world, ranks, {frozen, aborting}), sentence_of(aborting, "abort"));
    world.thaw(frozen);
    EXPECT_EQ(heard_by_all(world, ranks, {aborting}), sentence_of(aborting, "abort"));
  });
}

TEST(ControlSim, BrokenConnectionsAreMendedAndNobodyIsTakenForDead) {
  for_each_seed(30, [](uint64_t seed) {
    World world(seed, kRanks);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    const auto child = static_cast<uint32_t>(1 + mix(seed) % (kRanks - 1));
    world.break_connections(child, parent_of(child));
    world.run_for_ms(5000);
    for (uint32_t rank = 0; rank < kRanks; ++rank) EXPECT_EQ(ranks[rank].verdict_text(), "");
    ranks[child].declare(Code::kSystemError, "no memory");
    EXPECT_EQ(heard_by_all(world, ranks, {}), "no memory");
  });
}

TEST(ControlSim, AHostThatIsCutOffIsNamedToTheRest) {
  for_each_seed(20, [](uint64_t seed) {
    World world(seed, kRanks);  // four processes a host
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    const auto host = static_cast<uint32_t>(1 + mix(seed) % 5);
    world.cut_off(host);
    std::set<uint32_t> aside;
    for (uint32_t rank = 4 * host; rank < 4 * host + 4; ++rank) aside.insert(rank);
    const std::string heard = heard_by_all(world, ranks, aside);
    EXPECT_NE(heard.find(" does not answer: it is stopped, or its host is down"), std::string::npos) << heard;
    EXPECT_EQ(heard.find('\n'), std::string::npos) << heard;
  });
}

TEST(ControlSim, RanksThatLeaveAndExitInAnyOrderBringNoVerdictToThoseThatWork) {
  for_each_seed(30, [](uint64_t seed) {
    World world(seed, kRanks);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    SplitMix random(mix(seed, 4));
    std::set<uint32_t> left;
    while (left.size() < kRanks / 2) {
      const auto rank = static_cast<uint32_t>(random.up_to(kRanks - 1));
      if (!left.insert(rank).second) continue;
      ranks[rank].leave(true);
      ASSERT_TRUE(world.run_until([&] { return ranks[rank].gone(); }, 1000)) << "rank " << rank;
      if (random.chance(70)) world.exit(rank);
    }
    world.run_for_ms(3000);
    for (uint32_t rank = 0; rank < kRanks; ++rank) EXPECT_EQ(ranks[rank].verdict_text(), "") << rank;
  });
}

// --- Places in the tree ----------------------------------------------------------------------------------

struct Fall {
  std::vector<uint32_t> ranks;
  std::string how;  // "abort", "kill", or one after the other of both
};
std::ostream& operator<<(std::ostream& out, const Fall& fall) {
  for (const uint32_t rank : fall.ranks) out << rank << " ";
  return out << fall.how;
}

class ControlSimFall : public ::testing::TestWithParam<Fall> {};
INSTANTIATE_TEST_SUITE_P(
    Places, ControlSimFall,
    ::testing::Values(Fall{{1, 2}, "abort"}, Fall{{1, 2}, "kill"}, Fall{{1, 2}, "both"},  // siblings, inner
                      Fall{{0, 1}, "abort"}, Fall{{0, 1}, "kill"},
                      Fall{{1, 0}, "both"},                          // the root and a child
                      Fall{{0, 5}, "kill"}, Fall{{0, 20}, "abort"},  // the root and a leaf
                      Fall{{1, 9}, "kill"}, Fall{{9, 1}, "abort"},   // a parent and its child
                      Fall{{9, 10}, "both"}, Fall{{9, 23}, "kill"},  // leaves
                      Fall{{0, 1, 2}, "kill"}, Fall{{2, 1, 0}, "abort"}, Fall{{0}, "abort"},
                      Fall{{0}, "kill"}));

TEST_P(ControlSimFall, IsHeardByAllSurvivorsInTheSameWords) {
  for_each_seed(20, [](uint64_t seed) {
    World world(seed, kRanks);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    std::set<uint32_t> aside;
    std::vector<std::pair<uint32_t, bool>> fallen;
    for (size_t i = 0; i < GetParam().ranks.size(); ++i) {
      const uint32_t rank = GetParam().ranks[i];
      const bool aborts = GetParam().how == "abort" || (GetParam().how == "both" && i % 2 == 0);
      fallen.emplace_back(rank, aborts);
      aside.insert(rank);
      if (aborts) {
        ranks[rank].leave(false);
      } else {
        world.kill(rank);
      }
    }
    const std::string heard = heard_by_all(world, ranks, aside);
    EXPECT_TRUE(names_one_of(heard, fallen)) << heard;
  });
}

TEST(ControlSim, TheTwoThatAreLeftOfManyHearTheSameWords) {
  for_each_seed(20, [](uint64_t seed) {
    World world(seed, kRanks);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    for (uint32_t rank = 0; rank < kRanks; ++rank) {
      if (rank != 11 && rank != 22) world.kill(rank);
    }
    const std::string heard = heard_by_all(world, ranks, {});
    EXPECT_EQ(heard.find("rank "), 0u) << heard;
    EXPECT_NE(heard.find(" died or was killed"), std::string::npos) << heard;
  });
}

TEST(ControlSim, APartWithoutTheMajoritySaysFromWhomItIsCutOff) {
  for_each_seed(20, [](uint64_t seed) {
    World world(seed, 3);
    Ranks ranks(world, 3);
    ASSERT_TRUE(ranks.join_all());
    world.freeze(0);
    world.freeze(1);
    ranks[2].declare(Code::kSystemError, "it broke");
    world.run_for_ms(kWithinMs);
    EXPECT_EQ(ranks[2].verdict_text(), "cut off from ranks 0-1: it broke");
  });
}

TEST(ControlSim, RanksWhoseRelaysHaveEndedStillHearOfEachOther) {
  for_each_seed(20, [](uint64_t seed) {
    World world(seed, kRanks);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    for (const uint32_t relay : {0u, 1u, 2u}) {
      ranks[relay].leave(true);
      ASSERT_TRUE(world.run_until([&] { return ranks[relay].gone(); }, 1000));
      world.exit(relay);
    }
    world.run_for_ms(5000);
    for (const uint32_t relay : {0u, 1u, 2u}) EXPECT_TRUE(world.is_dead(relay)) << relay;
    world.kill(12);
    const std::string heard = heard_by_all(world, ranks, {});
    EXPECT_TRUE(names_one_of(heard, {{12, false}})) << heard;
  });
}

}  // namespace
}  // namespace comity::control::sim
