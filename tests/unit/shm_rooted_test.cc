// Short calls in which one member gives or takes: who only gives leaves before the others came, 64 calls
// ahead at most; late takers find their bytes; a call that differs is told where members meet next.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "tests/support/shm_calls.h"
#include "tests/support/shm_ranks.h"
#include "transports/shm/board.h"

namespace comity::test {
namespace {

constexpr uint64_t kAhead = shm::kRootedSlots;

// One rank's call, whose bytes differ from call to call.
struct NumberedCall {
  NumberedCall(Collective collective, uint32_t rank, uint32_t nranks, uint32_t root, uint64_t number,
               uint64_t words)
      : in(words * (has_input_blocks(collective) ? nranks : 1)),
        out(words * (has_output_blocks(collective) ? nranks : 1)),
        root_(root),
        rank_(rank),
        nranks_(nranks),
        number_(number) {
    for (uint64_t i = 0; i < in.size(); ++i) in[i] = word(rank, i);
    const auto cut = [&](std::vector<uint64_t>& words_of, std::vector<Piece>& pieces) {
      for (uint64_t at = 0; at < words_of.size(); at += words)
        pieces.push_back({reinterpret_cast<std::byte*>(words_of.data() + at), words * 8});
    };
    if (!gives_from_root(collective) || rank == root) cut(in, src);
    if (!takes_to_root(collective) || rank == root) cut(out, dst);
    call.collective = collective;
    call.type = DataType::kUint64;
    call.root = root;
    call.signature = number * 1000 + words;
    call.src = src;
    call.dst = dst;
  }
  uint64_t word(uint32_t rank, uint64_t i) const { return (number_ << 32) + rank * 100'000 + i; }
  // What word i of block `block` of this rank's output must be.
  uint64_t expected(uint64_t block, uint64_t i) const {
    const uint64_t words = dst[0].bytes / 8;
    switch (call.collective) {
      case Collective::kBroadcast:
        return word(root_, i);
      case Collective::kScatter:
        return word(root_, rank_ * words + i);
      case Collective::kGather:
        return word(static_cast<uint32_t>(block), i);
      case Collective::kAllToAll:
        return word(static_cast<uint32_t>(block), rank_ * words + i);
      default: {
        uint64_t sum = 0;
        for (uint32_t r = 0; r < nranks_; ++r) sum += word(r, i);
        return sum;
      }
    }
  }
  bool right() const {
    for (size_t block = 0; block < dst.size(); ++block) {
      for (uint64_t i = 0; i < dst[block].bytes / 8; ++i) {
        uint64_t got = 0;
        std::copy_n(dst[block].data + i * 8, 8, reinterpret_cast<std::byte*>(&got));
        if (got != expected(block, i)) return false;
      }
    }
    return true;
  }
  std::vector<uint64_t> in, out;
  std::vector<Piece> src, dst;
  GroupCall call;

 private:
  uint32_t root_, rank_, nranks_;
  uint64_t number_;
};

struct Ahead {
  Collective collective;
  uint32_t nranks;
  uint64_t words;
};

class ShmAhead : public testing::TestWithParam<Ahead> {
 protected:
  std::unique_ptr<NumberedCall> make(uint32_t rank, uint64_t number) const {
    const Ahead& what = GetParam();
    return std::make_unique<NumberedCall>(what.collective, rank, what.nranks, kRoot, number, what.words);
  }
  bool gives(uint32_t rank) const { return gives_from_root(GetParam().collective) == (rank == kRoot); }
  static constexpr uint32_t kRoot = 1;
};

// A giver that polls its call often does not get on where it shall wait.
bool stays_unfinished(GroupProvider& group) {
  for (int i = 0; i < 200; ++i) {
    if (!is_unfinished(group.poll())) return false;
  }
  return true;
}

TEST_P(ShmAhead, GiversLeave64CallsBeforeTheOthersComeAndWaitInThe65th) {
  const uint32_t p = GetParam().nranks;
  auto transports = make_shm_threads(p);
  std::vector<GroupProvider*> groups(p);
  for (uint32_t r = 0; r < p; ++r) {
    if (gives(r)) groups[r] = transports[r]->group(first_ranks(p));
  }
  std::vector<std::unique_ptr<NumberedCall>> held(p);
  for (uint32_t r = 0; r < p; ++r) {
    if (!gives(r)) continue;
    for (uint64_t number = 1; number <= kAhead; ++number) {
      const auto early = make(r, number);
      groups[r]->start(early->call);
      ASSERT_EQ(groups[r]->poll(), Progress::kDone) << "rank " << r << " call " << number;
    }
    held[r] = make(r, kAhead + 1);
    groups[r]->start(held[r]->call);
    ASSERT_TRUE(stays_unfinished(*groups[r])) << "rank " << r;
    const Awaited awaited = groups[r]->awaited();
    EXPECT_EQ(awaited.what, "to come within 64 calls");
    for (uint32_t k = 0; k < p; ++k) {
      const bool waited_for = std::find(awaited.ranks.begin(), awaited.ranks.end(), k) != awaited.ranks.end();
      EXPECT_EQ(waited_for, k > r || !gives(k)) << "giver " << r << " of rank " << k;
    }
  }
  // The others come, whose memory of all of this did not exist before; every call's bytes are its own.
  for (uint32_t r = 0; r < p; ++r) {
    if (gives(r)) continue;
    groups[r] = transports[r]->group(first_ranks(p));
    for (uint64_t number = 1; number <= kAhead; ++number) {
      const auto late = make(r, number);
      ASSERT_EQ(run(*groups[r], late->call), Progress::kDone) << "rank " << r << " call " << number;
      ASSERT_TRUE(late->right()) << "rank " << r << " call " << number;
    }
    held[r] = make(r, kAhead + 1);
    groups[r]->start(held[r]->call);
  }
  for (uint32_t r = 0; r < p; ++r) {
    if (gives(r)) {
      EXPECT_EQ(finish(*groups[r]), Progress::kDone);
    }
  }
  for (uint32_t r = 0; r < p; ++r) {
    if (!gives(r)) {
      EXPECT_EQ(finish(*groups[r]), Progress::kDone);
    }
    EXPECT_TRUE(held[r]->right()) << "rank " << r;
  }
}

// Words: in the slot's lines, the last there, beyond, the longest.
INSTANTIATE_TEST_SUITE_P(
    Kinds, ShmAhead,
    testing::Values(Ahead{Collective::kBroadcast, 2, 1}, Ahead{Collective::kBroadcast, 3, 13},
                    Ahead{Collective::kBroadcast, 5, 14}, Ahead{Collective::kBroadcast, 2, 1024},
                    Ahead{Collective::kScatter, 2, 1}, Ahead{Collective::kScatter, 3, 7},
                    Ahead{Collective::kScatter, 4, 256}, Ahead{Collective::kReduce, 2, 1},
                    Ahead{Collective::kReduce, 3, 13}, Ahead{Collective::kReduce, 4, 1024},
                    Ahead{Collective::kGather, 2, 1}, Ahead{Collective::kGather, 3, 14},
                    Ahead{Collective::kGather, 5, 1024}),
    [](const testing::TestParamInfo<Ahead>& tested) {
      return fmt::format("{}_{}_{}", name_of(tested.param.collective), tested.param.nranks,
                         tested.param.words);
    });

TEST(ShmRooted, LongCallsMeet) {
  auto transports = make_shm_threads(2);
  GroupProvider* root = transports[0]->group(first_ranks(2));
  const NumberedCall call(Collective::kBroadcast, 0, 2, 0, 1, 1025);
  root->start(call.call);
  EXPECT_TRUE(stays_unfinished(*root));
}

// ---- In between calls that meet.

constexpr Collective kMixed[] = {Collective::kBroadcast, Collective::kReduce,    Collective::kGather,
                                 Collective::kScatter,   Collective::kAllReduce, Collective::kAllToAll};

void random_calls(uint32_t nranks, const shm::ShmOptions& options, uint64_t seed, uint64_t calls) {
  auto transports = make_shm_threads(nranks, options);
  std::vector<std::thread> threads;
  for (uint32_t r = 0; r < nranks; ++r) {
    threads.emplace_back([&, r] {
      GroupProvider* group = transports[r]->group(first_ranks(nranks));
      std::mt19937_64 random(seed);  // the same calls on all ranks
      for (uint64_t number = 1; number <= calls; ++number) {
        // Mostly calls that do not meet, so that ranks run far ahead before they do.
        const Collective collective = kMixed[random() % 8 == 0 ? 4 + random() % 2 : random() % 4];
        const auto root = static_cast<uint32_t>(random() % nranks);
        const uint64_t words = random() % 3 == 0 ? 1 + random() % 1500 : 1 + random() % 16;
        const NumberedCall call(collective, r, nranks, root, number, words);
        const Progress end = run(*group, call.call);
        if (end == Progress::kDone && call.right()) continue;
        ADD_FAILURE() << "seed " << seed << " call " << number << " rank " << r << ": "
                      << (end == Progress::kDone ? "wrong bytes" : group->error().message());
        return;
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST(ShmRooted, CallsInAnyOrderWithOthersAreRightAmongTwo) {
  for (const uint64_t seed : {1, 2, 3}) random_calls(2, {true, false, 64}, seed, 3000);
}
TEST(ShmRooted, CallsInAnyOrderWithOthersAreRightAmongThreeThatStage) {
  for (const uint64_t seed : {4, 5}) random_calls(3, {false, false, 64}, seed, 1500);
}
TEST(ShmRooted, CallsAreRightOnBoardsOfAKnownMaker) {
  shm::ShmOptions options{false, false, 64};
  options.maker = 0;
  random_calls(3, options, 8, 300);
}
TEST(ShmRooted, CallsInAnyOrderWithOthersAreRightWhenCrowded) {
  for (const uint64_t seed : {6, 7}) random_calls(6, {false, false, 1}, seed, 800);
}

// ---- Mismatches.

TEST(ShmRooted, ATakerSeesThatTheGiverCalledSomethingElse) {
  for (const Collective collective : {Collective::kBroadcast, Collective::kReduce}) {
    auto transports = make_shm_threads(2);
    const uint32_t root = collective == Collective::kBroadcast ? 0 : 1;
    GroupProvider* giver = transports[0]->group(first_ranks(2));
    GroupProvider* taker = transports[1]->group(first_ranks(2));
    const NumberedCall given(collective, 0, 2, root, 1, 3);
    const NumberedCall taken(collective, 1, 2, root, 1, 2);
    EXPECT_EQ(run(*giver, given.call), Progress::kDone) << "it does not wait for anyone";
    EXPECT_EQ(run(*taker, taken.call), Progress::kMismatch);
    EXPECT_EQ(taker->error().code(), Code::kInvalidUsage);
    EXPECT_NE(taker->error().message().find("rank 0"), std::string_view::npos);
    taker->start(taken.call);
    EXPECT_EQ(taker->poll(), Progress::kMismatch) << "it stays unusable";
  }
}

// Both give, neither looks at the other: what follows is the same call on both.
TEST(ShmRooted, CallsThatDifferAndDoNotMeetAreToldByTheNextThatDoes) {
  auto transports = make_shm_threads(2);
  std::vector<GroupProvider*> groups;
  for (uint32_t r = 0; r < 2; ++r) groups.push_back(transports[r]->group(first_ranks(2)));
  for (uint32_t r = 0; r < 2; ++r) {
    NumberedCall call(Collective::kBroadcast, r, 2, r, 1, 1);
    call.call.signature += r;  // as the engine's: the root is part of it
    EXPECT_EQ(run(*groups[r], call.call), Progress::kDone);
  }
  std::vector<std::unique_ptr<NumberedCall>> calls;
  for (uint32_t r = 0; r < 2; ++r) {
    calls.push_back(std::make_unique<NumberedCall>(Collective::kAllReduce, r, 2, 0, 2, 1));
    groups[r]->start(calls[r]->call);
  }
  for (uint32_t r = 0; r < 2; ++r) EXPECT_EQ(finish(*groups[r]), Progress::kMismatch);
}

// Nor does anything ever meet after that: each acknowledges calls that the other did not make.
TEST(ShmRooted, CallsThatDifferAndNeverMeetAreTold64CallsLater) {
  auto transports = make_shm_threads(2);
  std::vector<GroupProvider*> groups;
  for (uint32_t r = 0; r < 2; ++r) groups.push_back(transports[r]->group(first_ranks(2)));
  uint64_t told_in[2] = {};
  for (uint64_t number = 1; number <= 3 * kAhead && told_in[0] * told_in[1] == 0; ++number) {
    for (uint32_t r = 0; r < 2; ++r) {
      if (told_in[r] != 0) continue;
      NumberedCall call(Collective::kBroadcast, r, 2, r, number, 1);
      call.call.signature += r;
      groups[r]->start(call.call);
      const Progress end = groups[r]->poll();
      if (end == Progress::kMismatch) {
        told_in[r] = number;
      } else {
        ASSERT_EQ(end, Progress::kDone);
      }
    }
  }
  EXPECT_GT(told_in[0], 0u);
  EXPECT_LE(told_in[0], kAhead + 1);
}

}  // namespace
}  // namespace comity::test
