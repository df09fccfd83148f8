// Arenas: where MemAlloc's memory comes from, how it is given back, limited, named and mapped by another
// process.
#include "src/device/host/arena.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <thread>

#include <gtest/gtest.h>

namespace comity {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

RegionTable& table() {
  return RegionTable::instance();
}

// A pool whose arenas are small, so that tests fill them.
ArenaPool::Options small_arenas(uint64_t cap_mib) {
  return {cap_mib * kMiB, 8 * kMiB};
}

bool aligned(const void* pointer, uint64_t to) {
  return reinterpret_cast<uintptr_t>(pointer) % to == 0;
}

TEST(RangeAllocator, JoinsNeighboursWhateverTheOrderOfReturn) {
  std::vector<int> order{0, 1, 2, 3};
  do {
    RangeAllocator ranges(400);
    for (int i = 0; i < 4; ++i) ASSERT_EQ(ranges.take(100, 4), 100u * static_cast<uint64_t>(i));
    EXPECT_FALSE(ranges.take(1, 1).has_value());
    for (int i : order) ranges.give(100u * static_cast<uint64_t>(i), 100);
    EXPECT_TRUE(ranges.all_free());
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(RangeAllocator, TakesTheSmallestPieceThatFits) {
  RangeAllocator ranges(1024);
  for (uint64_t i = 0; i < 8; ++i) ASSERT_TRUE(ranges.take(128, 128).has_value());
  ranges.give(0, 384);
  ranges.give(512, 128);
  EXPECT_EQ(ranges.take(128, 128), 512u);
  EXPECT_EQ(ranges.take(256, 256), 0u);
}

TEST(RangeAllocator, NeverGivesAnOffsetTwice) {
  std::mt19937_64 random(1);
  RangeAllocator ranges(1 << 16);
  std::vector<bool> taken(1 << 16);
  std::vector<std::pair<uint64_t, uint64_t>> live;
  for (int step = 0; step < 20000; ++step) {
    if (live.empty() || random() % 5 < 3) {
      const uint64_t bytes = 1 + random() % 3000;
      const uint64_t alignment = uint64_t{1} << random() % 12;
      const auto offset = ranges.take(bytes, alignment);
      if (!offset) continue;
      ASSERT_EQ(*offset % alignment, 0u);
      for (uint64_t i = *offset; i < *offset + bytes; ++i) {
        ASSERT_FALSE(taken[i]);
        taken[i] = true;
      }
      live.emplace_back(*offset, bytes);
    } else {
      std::swap(live[random() % live.size()], live.back());
      const auto [offset, bytes] = live.back();
      live.pop_back();
      ranges.give(offset, bytes);
      for (uint64_t i = offset; i < offset + bytes; ++i) taken[i] = false;
    }
  }
  for (const auto& [offset, bytes] : live) ranges.give(offset, bytes);
  EXPECT_TRUE(ranges.all_free());
}

TEST(ArenaPool, AlignsAndReusesFreedMemory) {
  ArenaPool pool(small_arenas(64));
  auto first = pool.allocate(100);
  auto second = pool.allocate(1000);
  auto large = pool.allocate(2 * kMiB);
  ASSERT_TRUE(first.ok() && second.ok() && large.ok());
  EXPECT_TRUE(aligned(*first, 128) && aligned(*second, 128) && aligned(*large, 2 * kMiB));
  std::memset(*first, 1, 100);
  std::memset(*second, 2, 1000);
  EXPECT_EQ(pool.arena_count(), 1u);
  ASSERT_TRUE(pool.release(*first).ok());
  auto again = pool.allocate(90);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, *first);
}

TEST(ArenaPool, GrowsByArenasAndKeepsOneEmptyOne) {
  ArenaPool pool(small_arenas(64));
  std::vector<void*> all;
  for (int i = 0; i < 6; ++i) {
    auto pointer = pool.allocate(4 * kMiB);
    ASSERT_TRUE(pointer.ok()) << pointer.status().message();
    all.push_back(*pointer);
  }
  EXPECT_EQ(pool.arena_count(), 3u);
  EXPECT_EQ(pool.held_bytes(), 24 * kMiB);
  for (void* pointer : all) ASSERT_TRUE(pool.release(pointer).ok());
  EXPECT_EQ(pool.arena_count(), 1u);
  EXPECT_EQ(pool.held_bytes(), 8 * kMiB);
}

TEST(ArenaPool, GivesARequestBeyondAnArenasSizeItsOwn) {
  ArenaPool pool(small_arenas(64));
  auto pointer = pool.allocate(21 * kMiB + 1);
  ASSERT_TRUE(pointer.ok());
  EXPECT_EQ(pool.held_bytes(), 22 * kMiB);
  static_cast<char*>(*pointer)[21 * kMiB] = 1;
}

TEST(ArenaPool, RefusesBeyondTheCapAndSaysSo) {
  ArenaPool pool(small_arenas(12));
  auto first = pool.allocate(5 * kMiB);
  ASSERT_TRUE(first.ok());
  auto second = pool.allocate(9 * kMiB);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), Code::kSystemError);
  EXPECT_NE(second.status().message().find("COMITY_ARENA_CAP"), std::string::npos)
      << second.status().message();
  EXPECT_TRUE(pool.allocate(4 * kMiB).ok());  // an arena cut to what the cap leaves
  EXPECT_EQ(pool.held_bytes(), 12 * kMiB);
}

