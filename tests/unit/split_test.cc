// comityCommSplit: who is with whom, as which rank; that communicators of a family do not disturb each other.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/api_calls.h"
#include "tests/support/ranks.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

int rank_in(comityComm_t comm) {
  int rank = -1;
  EXPECT_EQ(comityCommUserRank(comm, &rank), comitySuccess) << last();
  return rank;
}

int size_of(comityComm_t comm) {
  int size = -1;
  EXPECT_EQ(comityCommCount(comm, &size), comitySuccess) << last();
  return size;
}

comityComm_t split(comityComm_t comm, int color, int key) {
  comityComm_t made = comm;
  EXPECT_EQ(comityCommSplit(comm, color, key, &made, nullptr), comitySuccess) << last();
  return made;
}

// Whether an all-gather of `mine` tells `expected`, by rank, and a sum of `count` ones the number of ranks.
::testing::AssertionResult works(comityComm_t comm, int64_t mine, const std::vector<int64_t>& expected,
                                 size_t count) {
  std::vector<int64_t> all(expected.size(), -1);
  if (comityAllGather(&mine, all.data(), 1, comityInt64, comm, nullptr) != comitySuccess)
    return ::testing::AssertionFailure() << last();
  if (all != expected) return ::testing::AssertionFailure() << "other members, or in another order";
  std::vector<int64_t> ones(count, 1);
  if (comityAllReduce(ones.data(), ones.data(), count, comityInt64, comitySum, comm, nullptr) !=
      comitySuccess)
    return ::testing::AssertionFailure() << last();
  const auto wrong = static_cast<size_t>(std::count_if(
      ones.begin(), ones.end(), [&](int64_t one) { return one != static_cast<int64_t>(expected.size()); }));
  if (wrong != 0) return ::testing::AssertionFailure() << wrong << " elements are wrong";
  return ::testing::AssertionSuccess();
}

class SplitOver : public testing::TestWithParam<const char*> {
  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam()};
};

