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

Result<Buffer> Buffer::allocate(BufferKind kind, const std::string& device, size_t max_bytes) {
  const size_t bytes = (max_bytes + 2 * kMargin + 4095) / 4096 * 4096;
  void* memory = nullptr;
  if (!device.empty() && device != "host") {
    if (comityMemAllocOn(&memory, bytes, device.c_str()) != comitySuccess)
      return Status(Code::kSystemError, comityGetLastError(nullptr));
    Buffer buffer(kind, static_cast<std::byte*>(memory), max_bytes, bytes);
    COMITY_RETURN_IF_ERROR(buffer.push(memory, bytes));
    return buffer;
  }
  if (kind == BufferKind::kPlain) {
    memory = std::aligned_alloc(4096, bytes);
  } else if (comityMemAlloc(&memory, bytes) != comitySuccess) {
    return Status(Code::kSystemError,
                  fmt::format("comityMemAlloc of {} bytes: {}", bytes, comityGetLastError(nullptr)));
  }
  if (memory == nullptr)
    return Status(Code::kSystemError, fmt::format("no memory for a buffer of {} bytes", bytes));
  std::memset(memory, 0, bytes);
  return Buffer(kind, static_cast<std::byte*>(memory), max_bytes, 0);
}

Buffer::Buffer(Buffer&& other) noexcept
    : kind_(other.kind_),
      memory_(std::exchange(other.memory_, nullptr)),
      max_bytes_(other.max_bytes_),
      used_bytes_(other.used_bytes_),
      mirror_(std::move(other.mirror_)) {}

Buffer::~Buffer() {
  if (memory_ == nullptr) return;
  if (kind_ == BufferKind::kPlain && !on_device()) {
    std::free(memory_);
  } else {
    comityMemFree(memory_);
  }
}

Status Buffer::push(const void* at, size_t bytes) const {
  if (!on_device() || bytes == 0) return {};
  const comityResult_t copied = comityMemCopy(const_cast<void*>(at), host(at), bytes);
  return copied == comitySuccess ? Status()
                                 : Status(Code::kUnhandledDeviceError, comityGetLastError(nullptr));
}

Status Buffer::pull(const void* at, size_t bytes) const {
  if (!on_device() || bytes == 0) return {};
  const comityResult_t copied = comityMemCopy(host(at), at, bytes);
  return copied == comitySuccess ? Status()
                                 : Status(Code::kUnhandledDeviceError, comityGetLastError(nullptr));
}

Status Buffer::set_guards(size_t used_bytes) {
  used_bytes_ = used_bytes;
  for (std::byte* guard : {data() - kGuardBytes, data() + used_bytes_}) {
    std::fill_n(host(guard), kGuardBytes, kGuard);
    COMITY_RETURN_IF_ERROR(push(guard, kGuardBytes));
  }
  return {};
}

Result<uint64_t> Buffer::broken_guards() const {
  uint64_t broken = 0;
  for (const std::byte* guard : {data() - kGuardBytes, data() + used_bytes_}) {
    COMITY_RETURN_IF_ERROR(pull(guard, kGuardBytes));
    broken += count_other(host(guard));
  }
  return broken;
}

}  // namespace comity::perf