TEST(ArenaPool, GivesUpASpareArenaBeforeItRefuses) {
  ArenaPool pool(small_arenas(16));
  auto first = pool.allocate(kMiB);
  ASSERT_TRUE(first.ok() && pool.release(*first).ok());
  EXPECT_EQ(pool.held_bytes(), 8 * kMiB);
  EXPECT_TRUE(pool.allocate(16 * kMiB).ok());
}

TEST(ArenaPool, TakesTheCapFromItsSetting) {
  ASSERT_EQ(::setenv("COMITY_ARENA_CAP", "6M", 1), 0);
  ArenaPool pool({0, 8 * kMiB});
  EXPECT_FALSE(pool.allocate(7 * kMiB).ok());
  EXPECT_TRUE(pool.allocate(5 * kMiB).ok());
  ASSERT_EQ(::setenv("COMITY_ARENA_CAP", "much", 1), 0);
  auto refused = ArenaPool({0, 8 * kMiB}).allocate(1);
  EXPECT_EQ(refused.status().code(), Code::kInvalidArgument);
  ::unsetenv("COMITY_ARENA_CAP");
}

TEST(ArenaPool, RefusesWhatItDidNotAllocate) {
  ArenaPool pool(small_arenas(16));
  auto pointer = pool.allocate(1000);
  ASSERT_TRUE(pointer.ok());
  int local = 0;
  EXPECT_EQ(pool.release(&local).code(), Code::kInvalidArgument);
  EXPECT_EQ(pool.release(nullptr).code(), Code::kInvalidArgument);
  EXPECT_EQ(pool.release(static_cast<char*>(*pointer) + 128).code(), Code::kInvalidArgument);
  EXPECT_TRUE(pool.allocated(*pointer));
  EXPECT_TRUE(pool.release(*pointer).ok());
  EXPECT_EQ(pool.release(*pointer).code(), Code::kInvalidArgument);
  EXPECT_FALSE(pool.allocated(*pointer));
  EXPECT_EQ(pool.allocate(0).status().code(), Code::kSystemError);
  EXPECT_EQ(pool.allocate(UINT64_MAX).status().code(), Code::kSystemError);
}

TEST(ArenaPool, ReportsTheLimitOfFileSizesInsteadOfDying) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{4 * kMiB, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  ArenaPool pool(small_arenas(64));
  auto refused = pool.allocate(1000);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kSystemError);
  EXPECT_NE(refused.status().message().find("RLIMIT_FSIZE"), std::string::npos) << refused.status().message();
  EXPECT_EQ(pool.held_bytes(), 0u);
  EXPECT_TRUE(pool.allocate(1000).ok());  // nothing was broken by the refusal
}

