#include "tests/conformance/device_conformance.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <thread>

#include "src/base/clock.h"
#include "tests/support/reduce_reference.h"

namespace comity::conformance {
namespace {

constexpr DataType kTypes[] = {DataType::kInt8,     DataType::kUint8,      DataType::kInt32,
                               DataType::kUint32,   DataType::kInt64,      DataType::kUint64,
                               DataType::kFloat16,  DataType::kFloat32,    DataType::kFloat64,
                               DataType::kBfloat16, DataType::kFloat8e4m3, DataType::kFloat8e5m2};

std::vector<std::byte> random_bytes(uint64_t bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::byte> content(bytes);
  for (std::byte& byte : content) byte = static_cast<std::byte>(random());
  return content;
}

std::vector<std::byte> reduced(DataType type, RedOp op, const std::vector<std::vector<std::byte>>& sources,
                               uint32_t divisor) {
  std::vector<std::byte> result(sources[0].size());
  std::vector<uint64_t> operands(sources.size());
  for (uint64_t i = 0; i < result.size() / size_of(type); ++i) {
    for (size_t s = 0; s < sources.size(); ++s) operands[s] = test::element(sources[s].data(), type, i);
    test::set_element(result.data(), type, i, test::reduce_reference(type, op, operands, divisor));
  }
  return result;
}

ReduceWork work_of(DataType type, RedOp op, std::span<const std::byte* const> sources,
                   std::span<std::byte* const> destinations, uint64_t count, uint32_t divisor = 0) {
  ReduceWork work;
  work.type = type;
  work.op = op;
  work.sources = sources;
  work.destinations = destinations;
  work.count = count;
  work.divisor = divisor;
  return work;
}

}  // namespace

std::string name_of_device_backend(const testing::TestParamInfo<DeviceBackend>& tested) {
  return tested.param.name;
}

void DeviceConformance::SetUp() {
  device_ = GetParam().open();
  if (device_ == nullptr && !GetParam().needs.empty()) GTEST_SKIP() << "needs " << GetParam().needs;
  ASSERT_NE(device_, nullptr);
}

void DeviceConformance::TearDown() {
  for (void* pointer : lent_) EXPECT_TRUE(device_->release(pointer).ok());
}

std::byte* DeviceConformance::lend(uint64_t bytes) {
  auto pointer = device_->allocate(bytes);
  EXPECT_TRUE(pointer.ok()) << pointer.status().message();
  if (!pointer.ok()) return nullptr;
  lent_.push_back(*pointer);
  return static_cast<std::byte*>(*pointer);
}

std::byte* DeviceConformance::lend(std::span<const std::byte> content) {
  std::byte* pointer = lend(std::max<uint64_t>(content.size(), 1));
  auto token = device_->copy(0, pointer, content.data(), content.size());
  EXPECT_TRUE(token.ok()) << token.status().message();
  finish(0, *token);
  return pointer;
}

std::vector<std::byte> DeviceConformance::fetch(const void* pointer, uint64_t bytes) {
  std::vector<std::byte> content(bytes);
  auto token = device_->copy(0, content.data(), pointer, bytes);
  EXPECT_TRUE(token.ok()) << token.status().message();
  finish(0, *token);
  return content;
}

void DeviceConformance::finish(uint32_t queue, Token token) {
  const Deadline deadline = Deadline::after_ms(60'000);
  for (;;) {
    auto done = device_->poll(queue, token);
    ASSERT_TRUE(done.ok()) << done.status().message();
    if (*done) return;
    ASSERT_FALSE(deadline.passed()) << "queue " << queue << " does not complete token " << token;
  }
}

TEST_P(DeviceConformance, AllocatesAlignedMemoryThatItOwns) {
  std::vector<std::byte*> all;
  for (uint64_t bytes : {1, 127, 128, 129, 4096, 1000003}) {
    std::byte* pointer = lend(bytes);
    ASSERT_NE(pointer, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(pointer) % 128, 0u);
    EXPECT_TRUE(device().owns(pointer, bytes));
    for (const std::byte* other : all) EXPECT_NE(pointer, other);
    all.push_back(pointer);
  }
}

TEST_P(DeviceConformance, RefusesToReleaseWhatItDidNotAllocate) {
  int local = 0;
  EXPECT_EQ(device().release(&local).code(), Code::kInvalidArgument);
  EXPECT_EQ(device().release(nullptr).code(), Code::kInvalidArgument);
  auto pointer = device().allocate(1000);
  ASSERT_TRUE(pointer.ok());
  EXPECT_EQ(device().release(static_cast<std::byte*>(*pointer) + 1).code(), Code::kInvalidArgument);
  EXPECT_TRUE(device().release(*pointer).ok());
  EXPECT_EQ(device().release(*pointer).code(), Code::kInvalidArgument);
}

TEST_P(DeviceConformance, RefusesImpossibleSizesAndStaysUsable) {
  EXPECT_EQ(device().allocate(uint64_t{1} << 60).status().code(), Code::kSystemError);
  EXPECT_EQ(device().allocate(UINT64_MAX).status().code(), Code::kSystemError);
  EXPECT_NE(lend(64), nullptr);
}

TEST_P(DeviceConformance, GivesFreedMemoryOutAgainWithoutEnd) {
  for (int i = 0; i < 2000; ++i) {
    auto pointer = device().allocate(uint64_t{1} << 21);
    ASSERT_TRUE(pointer.ok()) << i << ": " << pointer.status().message();
    ASSERT_TRUE(device().release(*pointer).ok());
  }
}

TEST_P(DeviceConformance, CopiesInAndOutEveryByte) {
  for (uint64_t bytes : {0, 1, 3, 64, 4097, 300007}) {
    const auto content = random_bytes(bytes, bytes);
    EXPECT_EQ(fetch(lend(content), bytes), content) << bytes;
  }
}

TEST_P(DeviceConformance, CopiesWithinTheDeviceAndFromTheMiddle) {
  const auto content = random_bytes(5000, 1);
  const std::byte* from = lend(content);
  std::byte* to = lend(5000);
  auto token = device().copy(0, to + 13, from + 7, 4000);
  ASSERT_TRUE(token.ok());
  const auto got = fetch(to + 13, 4000);
  EXPECT_TRUE(std::equal(got.begin(), got.end(), content.begin() + 7));
}

TEST_P(DeviceConformance, ReducesEveryTypeAndOperationBitForBit) {
  constexpr uint64_t kBytes = 8 * 37;
  for (DataType type : kTypes) {
    for (RedOp op : {RedOp::kSum, RedOp::kProd, RedOp::kMax, RedOp::kMin, RedOp::kAvg}) {
      const uint32_t divisor = op == RedOp::kAvg ? 3 : 0;
      const std::vector<std::vector<std::byte>> content{random_bytes(kBytes, 1), random_bytes(kBytes, 2),
                                                        random_bytes(kBytes, 3)};
      const std::byte* sources[] = {lend(content[0]), lend(content[1]), lend(content[2])};
      std::byte* destinations[] = {lend(kBytes)};
      auto token =
          device().reduce(0, work_of(type, op, sources, destinations, kBytes / size_of(type), divisor));
      ASSERT_TRUE(token.ok()) << token.status().message();
      ASSERT_EQ(fetch(destinations[0], kBytes), reduced(type, op, content, divisor))
          << name_of(type) << " " << name_of(op);
    }
  }
}

TEST_P(DeviceConformance, ReducesInPlaceIntoSeveralDestinations) {
  constexpr uint64_t kBytes = 4 * 1001;
  const std::vector<std::vector<std::byte>> content{random_bytes(kBytes, 4), random_bytes(kBytes, 5)};
  std::byte* buffers[] = {lend(content[0]), lend(content[1]), lend(kBytes)};
  const std::byte* sources[] = {buffers[0], buffers[1]};
  auto token = device().reduce(0, work_of(DataType::kFloat32, RedOp::kSum, sources, buffers, kBytes / 4));
  ASSERT_TRUE(token.ok());
  const auto expected = reduced(DataType::kFloat32, RedOp::kSum, content, 0);
  for (const std::byte* buffer : buffers) EXPECT_EQ(fetch(buffer, kBytes), expected);
}

TEST_P(DeviceConformance, ReadsTheListsOfPointersBeforeItReturns) {
  const auto content = random_bytes(800, 6);
  std::byte* result = lend(800);
  Token token = 0;
  {
    std::vector<const std::byte*> sources{lend(content)};
    std::vector<std::byte*> destinations{result};
    auto issued = device().reduce(0, work_of(DataType::kUint8, RedOp::kSum, sources, destinations, 800));
    ASSERT_TRUE(issued.ok());
    token = *issued;
    sources[0] = nullptr;
    destinations[0] = nullptr;
  }
  finish(0, token);
  EXPECT_EQ(fetch(result, 800), content);
}

TEST_P(DeviceConformance, RunsAQueueInTheOrderOfIssue) {
  constexpr uint64_t kCount = 100;
  std::vector<std::byte> ones(kCount * 8);
  for (uint64_t i = 0; i < kCount; ++i) test::set_element(ones.data(), DataType::kUint64, i, 1);
  for (uint32_t queue = 0; queue < device().queue_count(); ++queue) {
    std::byte* a = lend(ones);
    std::byte* b = lend(ones);
    Token last = 0;
    for (int step = 0; step < 20; ++step) {  // b = a + b; a = b: doubles, if nothing overtakes
      const std::byte* sources[] = {a, b};
      auto sum = device().reduce(queue, work_of(DataType::kUint64, RedOp::kSum, sources, {&b, 1}, kCount));
      auto moved = device().copy(queue, a, b, kCount * 8);
      ASSERT_TRUE(sum.ok() && moved.ok());
      last = *moved;
    }
    finish(queue, last);
    const auto result = fetch(a, kCount * 8);
    for (uint64_t i = 0; i < kCount; ++i) {
      ASSERT_EQ(test::element(result.data(), DataType::kUint64, i), uint64_t{1} << 20) << "queue " << queue;
    }
  }
}

TEST_P(DeviceConformance, CompletesTokensInOrderAndKeepsThemComplete) {
  const auto content = random_bytes(64, 7);
  std::byte* to = lend(64);
  for (uint32_t queue = 0; queue < device().queue_count(); ++queue) {
    EXPECT_TRUE(device().poll(queue, 0).value());
    std::vector<Token> tokens;
    for (int i = 0; i < 10; ++i) tokens.push_back(device().copy(queue, to, content.data(), 64).value());
    EXPECT_TRUE(std::is_sorted(tokens.begin(), tokens.end()));
    finish(queue, tokens[5]);
    for (int i = 0; i <= 5; ++i) EXPECT_TRUE(device().poll(queue, tokens[static_cast<size_t>(i)]).value());
    finish(queue, tokens.back());
  }
}

TEST_P(DeviceConformance, RunsEveryQueueWithoutTheOthers) {
  std::vector<std::byte*> results;
  std::vector<Token> tokens;
  const auto content = random_bytes(1000, 8);
  for (uint32_t queue = 0; queue < device().queue_count(); ++queue) {
    results.push_back(lend(1000));
    tokens.push_back(device().copy(queue, results.back(), content.data(), 1000).value());
  }
  for (uint32_t queue = device().queue_count(); queue-- > 0;) {
    finish(queue, tokens[queue]);
    EXPECT_EQ(fetch(results[queue], 1000), content);
  }
}

TEST_P(DeviceConformance, LetsEachQueueBelongToAThread) {
  std::vector<std::thread> threads;
  std::vector<std::byte*> results;
  const auto content = random_bytes(999, 9);
  for (uint32_t queue = 0; queue < device().queue_count(); ++queue) results.push_back(lend(999));
  for (uint32_t queue = 0; queue < device().queue_count(); ++queue) {
    threads.emplace_back([&, queue] {
      for (int i = 0; i < 50; ++i)
        finish(queue, device().copy(queue, results[queue], content.data(), 999).value());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::byte* result : results) EXPECT_EQ(fetch(result, 999), content);
}

TEST_P(DeviceConformance, RefusesAReductionOfNothing) {
  std::byte* pointer = lend(64);
  const std::byte* source = pointer;
  const auto none = work_of(DataType::kInt8, RedOp::kSum, {}, {&pointer, 1}, 8);
  const auto nowhere = work_of(DataType::kInt8, RedOp::kSum, {&source, 1}, {}, 8);
  EXPECT_EQ(device().reduce(0, none).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(device().reduce(0, nowhere).status().code(), Code::kInvalidArgument);
  const auto empty = work_of(DataType::kInt8, RedOp::kSum, {&source, 1}, {&pointer, 1}, 0);
  auto token = device().reduce(0, empty);
  ASSERT_TRUE(token.ok());
  finish(0, *token);
}

TEST_P(DeviceConformance, ExportsItsMemoryOrSaysThatItCannot) {
  std::byte* pointer = lend(4096);
  auto handle = device().export_memory(pointer, 4096);
  if (handle.ok()) {
    EXPECT_NE(handle->process, 0u);
    auto later = device().export_memory(pointer + 100, 1);
    ASSERT_TRUE(later.ok());
    EXPECT_EQ(later->arena, handle->arena);
    EXPECT_EQ(later->offset, handle->offset + 100);
  } else {
    EXPECT_EQ(handle.status().code(), Code::kUnsupported);
  }
  int local = 0;
  EXPECT_EQ(device().export_memory(&local, sizeof local).status().code(), Code::kUnsupported);
}

TEST_P(DeviceConformance, ItsMemoryIsTheCpusIfItSaysSo) {
  const auto content = random_bytes(500, 10);
  std::byte* pointer = lend(content);
  if (!device().host_addressable()) return;
  EXPECT_EQ(std::memcmp(pointer, content.data(), 500), 0);
  pointer[3] = std::byte{1};
  EXPECT_EQ(fetch(pointer + 3, 1)[0], std::byte{1});
}

}  // namespace comity::conformance
