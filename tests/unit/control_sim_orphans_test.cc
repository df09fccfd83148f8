// The control plane in simulation: ranks that end while they have no place in the tree, seeded.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "src/control/tree_shape.h"
#include "tests/support/control_sim.h"

namespace comity::control::sim {
namespace {

// Communicator 777 of a family, on the members that will live: how each of them sees it.
std::vector<std::shared_ptr<Scope>> open_part(World& world, Ranks& ranks, const std::vector<uint32_t>& living,
                                              uint32_t victim) {
  std::vector<uint32_t> members = living;
  members.push_back(victim);
  std::vector<std::shared_ptr<Scope>> parts;
  for (uint32_t own = 0; own < living.size(); ++own) {
    parts.push_back(std::make_shared<Scope>(777, members, own, static_cast<uint32_t>(members.size()), ""));
    ranks[living[own]].loop().post(
        [node = ranks[living[own]].shared_node(), part = parts.back()] { node->open_scope(part); });
  }
  world.run_for_ms(50);
  return parts;
}

void leave_part(Ranks& ranks, const std::vector<uint32_t>& living,
                const std::vector<std::shared_ptr<Scope>>& parts) {
  for (uint32_t own = 0; own < living.size(); ++own) {
    ranks[living[own]].loop().post(
        [node = ranks[living[own]].shared_node(), part = parts[own]] { node->leave(part, true); });
  }
}

// The relays above `victim` leave and their processes end, and it dies within `within_us` of that.
void end_relays_above(World& world, Ranks& ranks, uint32_t victim, uint64_t within_us) {
  std::vector<uint32_t> relays;
  for (uint32_t rank = victim; rank > 0;) relays.push_back(rank = parent_of(rank));
  for (const uint32_t relay : relays) {
    ranks[relay].leave(true);
    ASSERT_TRUE(world.run_until([&] { return ranks[relay].gone(); }, 1000)) << relay;
  }
  for (const uint32_t relay : relays) world.exit(relay);
  const uint64_t until_ns = world.now_ns() + within_us * 1000;
  while (world.now_ns() < until_ns && world.step()) {
  }
  world.kill(victim);
}

void expect_named_without_a_place(uint64_t seed, const WorldOptions& options) {
  World world(seed, kRanks, options);
  Ranks ranks(world, kRanks);
  ASSERT_TRUE(ranks.join_all());
  const auto victim = static_cast<uint32_t>(1 + mix(seed) % (kRanks - 1));
  end_relays_above(world, ranks, victim, mix(seed, 1) % 2000);
  const std::string heard = heard_by_all(world, ranks, {});
  EXPECT_TRUE(names_one_of(heard, {{victim, false}})) << heard;
}

TEST(ControlSimOrphans, ARankThatIsKilledWhileItLooksForAPlaceIsNamedToAll) {
  for_each_seed(300, [](uint64_t seed) { expect_named_without_a_place(seed, {}); });
}

// Of hosts with one process each: nobody sees the process end.
TEST(ControlSimOrphans, ARankThatIsAloneOnItsHostIsNamedToo) {
  WorldOptions options;
  options.per_host = 1;
  for_each_seed(100, [&](uint64_t seed) { expect_named_without_a_place(seed, options); });
}

// The verdict on the relay says nothing of who was below it.
TEST(ControlSimOrphans, WhoDiesWithItsRelayEndsTheCommunicatorsThatTheRelayWasNotIn) {
  for_each_seed(100, [](uint64_t seed) {
    World world(seed, kRanks);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    const auto victim = static_cast<uint32_t>(9 + mix(seed) % (kRanks - 9));
    const std::vector<uint32_t> living = {3, 4, 5};
    const auto parts = open_part(world, ranks, living, victim);
    world.kill(parent_of(victim));
    world.run_for_ms(mix(seed, 1) % 3);
    world.kill(victim);
    const auto all_heard = [&] {
      return std::all_of(parts.begin(), parts.end(),
                         [](const auto& part) { return part->verdict.load() != nullptr; });
    };
    EXPECT_TRUE(world.run_until(all_heard, kWithinMs)) << "rank " << victim << " died, and nobody said so";
    leave_part(ranks, living, parts);
  });
}

TEST(ControlSimOrphans, RanksThatLeaveTogetherAndExitAtOnceBringNoVerdictToThoseThatWork) {
  for_each_seed(300, [](uint64_t seed) {
    WorldOptions options;
    options.per_host = mix(seed, 9) % 2 == 0 ? 1 : 4;
    World world(seed, kRanks, options);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    SplitMix random(mix(seed, 4));
    std::set<uint32_t> leavers;
    const uint64_t count = 1 + random.up_to(kRanks - 2);
    while (leavers.size() < count) leavers.insert(static_cast<uint32_t>(random.up_to(kRanks - 1)));
    const uint64_t spread_ms = random.up_to(30);
    for (const uint32_t rank : leavers) {
      const uint64_t at_ns = world.now_ns() + random.up_to(spread_ms * 1'000'000);
      world.at(at_ns, [&ranks, rank] { ranks[rank].leave(true); });
    }
    std::set<uint32_t> exited;
    const auto let_go = [&] {
      for (const uint32_t rank : leavers) {
        if (ranks[rank].gone() && exited.insert(rank).second) world.exit(rank);
      }
      return exited.size() == leavers.size();
    };
    EXPECT_TRUE(world.run_until(let_go, kWithinMs));
    world.run_for_ms(8000);
    for (uint32_t rank = 0; rank < kRanks; ++rank) {
      EXPECT_EQ(ranks[rank].verdict_text(), "") << rank;
    }
    for (const uint32_t rank : leavers) EXPECT_TRUE(world.is_dead(rank)) << rank;
  });
}

TEST(ControlSimOrphans, WhoLeavesBelowAStoppedRankIsNotTakenForDead) {
  for_each_seed(30, [](uint64_t seed) {
    World world(seed, kRanks);
    Ranks ranks(world, kRanks);
    ASSERT_TRUE(ranks.join_all());
    const auto stopped = static_cast<uint32_t>(mix(seed) % 3);  // the root or an inner rank
    const auto leaver = static_cast<uint32_t>(first_child_of(stopped) + mix(seed, 1) % 7);
    world.freeze(stopped);
    ranks[leaver].leave(true);
    EXPECT_TRUE(world.run_until([&] { return ranks[leaver].gone(); }, 9'000)) << "it finds another parent";
    world.exit(leaver);
    world.run_for_ms(15'000);
    for (uint32_t rank = 0; rank < kRanks; ++rank) EXPECT_EQ(ranks[rank].verdict_text(), "") << rank;
    world.thaw(stopped);
    world.run_for_ms(5'000);
    for (uint32_t rank = 0; rank < kRanks; ++rank) EXPECT_EQ(ranks[rank].verdict_text(), "") << rank;
    ranks[8].declare(Code::kSystemError, "no memory");
    EXPECT_EQ(heard_by_all(world, ranks, {leaver}), "no memory");
  });
}

// The meeting point may have closed by the time that it hears of it: then it holds nothing any more.
TEST(ControlSimOrphans, ProcessesEndWhereOneGivesUpWhileTheMeetingCloses) {
  for_each_seed(400, [](uint64_t seed) {
    World world(seed, 3);
    Ranks ranks(world, 3);
    ranks.join(1);
    const auto one = static_cast<uint32_t>(1 + mix(seed, 1) % 2);
    world.run_until([&] { return ranks[0].stands(); }, 1'000);
    for (uint64_t steps = mix(seed) % 8; steps > 0; --steps) world.step();
    ranks[one].give_up(Status(Code::kInvalidUsage, "no more"));
    world.run_for_ms(100);
    for (uint32_t rank = 0; rank < 3; ++rank) ranks[rank].leave(true);
    for (uint32_t rank = 0; rank < 3; ++rank) world.exit(rank);
    const auto all_dead = [&] { return world.is_dead(0) && world.is_dead(1) && world.is_dead(2); };
    EXPECT_TRUE(world.run_until(all_dead, 120'000)) << "something holds a process for ever";
  });
}

}  // namespace
}  // namespace comity::control::sim
