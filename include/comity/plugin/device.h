// Device: owns memory, queues and arithmetic. What an author of a device implements.
//
// A device states semantics, not a brand: is this pointer mine, can the CPU address it, copy, reduce. Work is
// issued to a queue and returns a Token; the token is polled, never waited for inside the device. Work on one
// queue executes in the order of issue, so consecutive steps on one queue need no round trip to the host;
// work on different queues has no order. The host's tokens are complete when issue returns.
//
// Absent capabilities answer Code::kUnsupported; the engine then takes a path without them. Threads: owns()
// and memory() may be called from any thread at any time. A queue belongs to one thread at a time. allocate()
// and release() may be called from any thread and may block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "comity/plugin/result.h"
#include "comity/plugin/types.h"

namespace comity {

// Completion of issued work: monotone per queue. Token 0 is always complete.
using Token = uint64_t;

// Identity of device memory: which allocation of which process, for peers that can map it.
struct MemoryHandle {
  uint64_t process = 0;  // nonce of the owning process; 0: not exportable
  uint32_t arena = 0;    // never used twice by a process
  uint32_t reserved = 0;
  uint64_t offset = 0;  // bytes from the start of the arena
};

// What one reduction does. All spans are of `count` elements of `type` on this device's memory.
// destinations[k][i] = round(sources[0][i] op sources[1][i] op ...), folded from the left, so that callers
// who list the lower rank first all get the same bits. fp16, bf16 and fp8 accumulate in fp32 and round once.
// `divisor` > 0 divides the accumulator before rounding (avg); 0 leaves it. With `divided`, one flag per
// source, it divides the sources instead that are not flagged, each in the accumulator's type before it is
// folded: the others are partial results of types of 8 and 16 bits, which were divided before they were
// rounded, so that no sum overflows whose average fits. A destination may equal a source exactly; partial
// overlap is undefined.
struct ReduceWork {
  DataType type = DataType::kFloat32;
  RedOp op = RedOp::kSum;  // kAvg is treated as kSum; the division is asked for by `divisor`
  std::span<const std::byte* const> sources;
  std::span<std::byte* const> destinations;
  uint64_t count = 0;
  uint32_t divisor = 0;
  bool stream_stores = false;  // hint: destinations will not be read soon by this core (non-temporal stores)
  std::span<const uint8_t> divided = {};  // fp16, bf16, fp8 alone
};

// The place of a call among the work of a user's stream: what the user put on the stream before has to end
// before the call begins, and what the user puts behind does not begin while this object lives. Its end lets
// it begin; on any thread, without blocking. The device outlives it.
class Passage {
 public:
  virtual ~Passage() = default;
  // Whether what is ahead has ended. One thread at a time; never blocks.
  virtual Result<bool> ahead_is_done() = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  // Stable, lower case: "host", "sim", "opencl". Owned by the device.
  virtual std::string_view name() const = 0;

  // True if [pointer, pointer + bytes) is memory of this device. Never blocks. The host owns what no other
  // does.
  virtual bool owns(const void* pointer, uint64_t bytes) const = 0;
  // True if the CPU may load and store this device's memory through the same pointers.
  virtual bool host_addressable() const = 0;

  // `bytes` > 0 of device memory aligned to at least 128; the caller gives it back with release(). Errors:
  // kSystemError (out of memory or over the configured cap). A failure changes nothing.
  virtual Result<void*> allocate(uint64_t bytes) = 0;
  // Ends an allocation. kInvalidArgument if `pointer` did not come from allocate().
  virtual Status release(void* pointer) = 0;
  // The handle by which a peer process can map `pointer`; kUnsupported if it is not exportable memory.
  virtual Result<MemoryHandle> export_memory(const void* pointer, uint64_t bytes) const = 0;

  // Number of independent queues, at least 1; `queue` arguments below are smaller than it.
  virtual uint32_t queue_count() const = 0;
  // Copies between device memory and/or host memory (either side may be host memory of any kind). The ranges
  // do not overlap. Both must stay valid until the token completes. Never blocks.
  virtual Result<Token> copy(uint32_t queue, void* destination, const void* source, uint64_t bytes) = 0;
  // Reduces. The spans of pointers are read before the call returns; the memory they name must stay valid
  // until the token completes. Never blocks.
  virtual Result<Token> reduce(uint32_t queue, const ReduceWork& work) = 0;
  // True once the work of `token` on `queue`, and all before it there, is complete and visible to the CPU's
  // transports. An error is fatal to the queue.
  virtual Result<bool> poll(uint32_t queue, Token token) = 0;
  // What was issued last on the queue, by anybody; 0: nothing, or work is done when it is issued. Any thread.
  virtual Token issued(uint32_t /*queue*/) const { return 0; }

  // Takes the next place on a user's stream, which is the runtime's own (cudaStream_t, cl_command_queue, ..);
  // null: its default stream, where it has one. The host waits for nothing. Any thread; never blocks.
  // kUnsupported: the device has no streams, or this one takes no gate now (it is captured);
  // kInvalidArgument: it is no stream of this device.
  virtual Result<std::unique_ptr<Passage>> pass(void* /*stream*/) {
    return Status(Code::kUnsupported, std::string(name()) + " has no streams of its own");
  }
  // Whether pass() takes it, by the same errors.
  virtual Status check_stream(void* stream) const {
    static_cast<void>(stream);
    return Status(Code::kUnsupported, std::string(name()) + " has no streams of its own");
  }
};

}  // namespace comity
