// A buffer for a collective, with bytes around it that nobody may touch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "comity/plugin/result.h"

namespace comity::perf {

enum class BufferKind {
  kPlain,       // the C library's allocator
  kRegistered,  // comityMemAlloc
};

class Buffer {
 public:
  // Room for `max_bytes`, on a page boundary, every page touched; on a device of this name ("" and "host":
  // memory of the kind). kSystemError when there is no memory.
  static Result<Buffer> allocate(BufferKind kind, const std::string& device, size_t max_bytes);
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) = delete;
  ~Buffer();

  std::byte* data() const { return memory_ + kMargin; }
  // Where the CPU writes and reads what lies at `at`, which is in this buffer: there, or in its mirror.
  std::byte* host(const void* at) const {
    return on_device() ? const_cast<std::byte*>(mirror_.data()) + offset_of(at)
                       : static_cast<std::byte*>(const_cast<void*>(at));
  }
  bool holds(const void* at) const { return offset_of(at) < max_bytes_ + 2 * kMargin; }
  // Brings bytes at `at` from the mirror to the device, and back. Nothing to do on the host.
  Status push(const void* at, size_t bytes) const;
  Status pull(const void* at, size_t bytes) const;
  size_t max_bytes() const { return max_bytes_; }
  // Writes the guards: the 64 bytes before data(), and the 64 bytes after the first `used_bytes`.
  Status set_guards(size_t used_bytes);
  // How many of those are no longer what set_guards wrote.
  Result<uint64_t> broken_guards() const;

 private:
  static constexpr size_t kMargin = 4096;
  Buffer(BufferKind kind, std::byte* memory, size_t max_bytes, size_t mirrored)
      : kind_(kind), memory_(memory), max_bytes_(max_bytes), mirror_(mirrored) {}
  bool on_device() const { return !mirror_.empty(); }
  size_t offset_of(const void* at) const {
    return static_cast<size_t>(static_cast<const std::byte*>(at) - memory_);
  }

  BufferKind kind_;
  std::byte* memory_;
  size_t max_bytes_;
  size_t used_bytes_ = 0;
  std::vector<std::byte> mirror_;  // of a device's memory; else empty
};

}  // namespace comity::perf
