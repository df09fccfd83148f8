// A device that is as awkward as a real one, on any machine: an address space of its own, and late, reordered
// work.
//
// Its pointers lie in a reservation without access rights: the CPU faults on them, and so do send() and
// process_vm_readv() (EFAULT). The content lives at a private second place that only the device knows. Work
// is carried out in later poll() calls, after a number of them drawn from a seeded generator: in order within
// a queue, in any order between queues, and also while the caller polls another queue. So code that touches
// device memory directly, reuses a buffer before its token is complete, or orders two queues by hope, fails
// on this device in any test.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "comity/plugin/device.h"
#include "src/device/host/range_allocator.h"

namespace comity {

class SimDevice final : public Device {
 public:
  struct Options {
    uint64_t memory_bytes = uint64_t{64} << 30;  // of addresses; pages come when used
    uint64_t seed = 1;
    uint32_t most_polls = 6;  // work at the front of a queue is done within so many polls of that queue
  };
  // kSystemError if the addresses cannot be had.
  static Result<std::unique_ptr<SimDevice>> create(Options options);
  static Result<std::unique_ptr<SimDevice>> create() { return create(Options()); }
  // Work that is not complete is never carried out.
  ~SimDevice() override;
  SimDevice(const SimDevice&) = delete;
  SimDevice& operator=(const SimDevice&) = delete;

  std::string_view name() const override { return "sim"; }
  // A compare with the bounds of the reservation, allocated or not. Never blocks.
  bool owns(const void* pointer, uint64_t bytes) const override;
  bool host_addressable() const override { return false; }

  Result<void*> allocate(uint64_t bytes) override;
  // The content is lost, and the addresses may be given out again.
  Status release(void* pointer) override;
  // kUnsupported always.
  Result<MemoryHandle> export_memory(const void* pointer, uint64_t bytes) const override;

  static constexpr uint32_t kQueues = 4;
  static constexpr uint32_t kStreams = 64;  // more queues, for runtimes that are made of it
  uint32_t queue_count() const override { return kQueues; }
  // kInvalidArgument: no such queue, or a range that begins in this device's memory and is not within one
  // allocation. Unlike a queue of a real device these may be used by several threads.
  Result<Token> copy(uint32_t queue, void* destination, const void* source, uint64_t bytes) override;
  // All pointers are of this device; kInvalidArgument otherwise.
  Result<Token> reduce(uint32_t queue, const ReduceWork& work) override;
  // kInvalidArgument: no such queue, or a token that it never gave.
  Result<bool> poll(uint32_t queue, Token token) override;
  Token issued(uint32_t queue) const override;
  // Puts a gate on the queue: what is issued behind it waits until it is true, whoever polls.
  using Gate = std::shared_ptr<std::atomic<bool>>;
  Gate hold(uint32_t queue);
  // The same by a function, which polls of any thread call until it is true, under this device's lock.
  void hold_until(uint32_t queue, std::function<bool()> open);
  // What is issued behind it waits for another queue's token.
  void hold_until(uint32_t queue, uint32_t other, Token token);
  // A kernel: `run` is called late, with the private places of these ranges. kInvalidArgument: as reduce().
  struct Range {
    void* pointer;
    uint64_t bytes;
  };
  using Kernel = std::function<void(const std::vector<std::byte*>& places)>;
  Result<Token> launch(uint32_t queue, const std::vector<Range>& ranges, Kernel run);

 private:
  struct Work {
    uint32_t polls_left;
    bool is_copy;
    uint64_t bytes;  // of a copy
    ReduceWork reduce;
    std::vector<const std::byte*> sources;  // at the private place, as are destinations
    std::vector<std::byte*> destinations;
    std::vector<uint8_t> divided;
    std::function<bool()> gate = {};  // if there is one it is nothing else
    Kernel kernel = {};               // likewise
  };
  struct Queue {
    std::deque<Work> waiting;
    Token issued = 0;
    Token done = 0;
  };

  SimDevice(Options options, std::byte* reserved, std::byte* content);
  Result<std::byte*> private_place(const void* pointer, uint64_t bytes, bool host_allowed) const;
  Status check_queue(uint32_t queue) const;
  Token enqueue(uint32_t queue, Work work);
  void step(Queue& queue);

  const Options options_;
  std::byte* const reserved_;  // what users see: no access
  std::byte* const content_;   // where the bytes are
  mutable std::mutex mutex_;
  RangeAllocator ranges_;
  std::map<uint64_t, uint64_t> allocations_;  // offset -> bytes
  std::mt19937_64 random_;
  Queue queues_[kStreams];
};

}  // namespace comity
