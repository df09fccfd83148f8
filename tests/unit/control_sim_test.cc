// The control plane in simulation: joining, gathering and verdicts, seeded.
#include <gtest/gtest.h>

#include <string>

#include "src/control/sim/loop.h"
#include "src/control/tree_shape.h"
#include "tests/support/control_sim.h"

namespace comity::control::sim {
namespace {

// --- Joining ---------------------------------------------------------------------------------------------

TEST(ControlSim, RanksMeetFormTheTreeAndGather) {
  for_each_seed(40, [](uint64_t seed) {
    const uint32_t nranks = 1 + static_cast<uint32_t>(mix(seed) % 60);
    World world(seed, nranks);
    Ranks ranks(world, nranks);
    ASSERT_TRUE(ranks.join_all()) << nranks << " ranks";
    for (uint32_t rank = 0; rank < nranks; ++rank) ranks[rank].gather(bytes_of(std::to_string(rank)));
    for (uint32_t rank = 0; rank < nranks; ++rank) {
      std::optional<GatherResult> all;
      ASSERT_TRUE(world.run_until([&] { return (all = ranks[rank].result(1)).has_value(); }, kWithinMs));
      ASSERT_EQ(all->items.size(), nranks);
      for (uint32_t other = 0; other < nranks; ++other)
        EXPECT_EQ(all->items[other], bytes_of(std::to_string(other)));
      EXPECT_EQ(ranks[rank].verdict(), nullptr);
    }
  });
}

TEST(ControlSim, WhatIsMadeWhileAProcessEndsIsToldOfTheEndToo) {
  World world(1, 1);
  Loop& loop = world.sim_loop(0);
  uint32_t told = 0;
  const auto make_another = [&] {
    loop.hold();
    loop.at_end([&] {
      ++told;
      loop.release();
    });
  };
  for (uint32_t made = 0; made < 4; ++made) loop.at_end(make_another);
  loop.hold();
  loop.after_ms(5, [&] {
    make_another();
    loop.release();
  });
  world.exit(0);
  EXPECT_TRUE(world.run_until([&] { return loop.stopped(); }, 1000));
  EXPECT_EQ(told, 5u);
}

// --- Letters ---------------------------------------------------------------------------------------------

constexpr uint8_t kBox = 3;

class Received final : public MailReceiver {
 public:
  void came(uint32_t from, std::span<const std::byte> letter) override {
    by_sender[from].emplace_back(letter.begin(), letter.end());
  }
  std::map<uint32_t, std::vector<Bytes>> by_sender;
};

TEST(ControlSim, LettersComeOnceAndInTheOrderOfTheirPair) {
  for_each_seed(20, [](uint64_t seed) {
    World world(seed, kRanks);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    std::vector<Received> received(kRanks);
    Received others;  // at another box
    ranks[0].node().letterboxes()->open(kBox + 1, others);
    const auto open = [&](uint32_t rank) { ranks[rank].node().letterboxes()->open(kBox, received[rank]); };
    for (uint32_t rank = 0; rank < kRanks; rank += 2) open(rank);
    for (uint32_t number = 0; number < 3; ++number) {
      for (uint32_t from = 0; from < kRanks; ++from) {
        ranks[from].loop().post([&, from, number] {
          for (uint32_t to = 0; to < kRanks; ++to)
            ranks[from].node().post_letter(to, kBox, bytes_of(std::to_string(to * 10 + number)));
        });
      }
    }
    ranks[5].loop().post([&] { ranks[5].node().post_letter(0, kBox + 1, bytes_of("hello")); });
    world.run_for_ms(2'000);
    EXPECT_EQ(others.by_sender, (std::map<uint32_t, std::vector<Bytes>>{{5, {bytes_of("hello")}}}));
    ranks[0].node().letterboxes()->close(kBox + 1);
    for (uint32_t rank = 1; rank < kRanks; rank += 2) open(rank);  // what came before is kept
    for (uint32_t to = 0; to < kRanks; ++to) {
      ASSERT_EQ(received[to].by_sender.size(), kRanks) << "to " << to;
      for (const auto& [from, letters] : received[to].by_sender) {
        const std::vector<Bytes> sent = {bytes_of(std::to_string(to * 10)),
                                         bytes_of(std::to_string(to * 10 + 1)),
                                         bytes_of(std::to_string(to * 10 + 2))};
        EXPECT_EQ(letters, sent) << from << " to " << to;
      }
      ranks[to].node().letterboxes()->close(kBox);
    }
  });
}

TEST(ControlSim, TheSameSeedReplaysExactlyAndAnotherDoesNot) {
  const auto trace_of = [](uint64_t seed) {
    World world(seed, kRanks);
    uint64_t trace = 0;
    Ranks ranks(world, kRanks);
    EXPECT_TRUE(ranks.join_all());
    world.kill(9);
    heard_by_all(world, ranks, {});
    trace = world.trace_hash();
    return trace;
  };
  EXPECT_EQ(trace_of(5), trace_of(5));
  EXPECT_NE(trace_of(5), trace_of(6));
}

TEST(ControlSim, MissingRanksAreNamedToAllOnceADeadlinePassed) {
  for_each_seed(20, [](uint64_t seed) {
    World world(seed, 20);
    Ranks ranks(world, 20, 20'000);
    for (const uint32_t rank : {0u, 1u, 3u, 4u, 8u, 9u}) ranks[rank].join();
    world.run_for_ms(30'000);
    for (const uint32_t rank : {0u, 1u, 3u, 4u, 8u, 9u}) {
      ASSERT_TRUE(ranks[rank].joined().has_value()) << "rank " << rank;
      EXPECT_EQ(ranks[rank].joined()->code(), Code::kTimeout);
      EXPECT_NE(ranks[rank].joined()->message().find("missing ranks: 2, 5-7, 10-19 of 20"), std::string::npos)
          << ranks[rank].joined()->message();
    }
  });
}

TEST(ControlSim, ARankThatGivesUpFailsTheJoinOfAllWithItsReason) {
  for_each_seed(20, [](uint64_t seed) {
    World world(seed, 12);
    Ranks ranks(world, 12);
    for (uint32_t rank = 0; rank < 11; ++rank) ranks[rank].join();
    world.run_for_ms(mix(seed) % 50);
    ranks[4].give_up(Status(Code::kRemoteError, "rank 4 aborted while it joined"));
    world.run_for_ms(10'000);
    for (uint32_t rank = 0; rank < 11; ++rank) {
      ASSERT_TRUE(ranks[rank].joined().has_value()) << "rank " << rank;
      EXPECT_EQ(ranks[rank].joined()->message(), "rank 4 aborted while it joined") << "rank " << rank;
    }
  });
}

TEST(ControlSim, ARankGivenTwiceFailsAllAndIsNamed) {
  for_each_seed(20, [](uint64_t seed) {
    World world(seed, 5);
    Ranks ranks(world, 4);  // of which rank 3 does not come
    ranks.add(4, 2, 4);
    for (const uint32_t i : {0u, 1u, 2u, 4u}) ranks[i].join();
    world.run_for_ms(10'000);
    for (const uint32_t i : {0u, 1u, 2u, 4u}) {
      ASSERT_TRUE(ranks[i].joined().has_value()) << i;
      EXPECT_EQ(ranks[i].joined()->code(), Code::kInvalidArgument);
      EXPECT_NE(ranks[i].joined()->message().find("rank 2 of 4 was given twice"), std::string::npos)
          << ranks[i].joined()->message();
    }
  });
}

TEST(ControlSim, RanksThatDisagreeOnTheirNumberFailAllAndAreNamed) {
  for_each_seed(20, [](uint64_t seed) {
    World world(seed, 4);
    Ranks ranks(world, 3);  // of which rank 2 does not come
    ranks.add(3, 2, 4);
    for (const uint32_t i : {0u, 1u, 3u}) ranks[i].join();
    world.run_for_ms(10'000);
    for (const uint32_t i : {0u, 1u, 3u}) {
      ASSERT_TRUE(ranks[i].joined().has_value()) << i;
      EXPECT_NE(ranks[i].joined()->message().find("ranks disagree on the number of ranks: rank "),
                std::string::npos)
          << ranks[i].joined()->message();
    }
  });
}

TEST(ControlSim, ADeathWhileOthersJoinFailsThemAllForOneReason) {
  for_each_seed(40, [](uint64_t seed) {
    constexpr uint32_t kNeverComes = 11;  // so that all still wait
    World world(seed, 12);
    Ranks ranks(world, 12, 5000);
    const auto victim = static_cast<uint32_t>(1 + mix(seed) % 10);
    for (uint32_t rank = 0; rank < kNeverComes; ++rank) ranks[rank].join();
    world.run_for_ms(mix(seed, 1) % 20);
    world.kill(victim);
    world.run_for_ms(20'000);
    std::set<std::string> reasons;
    for (uint32_t rank = 0; rank < kNeverComes; ++rank) {
      if (rank == victim) continue;
      ASSERT_TRUE(ranks[rank].joined().has_value()) << rank;
      EXPECT_FALSE(ranks[rank].joined()->ok()) << rank;
      reasons.insert(std::string(ranks[rank].joined()->message()));
    }
    EXPECT_EQ(reasons.size(), 1u);
    const std::string& reason = *reasons.begin();
    const std::string orphan = "its parent in the control tree, rank " + std::to_string(victim) + ", which";
    EXPECT_TRUE(names_one_of(reason, {{victim, false}}) || reason.find(orphan) != std::string::npos ||
                reason.find("missing ranks: ") != std::string::npos)
        << reason;
  });
}

// --- Verdicts --------------------------------------------------------------------------------------------

TEST(ControlSim, MismatchedCallsAreOneVerdictThatNamesBoth) {
  for_each_seed(40, [](uint64_t seed) {
    World world(seed, kRanks);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    const auto odd = static_cast<uint32_t>(1 + mix(seed) % (kRanks - 1));
    for (uint32_t rank = 0; rank < kRanks; ++rank)
      ranks[rank].calls().record(all_reduce_call(1, rank == odd ? 9 : 8));
    ranks[odd].report(1);
    ranks[static_cast<uint32_t>(mix(seed, 2) % kRanks)].report(1);
    const uint64_t since_ns = world.now_ns();
    const std::string heard = heard_by_all(world, ranks, {});
    EXPECT_EQ(heard.find("ranks disagree on collective 1: rank "), 0u) << heard;
    EXPECT_NE(heard.find("rank " + std::to_string(odd) + " called all_reduce of 9 float32 (sum)"),
              std::string::npos)
        << heard;
    EXPECT_LT(world.now_ns() - since_ns, 1'000'000'000u);
  });
}

TEST(ControlSim, ARankThatIsMerelyLateBringsNoVerdict) {
  for_each_seed(20, [](uint64_t seed) {
    World world(seed, kRanks);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    const auto late = static_cast<uint32_t>(mix(seed) % kRanks);
    for (uint32_t rank = 0; rank < kRanks; ++rank) {
      if (rank == late) continue;
      ranks[rank].calls().record(all_reduce_call(1, 8));
      ranks[rank].report(1);
    }
    world.run_for_ms(2000);
    ranks[late].calls().record(all_reduce_call(1, 8));
    ranks[late].report(1);
    world.run_for_ms(2000);
    EXPECT_EQ(heard_by_all(world, ranks, {}), "");
  });
}

TEST(ControlSim, ACollectiveThatARankLeftBeforeNamesIt) {
  for_each_seed(20, [](uint64_t seed) {
    World world(seed, 12);
    Ranks ranks(world, 12);
    ASSERT_TRUE(ranks.join_all());
    const auto leaver = static_cast<uint32_t>(mix(seed) % 12);
    for (uint32_t rank = 0; rank < 12; ++rank) ranks[rank].calls().record(all_reduce_call(1, 64));
    ranks[leaver].leave(true);
    ASSERT_TRUE(world.run_until([&] { return ranks[leaver].gone(); }, 1000));
    for (uint32_t rank = 0; rank < 12; ++rank) {
      if (rank == leaver) continue;
      ranks[rank].calls().record(all_reduce_call(2, 64));
      ranks[rank].report(2);
    }
    const std::string heard = heard_by_all(world, ranks, {leaver});
    EXPECT_NE(heard.find(std::to_string(leaver) + " left the communicator after collective 1"),
              std::string::npos)
        << heard;
  });
}

TEST(ControlSim, TheFirstDeclaredErrorIsTheSameOnAllRanks) {
  for_each_seed(40, [](uint64_t seed) {
    World world(seed, kRanks);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    for (uint32_t rank = 0; rank < kRanks; ++rank)
      ranks[rank].declare(Code::kSystemError, "rank " + std::to_string(rank) + " has no memory");
    const std::string heard = heard_by_all(world, ranks, {});
    EXPECT_EQ(heard.find("rank "), 0u) << heard;
    EXPECT_EQ(heard.find('\n'), std::string::npos) << heard;
  });
}

}  // namespace
}  // namespace comity::control::sim
