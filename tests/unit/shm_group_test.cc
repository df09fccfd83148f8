// Group calls through shared memory, ranks in one process: every collective, path, placement and size that
// changes the path, bit for bit. One thread polls all ranks in turn where order does not matter; real threads
// where it does.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <thread>

#include "src/base/clock.h"
#include "tests/support/shm_calls.h"
#include "tests/support/shm_ranks.h"
#include "transports/shm/board.h"
#include "transports/shm/shm_transport.h"

namespace comity::test {
namespace {

// Sanitizers take a part of the calls: they look for other things than wrong bits, and slow the filling of
// buffers most.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kThin = 16;
#else
constexpr uint64_t kThin = 1;
#endif

struct Ranks {
  explicit Ranks(uint32_t nranks, const shm::ShmOptions& options = {})
      : transports(make_shm_threads(nranks, options)) {
    for (auto& transport : transports) groups.push_back(transport->group(first_ranks(nranks)));
  }
  uint32_t size() const { return static_cast<uint32_t>(groups.size()); }
  // Does the call of every rank to its end, polling them in turn. The number of ranks that ended otherwise.
  int run(const std::vector<std::unique_ptr<CallBuffers>>& calls, uint64_t signature) {
    std::vector<GroupCall> marked;
    for (const auto& call : calls) marked.push_back(call->call());
    for (uint32_t r = 0; r < size(); ++r) {
      marked[r].signature = signature;
      groups[r]->start(marked[r]);
    }
    std::vector<Progress> ends(size(), Progress::kBusy);
    const Deadline deadline = Deadline::after_ms(60'000);
    for (uint32_t left = size(); left != 0 && !deadline.passed();) {
      for (uint32_t r = 0; r < size(); ++r) {
        if (!is_unfinished(ends[r])) continue;
        ends[r] = groups[r]->poll();
        if (!is_unfinished(ends[r])) --left;
      }
    }
    return static_cast<int>(
        std::count_if(ends.begin(), ends.end(), [](Progress end) { return end != Progress::kDone; }));
  }
  std::vector<std::unique_ptr<Transport>> transports;
  std::vector<GroupProvider*> groups;
};

// Who has which memory in a call.
enum class Mix { kPlain, kRegistered, kMixed, kScattered };

BufferKind kind_of(Mix mix, uint32_t rank) {
  if (mix == Mix::kScattered) return BufferKind::kScattered;
  if (mix == Mix::kMixed) return rank % 2 == 0 ? BufferKind::kPlain : BufferKind::kRegistered;
  return mix == Mix::kPlain ? BufferKind::kPlain : BufferKind::kRegistered;
}

void do_call(Ranks& ranks, const Row& row, Mix mix, uint64_t number) {
  std::vector<std::unique_ptr<CallBuffers>> calls;
  for (uint32_t r = 0; r < ranks.size(); ++r)
    calls.push_back(std::make_unique<CallBuffers>(row, r, kind_of(mix, r)));
  ASSERT_EQ(ranks.run(calls, signature_of(row, number)), 0)
      << describe(row) << " mix " << static_cast<int>(mix);
  for (uint32_t r = 0; r < ranks.size(); ++r) {
    const std::string wrong = calls[r]->check();
    ASSERT_EQ(wrong, "") << describe(row) << " mix " << static_cast<int>(mix) << " rank " << r;
  }
}

struct Setting {
  const char* name;
  bool address_plain;
  bool cross_memory;
  uint32_t cores;
};

class ShmGroup : public testing::TestWithParam<std::tuple<uint32_t, Setting>> {
 protected:
  static Ranks make() {
    const auto& [nranks, setting] = GetParam();
    return Ranks(nranks, {setting.address_plain, setting.cross_memory, setting.cores});
  }
};

TEST_P(ShmGroup, GivesEveryRankTheSameRightBits) {
  Ranks ranks = make();
  struct Element {
    DataType type;
    RedOp op;
  };
  const Element elements[] = {{DataType::kFloat32, RedOp::kSum},
                              {DataType::kBfloat16, RedOp::kAvg},
                              {DataType::kInt8, RedOp::kMax},
                              {DataType::kFloat64, RedOp::kMin}};
  // Elements: none, one, the last inline and the first beyond, the last always eager and the first beyond,
  // odd, the ends of eager slots and staging windows.
  const uint64_t counts[] = {0, 1, 6, 7, 12, 13, 48, 49, 256, 257, 1025, 4999, 8193, 65537};
  uint64_t number = 0;
  for (const Collective collective : kGroupCollectives) {
    for (const Element& element : elements) {
      // Of the others the length of an element is all that counts.
      if (!is_reduction(collective) && element.op != RedOp::kSum && element.op != RedOp::kMax) continue;
      for (const uint64_t count : counts) {
        // What takes long to fill and check is left to a shorter list, below.
        if (collective == Collective::kAllToAll && count * ranks.size() * ranks.size() > 1'000'000) continue;
        for (const Mix mix : {Mix::kPlain, Mix::kRegistered, Mix::kMixed, Mix::kScattered}) {
          for (const bool in_place : {false, true}) {
            const Row row{collective,
                          element.type,
                          element.op,
                          ranks.size(),
                          static_cast<uint32_t>(number % ranks.size()),
                          count,
                          in_place};
            if (++number % kThin != 0) continue;
            do_call(ranks, row, mix, number);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

// Long enough for many windows and slices, and often enough that every candidate of the tuner is taken.
TEST_P(ShmGroup, CarriesLongMessages) {
  Ranks ranks = make();
  uint64_t number = 0;
  for (const Collective collective : kGroupCollectives) {
    for (const Mix mix : {Mix::kPlain, Mix::kRegistered, Mix::kMixed, Mix::kScattered}) {
      for (const bool in_place : {false, true}) {
        if (kThin != 1 && in_place != (ranks.size() % 2 == 0)) continue;
        // Candidates of the tuner are taken from 512 KiB on, each by the seventh call.
        const bool tuned = kThin == 1 && mix != Mix::kScattered && ranks.size() <= 3;
        for (int repeat = 0; repeat < (tuned ? 7 : 1); ++repeat) {
          const uint64_t count = kThin != 1 ? 90'003 : repeat == 0 ? 300'003 : 131'073;
          const Row row{collective, DataType::kFloat32, RedOp::kSum, ranks.size(), ranks.size() - 1, count,
                        in_place};
          do_call(ranks, row, mix, ++number);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

std::string name_of_case(const testing::TestParamInfo<std::tuple<uint32_t, Setting>>& tested) {
  return fmt::format("{}_{}", std::get<1>(tested.param).name, std::get<0>(tested.param));
}

INSTANTIATE_TEST_SUITE_P(
    Threads, ShmGroup,
    testing::Combine(testing::Values(1u, 2u, 3u, 7u),
                     testing::Values(Setting{"shared", true, false, 64}, Setting{"staged", false, false, 64},
                                     Setting{"crowded", false, false, 1}, Setting{"cross", false, true, 64})),
    name_of_case);

// ---- Real threads.

void on_threads(uint32_t count, const std::function<void(uint32_t)>& body) {
  std::vector<std::thread> threads;
  for (uint32_t r = 0; r < count; ++r) threads.emplace_back([&body, r] { body(r); });
  for (auto& thread : threads) thread.join();
}

struct Reuse {
  uint32_t nranks;
  shm::ShmOptions options;
};

// Calls of all collectives, sizes and paths in random order without a pause between: slots and lines are
// reused while slower ranks still read them, if reuse is wrong.
void reuse(const Reuse& what, int calls) {
  Ranks ranks(what.nranks, what.options);
  std::atomic<int> wrong{0};
  on_threads(what.nranks, [&](uint32_t r) {
    std::mt19937_64 random(7);  // the same row on all ranks
    for (int number = 0; number < calls / static_cast<int>(kThin) && wrong == 0; ++number) {
      Row row;
      row.collective = kGroupCollectives[random() % std::size(kGroupCollectives)];
      row.type = random() % 2 == 0 ? DataType::kFloat32 : DataType::kFloat16;
      row.nranks = what.nranks;
      row.root = static_cast<uint32_t>(random() % what.nranks);
      const uint64_t scale = random() % 10;
      row.count = scale < 5 ? random() % 14 : scale < 9 ? random() % 20'000 : random() % 300'000;
      row.in_place = random() % 2 == 0;
      const Mix mix = static_cast<Mix>(random() % 4);
      CallBuffers buffers(row, r, kind_of(mix, r));
      GroupCall call = buffers.call();
      call.signature = signature_of(row, static_cast<uint64_t>(number));
      const Progress end = comity::test::run(*ranks.groups[r], call);
      const std::string what_is_wrong = end == Progress::kDone ? buffers.check() : "it did not end well";
      if (what_is_wrong.empty()) continue;
      ++wrong;
      ADD_FAILURE() << "call " << number << " rank " << r << " " << describe(row) << ": " << what_is_wrong;
    }
  });
}

TEST(ShmGroupThreads, ReuseLinesAndSlotsSafelyWhereBuffersAreAddressed) {
  reuse({2, {true, false, 64}}, 1500);
}
TEST(ShmGroupThreads, ReuseLinesAndSlotsSafelyWhereBuffersAreStaged) {
  reuse({2, {false, false, 64}}, 1500);
}
TEST(ShmGroupThreads, ReuseLinesAndSlotsSafelyByTheKernelsCopies) {
  reuse({2, {false, true, 64}}, 600);
}
TEST(ShmGroupThreads, ReuseLinesAndSlotsSafelyAmongThree) {
  reuse({3, {false, false, 64}}, 600);
}
TEST(ShmGroupThreads, ReuseLinesAndSlotsSafelyWhenCrowded) {
  reuse({7, {false, false, 1}}, 300);
}

// Identical tiny calls back to back: a rank is up to one call ahead of another, never two.
TEST(ShmGroupThreads, KeepTinyCallsApart) {
  for (const uint32_t nranks : {2u, 3u}) {
    Ranks ranks(nranks);
    std::atomic<int> wrong{0};
    on_threads(nranks, [&](uint32_t r) {
      for (uint64_t i = 0; i < 20'000 / kThin && wrong == 0; ++i) {
        uint64_t mine = i * (r + 1);
        uint64_t sum = 0;
        Piece src{reinterpret_cast<std::byte*>(&mine), 8};
        Piece dst{reinterpret_cast<std::byte*>(&sum), 8};
        GroupCall call;
        call.type = DataType::kUint64;
        call.signature = i;
        call.src = {&src, 1};
        call.dst = {&dst, 1};
        if (comity::test::run(*ranks.groups[r], call) != Progress::kDone ||
            sum != i * nranks * (nranks + 1) / 2)
          ++wrong;
      }
    });
    EXPECT_EQ(wrong, 0);
  }
}

// ---- Mismatches.

class ShmMismatch : public testing::TestWithParam<uint64_t> {};

TEST_P(ShmMismatch, IsSeenByEveryRank) {
  for (const uint32_t nranks : {2u, 3u, 5u}) {
    Ranks ranks(nranks);
    const Row row{Collective::kAllReduce, DataType::kFloat32, RedOp::kSum, nranks, 0, GetParam(), false};
    std::vector<std::unique_ptr<CallBuffers>> calls;
    std::vector<GroupCall> marked;
    for (uint32_t r = 0; r < nranks; ++r) {
      calls.push_back(std::make_unique<CallBuffers>(row, r, BufferKind::kPlain));
      marked.push_back(calls[r]->call());
      marked[r].signature = r == nranks - 1 ? 43 : 42;
    }
    for (uint32_t r = 0; r < nranks; ++r) ranks.groups[r]->start(marked[r]);
    for (uint32_t r = 0; r < nranks; ++r) {
      EXPECT_EQ(finish(*ranks.groups[r]), Progress::kMismatch);
      EXPECT_EQ(ranks.groups[r]->error().code(), Code::kInvalidUsage);
      EXPECT_NE(ranks.groups[r]->error().message().find(fmt::format("rank {}", r)), std::string_view::npos);
      ranks.groups[r]->start(marked[r]);
      EXPECT_EQ(ranks.groups[r]->poll(), Progress::kMismatch) << "it stays unusable";
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Counts, ShmMismatch, testing::Values(2, 100, 5000, 400'000));

// A rank whose peer has a shorter call of another kind does not touch memory by the peer's description.
TEST(ShmMismatchOfKind, IsSeenBetweenInlineAndLong) {
  Ranks ranks(2);
  const Row small{Collective::kAllReduce, DataType::kFloat32, RedOp::kSum, 2, 0, 2, false};
  const Row large{Collective::kAllGather, DataType::kFloat32, RedOp::kSum, 2, 0, 100'000, false};
  const CallBuffers a(small, 0, BufferKind::kRegistered);
  const CallBuffers b(large, 1, BufferKind::kRegistered);
  GroupCall first = a.call();
  GroupCall second = b.call();
  first.signature = signature_of(small, 0);
  second.signature = signature_of(large, 0);
  ranks.groups[0]->start(first);
  ranks.groups[1]->start(second);
  EXPECT_EQ(finish(*ranks.groups[0]), Progress::kMismatch);
  EXPECT_EQ(finish(*ranks.groups[1]), Progress::kMismatch);
}

// ---- Groups.

TEST(ShmGroups, AreTheSameObjectForTheSameMembers) {
  Ranks ranks(3);
  const uint32_t pair[] = {0, 2};
  GroupProvider* group = ranks.transports[0]->group(pair);
  EXPECT_NE(group, nullptr);
  EXPECT_EQ(ranks.transports[0]->group(pair), group);
  EXPECT_NE(ranks.transports[0]->group(first_ranks(3)), group);
  EXPECT_EQ(ranks.transports[1]->group(pair), nullptr) << "rank 1 is not a member";
}

TEST(ShmGroups, RunIndependentlyAndInAnyOrderOfMaking) {
  Ranks ranks(3);
  const uint32_t a[] = {0, 1};
  const uint32_t b[] = {1, 2};
  const uint32_t c[] = {0, 2};
  // Made in different orders on different ranks, so their places in the boards differ.
  GroupProvider* a0 = ranks.transports[0]->group(a);
  GroupProvider* c0 = ranks.transports[0]->group(c);
  GroupProvider* b1 = ranks.transports[1]->group(b);
  GroupProvider* a1 = ranks.transports[1]->group(a);
  GroupProvider* c2 = ranks.transports[2]->group(c);
  GroupProvider* b2 = ranks.transports[2]->group(b);
  const Row row{Collective::kAllReduce, DataType::kInt32, RedOp::kSum, 2, 0, 3000, false};
  const auto both = [&](GroupProvider& x, GroupProvider& y) {
    const CallBuffers mine(row, 0, BufferKind::kPlain);
    const CallBuffers theirs(row, 1, BufferKind::kPlain);
    x.start(mine.call());
    y.start(theirs.call());
    Progress left = Progress::kBusy;
    Progress right = Progress::kBusy;
    while (is_unfinished(left) || is_unfinished(right)) {
      if (is_unfinished(left)) left = x.poll();
      if (is_unfinished(right)) right = y.poll();
    }
    EXPECT_EQ(mine.check(), "");
    EXPECT_EQ(theirs.check(), "");
  };
  for (int repeat = 0; repeat < 5; ++repeat) {
    both(*a0, *a1);
    both(*b1, *b2);
    both(*c0, *c2);
  }
}

TEST(ShmGroups, SayThatOneTooManyCannotBeHad) {
  auto transports = make_shm_threads(8);
  uint32_t made = 0;
  std::vector<uint32_t> members;
  GroupProvider* group = nullptr;
  for (uint32_t others = 1; others < 128; ++others) {
    members.assign(1, 0);
    for (uint32_t r = 1; r < 8; ++r) {
      if ((others >> (r - 1) & 1u) != 0) members.push_back(r);
    }
    group = transports[0]->group(members);
    if (group == nullptr) break;
    EXPECT_TRUE(transports[0]->progress().ok());
    ++made;
  }
  EXPECT_EQ(made, shm::kMaxGroups);
  const Status status = transports[0]->progress();
  ASSERT_FALSE(status.ok()) << "its members would wait for ever";
  EXPECT_NE(status.message().find("rank 0"), std::string::npos) << status.message();
}

uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * 4096;
}

// Scratch for the kernel's copies is a megabyte: it is had where they are used.
TEST(ShmGroups, CostLittleMemoryBeforeTheirFirstCall) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "needs a build without TSan, whose shadow of our memory is resident too";
#endif
  auto transports = make_shm_threads(8, {false, true, 64});
  const uint64_t before = resident_bytes();
  constexpr uint32_t kGroups = 48;
  for (uint32_t others = 1; others <= kGroups; ++others) {
    std::vector<uint32_t> members = {0};
    for (uint32_t r = 1; r < 8; ++r) {
      if ((others >> (r - 1) & 1u) != 0) members.push_back(r);
    }
    ASSERT_NE(transports[0]->group(members), nullptr);
  }
  EXPECT_LT(resident_bytes() - before, kGroups * uint64_t{256 * 1024});
}

TEST(ShmGroups, WaitForAMemberThatComesLate) {
  auto transports = make_shm_threads(2);
  GroupProvider* early = transports[0]->group(first_ranks(2));
  const Row row{Collective::kAllReduce, DataType::kFloat32, RedOp::kSum, 2, 0, 700, true};
  const CallBuffers mine(row, 0, BufferKind::kRegistered);
  early->start(mine.call());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(early->poll(), Progress::kBusy);
  GroupProvider* late = transports[1]->group(first_ranks(2));
  const CallBuffers theirs(row, 1, BufferKind::kRegistered);
  late->start(theirs.call());
  Progress end = Progress::kBusy;
  while (is_unfinished(end)) {
    static_cast<void>(early->poll());
    end = late->poll();
  }
  EXPECT_EQ(finish(*early), Progress::kDone);
  EXPECT_EQ(mine.check(), "");
  EXPECT_EQ(theirs.check(), "");
}

// Waiting ranks sleep; one with work of its own left must not.
TEST(ShmGroups, TellWorkFromWaiting) {
  auto transports = make_shm_threads(2);
  GroupProvider* first = transports[0]->group(first_ranks(2));
  GroupProvider* second = transports[1]->group(first_ranks(2));
  const Row row{Collective::kAllReduce, DataType::kInt8, RedOp::kSum, 2, 0, 24 << 20, true};
  const CallBuffers mine(row, 0, BufferKind::kRegistered);
  const CallBuffers theirs(row, 1, BufferKind::kRegistered);
  first->start(mine.call());
  EXPECT_EQ(first->poll(), Progress::kBusy) << "it waits for the other's hello";
  second->start(theirs.call());
  int worked = 0;
  Progress end = first->poll();
  for (; end == Progress::kAdvanced; end = first->poll()) ++worked;
  EXPECT_GE(worked, 2) << "its half of 24 MiB takes several polls";
  EXPECT_EQ(end, Progress::kBusy) << "it waits for the other's half";
  EXPECT_EQ(finish(*second), Progress::kDone);
  EXPECT_EQ(finish(*first), Progress::kDone);
  EXPECT_EQ(mine.check(), "");
  EXPECT_EQ(theirs.check(), "");
}

TEST(ShmGroups, KeepTheMemoryOfARankOfThisProcessThatLeft) {
  auto transports = make_shm_threads(2);
  GroupProvider* a = transports[0]->group(first_ranks(2));
  GroupProvider* b = transports[1]->group(first_ranks(2));
  const Row row{Collective::kAllReduce, DataType::kFloat32, RedOp::kSum, 2, 0, 200, false};
  const CallBuffers mine(row, 0, BufferKind::kPlain);
  const CallBuffers theirs(row, 1, BufferKind::kPlain);
  a->start(mine.call());
  b->start(theirs.call());
  ASSERT_EQ(finish(*b), Progress::kDone);
  transports[1].reset();  // it is done and leaves; the other still reads its lines
  EXPECT_EQ(finish(*a), Progress::kDone);
  EXPECT_EQ(mine.check(), "");
}

}  // namespace
}  // namespace comity::test
