// Rows of the table run in a SimWorld, on host or device memory.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "src/device/registry.h"
#include "tests/support/pattern.h"
#include "tests/support/sim_world.h"

namespace comity::test {

// One rank's buffers on one device, with host mirrors for filling and checking.
class Buffers {
 public:
  Buffers(const Row& row, uint32_t rank, Device& device) : row_(row), rank_(rank), device_(device) {
    const size_t size = size_of(row.type);
    input_bytes_ = input_count(row) * size;
    output_bytes_ = output_count(row) * size;
    const uint64_t most = std::max(input_bytes_, output_bytes_);
    memory_ = allocate(most + (row.in_place ? 0 : most + 64));
    input_ = memory_;
    output_ = row.in_place ? memory_ : memory_ + (most + 63) / 64 * 64;
    const uint64_t block = row.count * size;
    if (row.in_place && has_output_blocks(row.collective)) input_ = output_ + rank * block;
    if (row.in_place && has_input_blocks(row.collective)) output_ = input_ + rank * block;
    std::vector<std::byte> mirror(input_bytes_);
    fill_input(row, rank, mirror.data());
    if (!row.in_place) write(output_, std::vector<std::byte>(output_bytes_, std::byte{0xee}));
    write(input_, mirror);
  }
  ~Buffers() {
    if (memory_ == nullptr) return;
    EXPECT_TRUE(device_.release(memory_).ok());
  }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  engine::Call call() const {
    return {row_.collective, row_.type, row_.op, row_.count, row_.root, input_, output_};
  }
  // Number of wrong bytes.
  uint64_t wrong() {
    if (!has_output(row_, rank_)) return 0;
    std::vector<std::byte> want(output_bytes_), got(output_bytes_);
    fill_expected(row_, rank_, want.data());
    read(got, output_);
    uint64_t count = 0;
    for (uint64_t i = 0; i < output_bytes_; ++i) count += want[i] != got[i];
    return count;
  }

 private:
  std::byte* allocate(uint64_t bytes) {
    if (bytes == 0) return nullptr;
    auto memory = device_.allocate(bytes);
    EXPECT_TRUE(memory.ok()) << memory.status().message();
    return static_cast<std::byte*>(*memory);
  }
  void move(void* to, const void* from, uint64_t bytes) {
    if (bytes == 0) return;
    auto token = device_.copy(0, to, from, bytes);
    ASSERT_TRUE(token.ok()) << token.status().message();
    for (;;) {
      auto done = device_.poll(0, *token);
      ASSERT_TRUE(done.ok());
      if (*done) return;
    }
  }
  void write(std::byte* to, const std::vector<std::byte>& from) { move(to, from.data(), from.size()); }
  void read(std::vector<std::byte>& to, const std::byte* from) { move(to.data(), from, to.size()); }

  Row row_;
  uint32_t rank_;
  Device& device_;
  uint64_t input_bytes_ = 0, output_bytes_ = 0;
  std::byte *memory_ = nullptr, *input_ = nullptr, *output_ = nullptr;
};

// The host and the sim device.
inline DeviceRegistry& registry() {
  static DeviceRegistry& instance = *[] {
    ::setenv("COMITY_DEVICES", "host,sim", 1);
    auto made = DeviceRegistry::open();
    if (!made.ok()) std::abort();
    return made->release();
  }();
  return instance;
}

// Runs one row on all ranks of the world and compares what each holds afterwards.
inline void run_row(SimWorld& world, const Row& row, Device& device) {
  std::vector<std::unique_ptr<Buffers>> buffers;
  std::vector<engine::Call> calls;
  for (uint32_t r = 0; r < row.nranks; ++r) {
    buffers.push_back(std::make_unique<Buffers>(row, r, device));
    calls.push_back(buffers.back()->call());
  }
  const Status status = world.run(calls);
  ASSERT_TRUE(status.ok()) << describe(row) << ": " << status.message();
  for (uint32_t r = 0; r < row.nranks; ++r) {
    ASSERT_EQ(buffers[r]->wrong(), 0u) << describe(row) << " on " << device.name() << ", rank " << r;
  }
}

}  // namespace comity::test