TEST(ArenaPool, ServesManyThreads) {
  ArenaPool pool(small_arenas(256));
  std::vector<std::thread> threads;
  std::atomic<int> faults{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<std::pair<unsigned char*, size_t>> mine;
      for (int step = 0; step < 2000; ++step) {
        if (mine.size() < 20) {
          const size_t bytes = 1 + random() % 100000;
          auto pointer = pool.allocate(bytes);
          if (!pointer.ok() || !table().handle_of(*pointer, bytes)) ++faults;
          mine.emplace_back(static_cast<unsigned char*>(*pointer), bytes);
          mine.back().first[0] = mine.back().first[bytes - 1] = static_cast<unsigned char>(t);
        } else {
          std::swap(mine[random() % mine.size()], mine.back());
          const auto [pointer, bytes] = mine.back();
          if (pointer[0] != t || pointer[bytes - 1] != t || !pool.release(pointer).ok()) ++faults;
          mine.pop_back();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(faults, 0);
}

TEST(RegionTable, NamesExactlyWhatLiesWithinARegion) {
  ArenaPool pool(small_arenas(64));
  auto pointer = pool.allocate(4096);
  ASSERT_TRUE(pointer.ok());
  const auto handle = table().handle_of(*pointer, 4096);
  ASSERT_TRUE(handle.has_value());
  EXPECT_EQ(handle->process, process_nonce());
  EXPECT_NE(handle->process, 0u);
  std::byte* base = table().base_of(handle->arena);
  EXPECT_EQ(base + handle->offset, *pointer);
  EXPECT_TRUE(table().handle_of(base, 8 * kMiB).has_value());
  EXPECT_FALSE(table().handle_of(base, 8 * kMiB + 1).has_value());
  EXPECT_FALSE(table().handle_of(base + 8 * kMiB - 1, 2).has_value());
  EXPECT_FALSE(table().handle_of(base, UINT64_MAX).has_value());
  EXPECT_FALSE(table().handle_of(&pool, 1).has_value());
  EXPECT_FALSE(table().handle_of(nullptr, 1).has_value());
}

TEST(RegionTable, NeverUsesANumberTwice) {
  std::set<uint32_t> numbers;
  for (int i = 0; i < 50; ++i) {
    ArenaPool pool(small_arenas(64));
    auto pointer = pool.allocate(64);
    ASSERT_TRUE(pointer.ok());
    EXPECT_TRUE(numbers.insert(table().handle_of(*pointer, 64)->arena).second);
    auto board = SharedRegion::create(100, "test-board");
    ASSERT_TRUE(board.ok());
    EXPECT_TRUE(numbers.insert(board->number()).second);
  }
  for (uint32_t number : numbers) {
    EXPECT_EQ(table().base_of(number), nullptr);
    EXPECT_EQ(table().descriptor_of(number).status().code(), Code::kInvalidArgument);
  }
}

TEST(RegionTable, AnswersWhileOthersComeAndGo) {
  ArenaPool pool(small_arenas(64));
  auto pointer = pool.allocate(64);
  ASSERT_TRUE(pointer.ok());
  const uint32_t number = table().handle_of(*pointer, 64)->arena;
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::thread reader([&] {
    while (!stop) {
      const auto handle = table().handle_of(*pointer, 64);
      if (!handle || handle->arena != number) ++wrong;
    }
  });
  for (int i = 0; i < 300; ++i) {
    auto a = SharedRegion::create(1, "test-a");
    auto b = SharedRegion::create(1, "test-b");
    ASSERT_TRUE(a.ok() && b.ok());
  }
  stop = true;
  reader.join();
  EXPECT_EQ(wrong, 0);
}

TEST(SharedRegion, IsZeroSealedAndExported) {
  auto region = SharedRegion::create(5000, "test-board");
  ASSERT_TRUE(region.ok());
  EXPECT_EQ(region->data()[4999], std::byte{0});
  auto fd = table().descriptor_of(region->number());
  ASSERT_TRUE(fd.ok());
  EXPECT_NE(::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(::ftruncate(fd->get(), 4096), 0);  // sealed: a peer's load can never fault
  SharedRegion moved = std::move(*region);
  EXPECT_EQ(table().base_of(moved.number()), moved.data());
}

TEST(PeerArenas, MapAPeersMemoryOnce) {
  auto region = SharedRegion::create(3 * kMiB, "test-peer");
  ASSERT_TRUE(region.ok());
  auto fd = table().descriptor_of(region->number());
  ASSERT_TRUE(fd.ok());
  PeerArenas peers;
  constexpr uint64_t kPeer = 0x1234;
  EXPECT_EQ(peers.find(kPeer, 7), nullptr);
  EXPECT_EQ(peers.bytes_of(kPeer, 7), 0u);
  auto mapped = peers.map(kPeer, 7, fd->get());
  ASSERT_TRUE(mapped.ok()) << mapped.status().message();
  EXPECT_NE(*mapped, region->data());
  EXPECT_EQ(peers.find(kPeer, 7), *mapped);
  EXPECT_EQ(peers.bytes_of(kPeer, 7), 4 * kMiB);
  EXPECT_EQ(peers.map(kPeer, 7, -1).value(), *mapped);
  region->data()[12345] = std::byte{77};
  EXPECT_EQ((*mapped)[12345], std::byte{77});
  EXPECT_EQ(peers.held_of(kPeer), std::vector<uint32_t>{7});
  peers.forget(kPeer, {7});
  EXPECT_EQ(peers.find(kPeer, 7), nullptr);
  EXPECT_EQ(peers.bytes_of(kPeer, 7), 0u);
  EXPECT_TRUE(peers.held_of(kPeer).empty());
  EXPECT_TRUE(peers.map(kPeer, 7, fd->get()).ok());
}

TEST(PeerArenas, ReturnTheirOwnersMappingWithinOneProcess) {
  auto region = SharedRegion::create(1, "test-own");
  ASSERT_TRUE(region.ok());
  PeerArenas peers;
  EXPECT_EQ(peers.find(process_nonce(), region->number()), region->data());
  EXPECT_EQ(peers.map(process_nonce(), region->number(), -1).value(), region->data());
  EXPECT_EQ(peers.bytes_of(process_nonce(), region->number()), region->bytes());
  EXPECT_FALSE(peers.map(process_nonce(), 0xffffffff, -1).ok());
}

TEST(PeerArenas, RefuseMemoryThatItsOwnerCouldShrink) {
  const UniqueFd plain(::memfd_create("test-plain", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(plain.get(), 4096), 0);
  PeerArenas peers;
  EXPECT_EQ(peers.map(1, 1, plain.get()).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(peers.map(1, 1, -1).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(peers.map(1, 1, 0).status().code(), Code::kInvalidArgument);
}

TEST(PeerArenas, FindThousandsWhileTheyAreAdded) {
  auto region = SharedRegion::create(1, "test-many");
  ASSERT_TRUE(region.ok());
  auto fd = table().descriptor_of(region->number());
  ASSERT_TRUE(fd.ok());
  PeerArenas peers;
  std::atomic<uint32_t> mapped{0};
  std::atomic<int> missing{0};
  constexpr uint32_t kCount = 300;
  std::thread reader([&] {
    for (uint32_t seen = 0; seen < kCount; seen = mapped) {
      for (uint32_t i = 0; i < seen; ++i) missing += peers.find(i % 7 + 1, i) == nullptr ? 1 : 0;
    }
  });
  for (uint32_t i = 0; i < kCount; ++i) {
    ASSERT_TRUE(peers.map(i % 7 + 1, i, fd->get()).ok());
    mapped = i + 1;
  }
  reader.join();
  EXPECT_EQ(missing, 0);
}

// The peer is this program again, started by exec: it inherits the descriptor, maps it, adds to what it
// finds.
constexpr const char* kChildVariable = "COMITY_TEST_ARENA_CHILD";

TEST(PeerArenas, ShareMemoryWithAnotherProcess) {
  if (const char* text = std::getenv(kChildVariable)) {
    PeerArenas peers;
    auto mapped = peers.map(99, 1, std::atoi(text));
    ASSERT_TRUE(mapped.ok());
    auto* words = reinterpret_cast<uint64_t*>(*mapped);
    ASSERT_EQ(words[1000], 41u);
    ++words[1000];
    return;
  }
  ArenaPool pool(small_arenas(64));
  auto pointer = pool.allocate(100000);
  ASSERT_TRUE(pointer.ok());
  const auto handle = table().handle_of(*pointer, 100000);
  ASSERT_TRUE(handle.has_value());
  ASSERT_EQ(handle->offset, 0u);
  static_cast<uint64_t*>(*pointer)[1000] = 41;
  auto fd = table().descriptor_of(handle->arena);
  ASSERT_TRUE(fd.ok());
  ASSERT_EQ(::fcntl(fd->get(), F_SETFD, 0), 0);
  ASSERT_EQ(::setenv(kChildVariable, std::to_string(fd->get()).c_str(), 1), 0);
  // Not by vfork(), which TSan makes a fork(): a child of that holds nothing of ours.
  char name[] = "child", filter[] = "--gtest_filter=PeerArenas.ShareMemoryWithAnotherProcess";
  char* const arguments[] = {name, filter, nullptr};
  pid_t child = -1;
  ASSERT_EQ(::posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, arguments, environ), 0);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ::unsetenv(kChildVariable);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(static_cast<uint64_t*>(*pointer)[1000], 42u);
}

// What an owner has released must not cost memory because a peer still maps it.
TEST(ArenaPool, ReturnsTheReleasedPagesThatAPeerStillMaps) {
  ArenaPool pool(small_arenas(64));
  auto keep = pool.allocate(8 * kMiB);
  auto pointer = pool.allocate(8 * kMiB);
  ASSERT_TRUE(keep.ok() && pointer.ok());
  std::memset(*pointer, 5, 8 * kMiB);
  auto fd = table().descriptor_of(table().handle_of(*pointer, 1)->arena);
  PeerArenas peers;
  auto mapped = peers.map(5, 1, fd->get());
  ASSERT_TRUE(mapped.ok());
  EXPECT_EQ((*mapped)[100], std::byte{5});
  ASSERT_TRUE(pool.release(*keep).ok());
  ASSERT_TRUE(pool.release(*pointer).ok());
  EXPECT_EQ((*mapped)[100], std::byte{0});
}

}  // namespace
}  // namespace comity
