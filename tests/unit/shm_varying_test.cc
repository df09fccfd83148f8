// Blocks whose lengths only two members are told each: any lengths come where they belong, by every way; who
// gives little leaves before the root came; a length that differs is told.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "tests/support/shm_calls.h"
#include "tests/support/shm_ranks.h"
#include "tests/support/varying_calls.h"
#include "transports/shm/board.h"

namespace comity::test {
namespace {

constexpr Collective kVarying[] = {Collective::kAllToAllV, Collective::kGatherV, Collective::kScatterV};

struct Way {
  const char* name;
  shm::ShmOptions options;
  bool registered;
};
const Way kWays[] = {{"direct", {false, false, 64}, true},
                     {"threads", {true, false, 64}, false},
                     {"staged", {false, false, 64}, false},
                     {"crowded", {false, false, 1}, false}};

// Calls on all members, each in its thread; `random` draws the same on all.
template <typename Draw>
void on_members(uint32_t nranks, const shm::ShmOptions& options, uint64_t seed, uint64_t calls, Draw draw) {
  auto transports = make_shm_threads(nranks, options);
  std::vector<std::thread> threads;
  for (uint32_t r = 0; r < nranks; ++r) {
    threads.emplace_back([&, r] {
      GroupProvider* group = transports[r]->group(first_ranks(nranks));
      std::mt19937_64 random(seed);
      for (uint64_t number = 1; number <= calls; ++number) {
        const VaryingRow row = draw(random, number);
        VaryingBuffers buffers(row, r);
        const Progress end = run(*group, buffers.call());
        const std::string wrong =
            end == Progress::kDone ? buffers.wrong() : std::string(group->error().message());
        if (wrong.empty()) continue;
        ADD_FAILURE() << "seed " << seed << ", call " << number << ", " << name_of(row.collective)
                      << " of rank " << r << ": " << wrong;
        return;
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

class ShmAnyLengths : public testing::TestWithParam<std::tuple<Way, uint32_t>> {};

TEST_P(ShmAnyLengths, BlocksOfAnyLengthsComeWhereTheyBelong) {
  const auto& [way, nranks] = GetParam();
  for (const uint64_t longest : {97u, 9000u, 40'000u, 1'500'007u}) {
    on_members(nranks, way.options, longest, 24, [&](std::mt19937_64& random, uint64_t number) {
      VaryingRow row;
      row.collective = kVarying[random() % 3];
      row.root = static_cast<uint32_t>(random() % nranks);
      row.lengths = random_lengths(nranks, longest, random);
      row.registered = way.registered;
      row.in_place = random() % 2 == 0;
      row.gap = random() % 2 == 0 ? 0 : 24;
      row.number = number;
      return row;
    });
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, ShmAnyLengths,
                         testing::Combine(testing::ValuesIn(kWays), testing::Values(2u, 3u, 6u)),
                         [](const testing::TestParamInfo<std::tuple<Way, uint32_t>>& tested) {
                           return fmt::format("{}_{}", std::get<0>(tested.param).name,
                                              std::get<1>(tested.param));
                         });

// Each member's memory is its own choice, and others need not know it.
TEST(ShmVarying, MembersWithMemoryOfDifferentKindsMeet) {
  auto transports = make_shm_threads(3, {false, false, 64});
  std::vector<std::thread> threads;
  for (uint32_t r = 0; r < 3; ++r) {
    threads.emplace_back([&, r] {
      GroupProvider* group = transports[r]->group(first_ranks(3));
      for (uint64_t number = 1; number <= 30; ++number) {
        VaryingRow row{kVarying[number % 3], static_cast<uint32_t>(number / 3 % 3), {}};
        row.lengths = {{5, 300'000, 1}, {0, 77, 100'003}, {12'000, 3, 0}};
        row.registered = (number + r) % 2 == 0;
        row.number = number;
        VaryingBuffers buffers(row, r);
        if (run(*group, buffers.call()) != Progress::kDone || !buffers.wrong().empty()) {
          ADD_FAILURE() << "call " << number << " rank " << r << ": " << buffers.wrong();
          return;
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST(ShmVarying, ALongBlockOf67MiBIsOneCallWithoutTiles) {
  on_members(2, {false, false, 64}, 1, 1, [](std::mt19937_64&, uint64_t number) {
    VaryingRow row;
    row.lengths = {{0, (uint64_t{67} << 20) + 1}, {3, 0}};
    row.number = number;
    return row;
  });
}

TEST(ShmVarying, CallsOfEqualLengthsInBetweenAreRight) {
  auto transports = make_shm_threads(3, {false, false, 64});
  std::vector<std::thread> threads;
  for (uint32_t r = 0; r < 3; ++r) {
    threads.emplace_back([&, r] {
      GroupProvider* group = transports[r]->group(first_ranks(3));
      std::mt19937_64 random(9);
      for (uint64_t number = 1; number <= 200; ++number) {
        std::string wrong;
        Progress end = Progress::kBusy;
        if (random() % 2 == 0) {
          Row row;
          row.collective = kGroupCollectives[random() % 8];
          row.nranks = 3;
          row.root = static_cast<uint32_t>(random() % 3);
          row.count = random() % 2 == 0 ? random() % 50 : random() % 100'000;
          const CallBuffers buffers(row, r, BufferKind::kPlain);
          GroupCall call = buffers.call();
          call.signature = signature_of(row, number);
          end = run(*group, call);
          wrong = buffers.check();
        } else {
          VaryingRow row{kVarying[random() % 3], static_cast<uint32_t>(random() % 3), {}};
          row.lengths = random_lengths(3, random() % 2 == 0 ? 100 : 300'000, random);
          row.number = number;
          VaryingBuffers buffers(row, r);
          end = run(*group, buffers.call());
          wrong = buffers.wrong();
        }
        if (end == Progress::kDone && wrong.empty()) continue;
        ADD_FAILURE() << "call " << number << " rank " << r << ": " << wrong << group->error().message();
        return;
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

// The host's part of a larger communicator: two of four ranks, numbered anew.
TEST(ShmVarying, AGroupOfSomeRanksIsAGroup) {
  auto transports = make_shm_threads(4, {false, false, 64});
  std::vector<std::thread> threads;
  for (const uint32_t member : {0u, 1u}) {
    threads.emplace_back([&, member] {
      const std::vector<uint32_t> members{1, 3};
      GroupProvider* group = transports[members[member]]->group(members);
      VaryingRow row;
      row.lengths = {{4, 70'001}, {0, 9}};
      VaryingBuffers buffers(row, member);
      EXPECT_EQ(run(*group, buffers.call()), Progress::kDone);
      EXPECT_EQ(buffers.wrong(), "");
    });
  }
  for (auto& thread : threads) thread.join();
}

// ---- Who gives at most 8 KiB waits for nobody.

VaryingRow rooted(Collective collective, uint64_t bytes, uint64_t number) {
  VaryingRow row{collective, 0, {}};
  row.lengths = {{3, bytes, 1}, {bytes, 0, 0}, {17, 0, 0}};
  row.number = number;
  return row;
}

bool stays_unfinished(GroupProvider& group) {
  for (int i = 0; i < 200; ++i) {
    if (!is_unfinished(group.poll())) return false;
  }
  return true;
}

class ShmVaryingAhead : public testing::TestWithParam<std::tuple<Collective, uint64_t>> {};

TEST_P(ShmVaryingAhead, GiversLeave64CallsBeforeTheOthersComeAndWaitInThe65th) {
  const auto& [collective, bytes] = GetParam();
  auto transports = make_shm_threads(3);
  const auto gives = [c = collective](uint32_t r) { return (c == Collective::kScatterV) == (r == 0); };
  std::vector<GroupProvider*> groups(3);
  std::vector<std::unique_ptr<VaryingBuffers>> held(3);
  for (uint32_t r = 0; r < 3; ++r) {
    if (!gives(r)) continue;
    groups[r] = transports[r]->group(first_ranks(3));
    for (uint64_t number = 1; number <= shm::kRootedSlots; ++number) {
      VaryingBuffers early(rooted(collective, bytes, number), r);
      groups[r]->start(early.call());
      ASSERT_EQ(groups[r]->poll(), Progress::kDone) << "rank " << r << " call " << number;
    }
    held[r] = std::make_unique<VaryingBuffers>(rooted(collective, bytes, 65), r);
    groups[r]->start(held[r]->call());
    ASSERT_TRUE(stays_unfinished(*groups[r])) << "rank " << r;
    EXPECT_EQ(groups[r]->awaited().what, "to come within 64 calls");
  }
  for (uint32_t r = 0; r < 3; ++r) {
    if (gives(r)) continue;
    groups[r] = transports[r]->group(first_ranks(3));
    for (uint64_t number = 1; number <= shm::kRootedSlots; ++number) {
      VaryingBuffers late(rooted(collective, bytes, number), r);
      ASSERT_EQ(run(*groups[r], late.call()), Progress::kDone) << "rank " << r << " call " << number;
      ASSERT_EQ(late.wrong(), "") << "rank " << r << " call " << number;
    }
    held[r] = std::make_unique<VaryingBuffers>(rooted(collective, bytes, 65), r);
    groups[r]->start(held[r]->call());
  }
  for (const bool giver : {true, false}) {
    for (uint32_t r = 0; r < 3; ++r) {
      if (gives(r) != giver) continue;
      EXPECT_EQ(finish(*groups[r]), Progress::kDone) << "rank " << r;
    }
  }
  for (uint32_t r = 0; r < 3; ++r) EXPECT_EQ(held[r]->wrong(), "") << "rank " << r;
}

INSTANTIATE_TEST_SUITE_P(Kinds, ShmVaryingAhead,
                         testing::Combine(testing::Values(Collective::kGatherV, Collective::kScatterV),
                                          testing::Values(0u, 1u, 101u, 900u, 8100u)),
                         [](const auto& tested) {
                           return fmt::format("{}_{}", name_of(std::get<0>(tested.param)),
                                              std::get<1>(tested.param));
                         });

// What is long waits until it was taken; who has nothing of it waits for nobody and is waited for by nobody.
TEST(ShmVarying, ALongScatterWaitsForThoseAloneThatGetSomething) {
  auto transports = make_shm_threads(3, {false, false, 64});
  VaryingRow row{Collective::kScatterV, 0, {}};
  row.lengths = {{3, 900'000, 0}, {0, 0, 0}, {0, 0, 0}};
  VaryingBuffers at_root(row, 0), taker(row, 1);
  GroupProvider* root = transports[0]->group(first_ranks(3));
  root->start(at_root.call());
  ASSERT_TRUE(stays_unfinished(*root));
  EXPECT_EQ(root->awaited().ranks, std::vector<uint32_t>{1});
  GroupProvider* other = transports[1]->group(first_ranks(3));
  other->start(taker.call());
  for (Progress end = Progress::kBusy; is_unfinished(end); end = other->poll())
    static_cast<void>(root->poll());
  EXPECT_EQ(finish(*root), Progress::kDone);
  EXPECT_EQ(taker.wrong(), "");
}

// ---- Mismatches.

struct Differing {
  uint64_t given, taken;
};

class ShmVaryingDiffers : public testing::TestWithParam<Differing> {
 protected:
  // Member 0's and member 1's rows; what 0 gives 1 differs.
  static VaryingRow row(Collective collective, uint64_t bytes) {
    VaryingRow row{collective, collective == Collective::kGatherV ? 1u : 0u, {}};
    row.lengths = {{1, bytes}, {5, 1}};
    return row;
  }
  static void expect_named(const GroupProvider& group) {
    ASSERT_TRUE(group.differing().has_value());
    EXPECT_EQ(group.differing()->giver, 0u);
    EXPECT_EQ(group.differing()->taker, 1u);
    EXPECT_EQ(group.differing()->given_bytes, GetParam().given);
    EXPECT_EQ(group.differing()->taken_bytes, GetParam().taken);
    EXPECT_EQ(group.error().code(), Code::kInvalidUsage);
    const std::string words = fmt::format("rank 0 gives rank 1 {} bytes, and that one takes {}",
                                          GetParam().given, GetParam().taken);
    EXPECT_NE(group.error().message().find(words), std::string_view::npos) << group.error().message();
  }
};

TEST_P(ShmVaryingDiffers, BothEndsOfAnAllToAllSeeIt) {
  auto transports = make_shm_threads(2, {false, false, 64});
  std::vector<GroupProvider*> groups;
  std::vector<std::unique_ptr<VaryingBuffers>> calls;
  for (uint32_t r = 0; r < 2; ++r) {
    groups.push_back(transports[r]->group(first_ranks(2)));
    const VaryingRow its = row(Collective::kAllToAllV, r == 0 ? GetParam().given : GetParam().taken);
    calls.push_back(std::make_unique<VaryingBuffers>(its, r));
    groups[r]->start(calls[r]->call());
  }
  for (uint32_t r = 0; r < 2; ++r) {
    EXPECT_EQ(finish(*groups[r]), Progress::kMismatch) << "rank " << r;
    expect_named(*groups[r]);
    groups[r]->start(calls[r]->call());
    EXPECT_EQ(groups[r]->poll(), Progress::kMismatch) << "it stays unusable";
  }
}

TEST_P(ShmVaryingDiffers, TheTakerOfARootedCallSeesIt) {
  for (const Collective collective : {Collective::kGatherV, Collective::kScatterV}) {
    auto transports = make_shm_threads(2, {false, false, 64});
    GroupProvider* giver = transports[0]->group(first_ranks(2));
    GroupProvider* taker = transports[1]->group(first_ranks(2));
    VaryingBuffers given(row(collective, GetParam().given), 0), taken(row(collective, GetParam().taken), 1);
    giver->start(given.call());
    static_cast<void>(giver->poll());
    EXPECT_EQ(run(*taker, taken.call()), Progress::kMismatch) << name_of(collective);
    expect_named(*taker);
  }
}

INSTANTIATE_TEST_SUITE_P(Lengths, ShmVaryingDiffers,
                         testing::Values(Differing{40, 36}, Differing{0, 9}, Differing{9, 0},
                                         Differing{8192, 8193}, Differing{70'000, 7}, Differing{7, 900'000}),
                         [](const auto& tested) {
                           return fmt::format("{}_and_{}", tested.param.given, tested.param.taken);
                         });

TEST(ShmVarying, AnotherCallOfAMemberIsNoDifferenceOfLengths) {
  for (const Collective collective : kVarying) {
    auto transports = make_shm_threads(2);
    std::vector<GroupProvider*> groups;
    std::vector<std::unique_ptr<VaryingBuffers>> calls;
    for (uint32_t r = 0; r < 2; ++r) {
      groups.push_back(transports[r]->group(first_ranks(2)));
      VaryingRow row{collective, 0, {{1, 2}, {2, 1}}};
      row.number = r;
      calls.push_back(std::make_unique<VaryingBuffers>(row, r));
      groups[r]->start(calls[r]->call());
    }
    const uint32_t taker = collective == Collective::kScatterV ? 1 : 0;
    EXPECT_EQ(finish(*groups[taker]), Progress::kMismatch);
    EXPECT_FALSE(groups[taker]->differing().has_value());
    EXPECT_NE(groups[taker]->error().message().find("announced another call"), std::string_view::npos);
  }
}

}  // namespace
}  // namespace comity::test
