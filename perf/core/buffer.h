// A buffer for a collective, with bytes around it that nobody may touch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "comity/plugin/result.h"

namespace comity::perf {

enum class BufferKind {
  kPlain,       // the C library's allocator
  kRegistered,  // comityMemAlloc
};

class Buffer {
 public:
  // Room for `max_bytes`, on a page boundary, every page touched. kSystemError when there is no memory.
  static Result<Buffer> allocate(BufferKind kind, size_t max_bytes);
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) = delete;
  ~Buffer();

  std::byte* data() const { return memory_ + kMargin; }
  size_t max_bytes() const { return max_bytes_; }
  // Writes the guards: the 64 bytes before data(), and the 64 bytes after the first `used_bytes`.
  void set_guards(size_t used_bytes);
  // How many of those are no longer what set_guards wrote.
  uint64_t broken_guards() const;

 private:
  static constexpr size_t kMargin = 4096;
  Buffer(BufferKind kind, std::byte* memory, size_t max_bytes)
      : kind_(kind), memory_(memory), max_bytes_(max_bytes) {}

  BufferKind kind_;
  std::byte* memory_;
  size_t max_bytes_;
  size_t used_bytes_ = 0;
};

}  // namespace comity::perf
