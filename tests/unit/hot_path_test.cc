// The hot path allocates nothing: counted by replacing the global allocation functions of this program.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "tests/support/ranks.h"
#include "tests/support/spawn.h"

namespace {

std::atomic<uint64_t> allocations{0};
thread_local bool counting = false;

void* counted(std::size_t bytes, std::size_t alignment) {
  if (counting) allocations.fetch_add(1);
  void* memory = alignment > alignof(std::max_align_t)
                     ? std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)
                     : std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

// Never inlined: beside an inlined free() GCC would see memory of operator new and warn of a mismatch.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  return counted(bytes, 0);
}
[[gnu::noinline]] void* operator new[](std::size_t bytes) {
  return counted(bytes, 0);
}
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete[](void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace comity::test {
namespace {

void call_everything(comityComm_t comm, float* in, float* out, size_t count) {
  ASSERT_EQ(comityAllReduce(in, out, count, comityFloat32, comitySum, comm, nullptr), comitySuccess);
  ASSERT_EQ(comityAllReduce(out, out, count, comityFloat32, comityMax, comm, nullptr), comitySuccess);
  ASSERT_EQ(comityReduce(in, out, count, comityFloat32, comitySum, 1, comm, nullptr), comitySuccess);
  ASSERT_EQ(comityBroadcast(in, out, count, comityFloat32, 0, comm, nullptr), comitySuccess);
  ASSERT_EQ(comityAllGather(in, out, count, comityFloat32, comm, nullptr), comitySuccess);
  ASSERT_EQ(comityReduceScatter(in, out, count, comityFloat32, comitySum, comm, nullptr), comitySuccess);
  ASSERT_EQ(comityBarrier(comm, nullptr), comitySuccess);
}

class HotPath : public testing::TestWithParam<const char*> {};

TEST_P(HotPath, AllocatesNothingOnceABindingExists) {
  const ScopedEnv transports("COMITY_TRANSPORTS", GetParam());
  constexpr size_t kMost = 100'000;
  constexpr int kRanks = 3;
  Ranks ranks(kRanks);
  allocations = 0;
  ranks.run([&](int, comityComm_t comm) {
    std::vector<float> in(kMost * kRanks, 1.0F), out(kMost * kRanks);
    for (const bool count_now : {false, true}) {
      for (const size_t count : {size_t{2}, size_t{1000}, kMost}) {
        counting = count_now;
        call_everything(comm, in.data(), out.data(), count);
        counting = false;
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  });
  EXPECT_EQ(allocations, 0u);
}

TEST_P(HotPath, TheCounterCounts) {
  allocations = 0;
  counting = true;
  delete new std::vector<int>(static_cast<size_t>(GetParam()[0]));
  counting = false;
  EXPECT_GE(allocations, 1u);
}

INSTANTIATE_TEST_SUITE_P(Over, HotPath, testing::Values("shm", "tcp"),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace comity::test