TEST_P(SplitOver, RanksOfOneColorAreTogetherInTheOrderOfTheirKeys) {
  struct Way {
    std::function<int(int)> color, key;
  };
  const std::vector<Way> ways = {
      {[](int r) { return r % 2; }, [](int) { return 0; }},
      {[](int r) { return r < 3 ? 7 : 2'000'000'000; }, [](int r) { return -r; }},
      {[](int) { return 0; }, [](int r) { return r % 3 - 1; }},
      {[](int r) { return r; }, [](int) { return INT32_MIN; }},
      {[](int r) { return r == 1 ? COMITY_SPLIT_NOCOLOR : 5; }, [](int r) { return r == 0 ? INT32_MAX : r; }},
      {[](int) { return COMITY_SPLIT_NOCOLOR; }, [](int) { return 0; }}};
  constexpr int kRanks = 5;
  Ranks ranks(kRanks);
  for (const Way& way : ways) {
    ranks.run([&](int r, comityComm_t comm) {
      const comityComm_t made = split(comm, way.color(r), way.key(r));
      ASSERT_EQ(made == nullptr, way.color(r) == COMITY_SPLIT_NOCOLOR);
      if (made == nullptr) return;
      std::vector<int64_t> members;
      for (int other = 0; other < kRanks; ++other)
        if (way.color(other) == way.color(r)) members.push_back(other);
      std::stable_sort(members.begin(), members.end(), [&](int64_t a, int64_t b) {
        return way.key(static_cast<int>(a)) < way.key(static_cast<int>(b));
      });
      EXPECT_EQ(size_of(made), static_cast<int>(members.size()));
      EXPECT_EQ(members.at(static_cast<size_t>(rank_in(made))), r);
      for (const size_t count : {size_t{1}, size_t{5'003}, size_t{300'007}})
        EXPECT_TRUE(works(made, r, members, count)) << count;
      EXPECT_EQ(comityCommDestroy(made), comitySuccess) << last();
    });
  }
  ranks.run([](int r, comityComm_t comm) { EXPECT_TRUE(works(comm, r, {0, 1, 2, 3, 4}, 1000)); });
}

TEST_P(SplitOver, ASplitCanBeSplitAndOutlivesWhatItCameFrom) {
  Ranks ranks(8);
  std::vector<comityComm_t> quarters(8);
  ranks.run([&](int r, comityComm_t comm) {
    const comityComm_t half = split(comm, r / 4, -r);
    quarters[static_cast<size_t>(r)] = split(half, rank_in(half) % 2, 0);
    EXPECT_EQ(comityCommDestroy(half), comitySuccess) << last();
  });
  for (comityComm_t& comm : ranks.comms) {
    EXPECT_EQ(comityCommDestroy(comm), comitySuccess) << last();
    comm = nullptr;
  }
  ranks.run([&](int r, comityComm_t) {
    // Halves are reversed: ranks 3 and 1 of 3, 2, 1, 0 are together.
    const int64_t low = r % 2 + r / 4 * 4;
    const comityComm_t quarter = quarters[static_cast<size_t>(r)];
    EXPECT_TRUE(works(quarter, r, {low + 2, low}, 200'003));
    const comityComm_t alone = split(quarter, r, 0);
    EXPECT_TRUE(works(alone, r, {r}, 10));
    EXPECT_EQ(comityCommDestroy(quarter), comitySuccess) << last();
    EXPECT_TRUE(works(alone, r, {r}, 10));
    EXPECT_EQ(comityCommDestroy(alone), comitySuccess) << last();
  });
}

TEST_P(SplitOver, CommunicatorsOfAFamilyWorkAtOnceOnThreadsOfTheirOwn) {
  constexpr int kRanks = 4, kCalls = 60;
  Ranks ranks(kRanks);
  ranks.run([](int r, comityComm_t comm) {
    const comityComm_t all = split(comm, 0, 0);
    const comityComm_t pair = split(comm, r / 2, r);
    const auto use = [r](comityComm_t its, const std::vector<int64_t>& members, size_t count) {
      for (int call = 0; call < kCalls; ++call)
        ASSERT_TRUE(works(its, r, members, count + static_cast<size_t>(call))) << call;
    };
    std::thread second([&] { use(all, {0, 1, 2, 3}, 70'001); });
    std::thread third([&] { use(pair, {r / 2 * 2, r / 2 * 2 + 1}, 100); });
    use(comm, {0, 1, 2, 3}, 9'001);
    second.join();
    third.join();
    EXPECT_EQ(comityCommDestroy(all), comitySuccess) << last();
    EXPECT_EQ(comityCommDestroy(pair), comitySuccess) << last();
  });
}

TEST_P(SplitOver, OneGroupDrivesParentAndChildrenOfAThread) {
  Ranks ranks(4);
  ranks.run([](int r, comityComm_t comm) {
    const comityComm_t pair = split(comm, r % 2, 0);
    for (const size_t count : {size_t{1}, size_t{10'007}, size_t{200'003}}) {
      std::vector<int64_t> a(count, 1), b(count, 1);
      ASSERT_EQ(comityGroupStart(), comitySuccess);
      // In other orders on other ranks.
      for (const bool first : {r < 2, r >= 2}) {
        std::vector<int64_t>& buffer = first ? a : b;
        ASSERT_EQ(comityAllReduce(buffer.data(), buffer.data(), count, comityInt64, comitySum,
                                  first ? comm : pair, nullptr),
                  comitySuccess);
      }
      ASSERT_EQ(comityGroupEnd(), comitySuccess) << last();
      EXPECT_EQ(std::count(a.begin(), a.end(), 4), static_cast<ptrdiff_t>(count));
      EXPECT_EQ(std::count(b.begin(), b.end(), 2), static_cast<ptrdiff_t>(count));
    }
    EXPECT_EQ(comityCommDestroy(pair), comitySuccess) << last();
  });
}

TEST_P(SplitOver, AMismatchInOneLeavesItsFamilyUsable) {
  Ranks ranks(4);
  ranks.run([](int r, comityComm_t comm) {
    const comityComm_t pair = split(comm, r / 2, 0);
    const comityComm_t other = split(comm, r % 2, 0);
    if (r < 2) {
      std::vector<int64_t> buffer(r == 0 ? 300'007 : 300'001, 1);
      EXPECT_EQ(
          comityAllReduce(buffer.data(), buffer.data(), buffer.size(), comityInt64, comitySum, pair, nullptr),
          comityInvalidUsage)
          << last();
      EXPECT_NE(last().find("300007 int64"), std::string::npos) << last();
      EXPECT_NE(last().find("300001 int64"), std::string::npos) << last();
      EXPECT_EQ(comityBarrier(pair, nullptr), comityInvalidUsage);
    } else {
      EXPECT_TRUE(works(pair, r, {2, 3}, 100'003));
    }
    EXPECT_TRUE(works(other, r, {r % 2, r % 2 + 2}, 300'007));
    EXPECT_TRUE(works(comm, r, {0, 1, 2, 3}, 300'007));
    EXPECT_EQ(comityCommDestroy(pair), r < 2 ? comityInvalidUsage : comitySuccess) << last();
    EXPECT_TRUE(works(comm, r, {0, 1, 2, 3}, 300'007));
    EXPECT_TRUE(works(other, r, {r % 2, r % 2 + 2}, 1));
    EXPECT_EQ(comityCommDestroy(other), comitySuccess) << last();
  });
}

TEST_P(SplitOver, AnAbortEndsOneAndNotItsFamily) {
  Ranks ranks(4);
  ranks.run([](int r, comityComm_t comm) {
    const comityComm_t all = split(comm, 0, 0);
    const comityComm_t spare = split(comm, 0, 0);
    if (r == 3) {
      EXPECT_EQ(comityCommAbort(all), comitySuccess) << last();
    } else {
      std::vector<int64_t> buffer(500'009, 1);
      EXPECT_EQ(
          comityAllReduce(buffer.data(), buffer.data(), buffer.size(), comityInt64, comitySum, all, nullptr),
          comityRemoteError)
          << last();
      EXPECT_TRUE(works(spare, r, {0, 1, 2, 3}, 1));
      EXPECT_EQ(comityCommAbort(all), comitySuccess) << last();
    }
    if (r == 3) {
      EXPECT_TRUE(works(spare, r, {0, 1, 2, 3}, 1));
    }
    EXPECT_TRUE(works(comm, r, {0, 1, 2, 3}, 300'007));
    EXPECT_TRUE(works(spare, r, {0, 1, 2, 3}, 300'007));
    EXPECT_EQ(comityCommDestroy(spare), comitySuccess) << last();
  });
}

INSTANTIATE_TEST_SUITE_P(Every, SplitOver, testing::Values("shm", "tcp"),
                         [](const auto& tested) { return std::string(tested.param); });

// One thread is all ranks, and splits each twice.
TEST_P(SplitOver, AGroupSplitsTheCommunicatorsOfOneThread) {
  Ranks ranks(4);
  std::vector<comityComm_t> pairs(4), reversed(4);
  std::vector<int64_t> ones(4, 1);
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  for (size_t r = 0; r < 4; ++r) {
    const int rank = static_cast<int>(r);
    ASSERT_EQ(comityCommSplit(ranks.comms[r], rank / 2, 0, &pairs[r], nullptr), comitySuccess) << last();
    ASSERT_EQ(comityAllReduce(&ones[r], &ones[r], 1, comityInt64, comitySum, ranks.comms[r], nullptr),
              comitySuccess);
    ASSERT_EQ(comityCommSplit(ranks.comms[r], 0, -rank, &reversed[r], nullptr), comitySuccess) << last();
    ASSERT_EQ(pairs[r], nullptr);
  }
  ASSERT_EQ(comityGroupEnd(), comitySuccess) << last();
  EXPECT_EQ(ones, std::vector<int64_t>(4, 4));
  ranks.run([&](int r, comityComm_t) {
    const auto at = static_cast<size_t>(r);
    EXPECT_TRUE(works(pairs[at], r, {r / 2 * 2, r / 2 * 2 + 1}, 1000));
    EXPECT_TRUE(works(reversed[at], r, {3, 2, 1, 0}, 1000));
    EXPECT_EQ(comityCommDestroy(pairs[at]), comitySuccess) << last();
    EXPECT_EQ(comityCommDestroy(reversed[at]), comitySuccess) << last();
  });
}

TEST(Split, WrongArgumentsAreRefusedWithoutEffect) {
  Ranks ranks(2);
  ranks.run([](int r, comityComm_t comm) {
    comityComm_t made = comm;
    EXPECT_EQ(comityCommSplit(comm, -2, 0, &made, nullptr), comityInvalidArgument);
    EXPECT_NE(last().find("color is -2"), std::string::npos) << last();
    EXPECT_EQ(made, nullptr);
    EXPECT_EQ(comityCommSplit(comm, 0, 0, nullptr, nullptr), comityInvalidArgument);
    EXPECT_EQ(comityCommSplit(nullptr, 0, 0, &made, nullptr), comityInvalidArgument);
    comityConfig_t config = COMITY_CONFIG_INITIALIZER;
    config.magic = 1;
    EXPECT_EQ(comityCommSplit(comm, 0, 0, &made, &config), comityInvalidArgument);
    EXPECT_TRUE(works(comm, r, {0, 1}, 100));
  });
}

// The ranks of `ranks` split with what config_of(rank) gives; what each gets told.
std::vector<std::string> split_with(Ranks& ranks, const std::function<comityConfig_t(int)>& config_of,
                                    comityResult_t expected) {
  std::vector<std::string> told(ranks.comms.size());
  ranks.run([&](int r, comityComm_t comm) {
    comityConfig_t config = config_of(r);
    comityComm_t made = nullptr;
    EXPECT_EQ(comityCommSplit(comm, 0, 0, &made, &config), expected) << last();
    told[static_cast<size_t>(r)] = last();
    if (made == nullptr) return;
    EXPECT_EQ(comityCommDestroy(made), comitySuccess);
  });
  return told;
}

TEST(Split, OtherTransportsOrInterfacesThanTheParentsAreRefusedWithoutEffect) {
  const ScopedEnv transports("COMITY_TRANSPORTS", "shm");
  Ranks ranks(2);
  for (const bool other : {true, false}) {
    const auto config_of = [other](int) {
      comityConfig_t config = COMITY_CONFIG_INITIALIZER;
      config.transports = other ? "tcp" : "shm";
      return config;
    };
    for (const std::string& text :
         split_with(ranks, config_of, other ? comityInvalidArgument : comitySuccess)) {
      EXPECT_EQ(text.find("transports = \"tcp\"") != std::string::npos, other) << text;
    }
  }
  ranks.run([](int r, comityComm_t comm) { EXPECT_TRUE(works(comm, r, {0, 1}, 100)); });
}

TEST(Split, ConfigsThatDifferInWhatAllMustShareAreNamedAndTheParentGoesOn) {
  Ranks ranks(3);
  const auto config_of = [](int r) {
    comityConfig_t config = COMITY_CONFIG_INITIALIZER;
    config.deterministic = r == 2 ? 1 : 0;
    return config;
  };
  for (const std::string& text : split_with(ranks, config_of, comityInvalidUsage)) {
    EXPECT_NE(text.find("ranks 0 and 2"), std::string::npos) << text;
    EXPECT_NE(text.find("deterministic 1"), std::string::npos) << text;
  }
  ranks.run([](int r, comityComm_t comm) { EXPECT_TRUE(works(comm, r, {0, 1, 2}, 100)); });
}

TEST(Split, ItsInitTimeoutBoundsTheWaitForTheOthers) {
  constexpr int kTimeoutMs = 300;
  Ranks ranks(2);
  comityConfig_t config = COMITY_CONFIG_INITIALIZER;
  config.initTimeoutMs = kTimeoutMs;
  comityComm_t made = nullptr;
  const Deadline late = Deadline::after_ms(10 * kTimeoutMs);
  EXPECT_EQ(comityCommSplit(ranks.comms[0], 0, 0, &made, &config), comityTimeout);  // rank 1 does not come
  EXPECT_FALSE(late.passed());
  EXPECT_NE(last().find("initTimeoutMs, 300"), std::string::npos) << last();
  EXPECT_EQ(made, nullptr);
}

TEST(Split, ARankThatMakesAnotherCallInsteadIsNamed) {
  Ranks ranks(3);
  ranks.run([](int r, comityComm_t comm) {
    comityComm_t made = nullptr;
    char buffer = 0;
    const comityResult_t result = r == 1 ? comityBroadcast(&buffer, &buffer, 1, comityInt8, 0, comm, nullptr)
                                         : comityCommSplit(comm, 0, r, &made, nullptr);
    EXPECT_EQ(result, comityInvalidUsage) << last();
    EXPECT_NE(last().find("split"), std::string::npos) << last();
    EXPECT_NE(last().find("rank 1 called broadcast"), std::string::npos) << last();
    EXPECT_EQ(made, nullptr);
  });
}

}  // namespace
}  // namespace comity::test
