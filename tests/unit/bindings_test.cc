// Bindings are kept, and only so many, however many roots, sizes and placements a program uses.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstring>

#include "src/engine/binding_cache.h"
#include "tests/support/pattern.h"
#include "tests/support/sim_world.h"

namespace comity::test {
namespace {

using engine::Binding;
using engine::BindingCache;

constexpr uint32_t kSlot = 3;

std::unique_ptr<Binding> binding_of(uint64_t bytes) {
  auto binding = std::make_unique<Binding>();
  binding->after.reserve(bytes / sizeof(uint32_t));
  return binding;
}

TEST(BindingCache, KeepsSoManyAndLetsTheLeastRecentlyUsedGo) {
  BindingCache cache;
  for (uint64_t key = 0; key < BindingCache::kMostBindings; ++key) {
    cache.add(key, static_cast<uint32_t>(key), binding_of(0));
  }
  ASSERT_NE(cache.find(0, 0), nullptr) << "all fit";
  cache.add(1000, 1000, binding_of(0));
  EXPECT_EQ(cache.size(), BindingCache::kMostBindings);
  EXPECT_EQ(cache.find(1, 1), nullptr) << "the oldest that was not used since";
  EXPECT_NE(cache.find(0, 0), nullptr);
  EXPECT_NE(cache.find(1000, 1000), nullptr);
}

TEST(BindingCache, KeepsWhatIsUsedAllTheTimeHoweverMuchComesAndGoes) {
  BindingCache cache;
  const Binding* used = cache.add(7, kSlot, binding_of(0));
  for (uint64_t key = 100; key < 100 + 4 * BindingCache::kMostBindings; ++key) {
    cache.add(key, kSlot + 1, binding_of(0));
    ASSERT_EQ(cache.find(7, kSlot), used) << key;
  }
}

TEST(BindingCache, BoundsMemoryToo) {
  BindingCache cache;
  for (uint64_t key = 0; key < 100; ++key) {
    cache.add(key, static_cast<uint32_t>(key), binding_of(1 << 20));
    ASSERT_LE(cache.bytes(), BindingCache::kMostBytes);
  }
  EXPECT_GT(cache.size(), 10u);
  EXPECT_LT(cache.size(), 17u);
  cache.add(500, kSlot, binding_of(2 * BindingCache::kMostBytes));
  EXPECT_EQ(cache.size(), 1u) << "one larger than that is kept alone";
  EXPECT_NE(cache.find(500, kSlot), nullptr);
  EXPECT_EQ(cache.find(99, 99), nullptr) << "what is gone is gone from the front as well";
  cache.clear();
  EXPECT_EQ(cache.size(), 0u);
  EXPECT_EQ(cache.bytes(), 0u);
  EXPECT_EQ(cache.find(500, kSlot), nullptr);
}

// Every rank is the root of broadcasts and reductions of many sizes, in turn.
class ManyRoots : public testing::Test {
 protected:
  static constexpr uint32_t kRanks = 24;

  ManyRoots() : devices_(std::move(DeviceRegistry::open("")).value()) {
    SimWorldOptions options;
    options.nranks = kRanks;
    options.devices = devices_.get();
    world_ = std::make_unique<SimWorld>(std::move(options));
  }

  void call(const Row& row) {
    std::vector<std::vector<std::byte>> in(kRanks), out(kRanks), want(kRanks);
    std::vector<engine::Call> calls;
    for (uint32_t r = 0; r < kRanks; ++r) {
      in[r].resize(row.count * sizeof(int32_t));
      out[r].resize(in[r].size());
      fill_input(row, r, in[r].data());
      calls.push_back({row.collective, row.type, row.op, row.count, row.root, in[r].data(), out[r].data()});
    }
    const Status status = world_->run(calls);
    ASSERT_TRUE(status.ok()) << describe(row) << ": " << status.message();
    for (uint32_t r = 0; r < kRanks; ++r) {
      if (!has_output(row, r)) continue;
      want[r].resize(out[r].size());
      fill_expected(row, r, want[r].data());
      ASSERT_EQ(out[r], want[r]) << describe(row) << ", rank " << r;
    }
  }
  // All roots, with sizes of `classes` classes from 2^first elements on.
  void round(uint32_t first, uint32_t classes) {
    for (uint32_t root = 0; root < kRanks && !HasFatalFailure(); ++root) {
      for (uint32_t i = first; i < first + classes && !HasFatalFailure(); ++i) {
        for (const Collective collective : {Collective::kBroadcast, Collective::kReduce}) {
          call({collective, DataType::kInt32, RedOp::kSum, kRanks, root, uint64_t{1} << i, false});
        }
      }
    }
  }

  std::unique_ptr<DeviceRegistry> devices_;
  std::unique_ptr<SimWorld> world_;
};

TEST_F(ManyRoots, BindingsAndMemoryStayBounded) {
  round(0, 7);  // 336 calls that are all different
  const size_t after_one = mallinfo2().uordblks;
  const uint64_t kept = world_->rank(0).bindings().bytes();
  for (uint32_t r = 0; r < kRanks; ++r)
    EXPECT_EQ(world_->rank(r).bindings().size(), BindingCache::kMostBindings);
  round(7, 4);  // 192 others
  round(0, 7);  // and those that were let go, made again
  for (uint32_t r = 0; r < kRanks; ++r)
    EXPECT_EQ(world_->rank(r).bindings().size(), BindingCache::kMostBindings);
  // Unbounded, all ranks together would hold 192 more each, 24 * 192 / 256 times what one holds now.
  EXPECT_LT(mallinfo2().uordblks, after_one + kRanks * kept / 4);
}

}  // namespace
}  // namespace comity::test
