#include "perf/core/buffer.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "comity/comity.h"

namespace comity::perf {
namespace {

constexpr size_t kGuardBytes = 64;
constexpr std::byte kGuard{0xa5};

uint64_t count_other(const std::byte* bytes) {
  return static_cast<uint64_t>(
      std::count_if(bytes, bytes + kGuardBytes, [](std::byte b) { return b != kGuard; }));
}

}  // namespace

Result<Buffer> Buffer::allocate(BufferKind kind, size_t max_bytes) {
  const size_t bytes = (max_bytes + 2 * kMargin + 4095) / 4096 * 4096;
  void* memory = nullptr;
  if (kind == BufferKind::kPlain) {
    memory = std::aligned_alloc(4096, bytes);
  } else if (comityMemAlloc(&memory, bytes) != comitySuccess) {
    return Status(Code::kSystemError,
                  fmt::format("comityMemAlloc of {} bytes: {}", bytes, comityGetLastError(nullptr)));
  }
  if (memory == nullptr)
    return Status(Code::kSystemError, fmt::format("no memory for a buffer of {} bytes", bytes));
  std::memset(memory, 0, bytes);
  return Buffer(kind, static_cast<std::byte*>(memory), max_bytes);
}

Buffer::Buffer(Buffer&& other) noexcept
    : kind_(other.kind_),
      memory_(std::exchange(other.memory_, nullptr)),
      max_bytes_(other.max_bytes_),
      used_bytes_(other.used_bytes_) {}

Buffer::~Buffer() {
  if (memory_ == nullptr) return;
  if (kind_ == BufferKind::kPlain) {
    std::free(memory_);
  } else {
    comityMemFree(memory_);
  }
}

void Buffer::set_guards(size_t used_bytes) {
  used_bytes_ = used_bytes;
  std::fill_n(data() - kGuardBytes, kGuardBytes, kGuard);
  std::fill_n(data() + used_bytes_, kGuardBytes, kGuard);
}

uint64_t Buffer::broken_guards() const {
  return count_other(data() - kGuardBytes) + count_other(data() + used_bytes_);
}

}  // namespace comity::perf
