#include "src/device/opencl/memory.h"

#include <fmt/core.h>
#include <sys/mman.h>

#include <cstring>
#include <iterator>
#include <mutex>
#include <utility>

#include "src/base/arithmetic.h"
#include "src/base/errno_text.h"

namespace comity::opencl {
namespace {

constexpr uint64_t kPage = 4096;
constexpr cl_uint kAlignment = 128;  // as much as PoCL takes

uint64_t address_of(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer);
}

// Addresses that nobody can use. A page more than asked for: an access past the end meets no neighbour.
Result<void*> reserve(uint64_t bytes) {
  void* const start = ::mmap(nullptr, round_up(bytes, kPage) + kPage, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start != MAP_FAILED) return start;
  return Status(Code::kSystemError,
                fmt::format("cannot reserve {} bytes of addresses: {}", bytes, errno_text(errno)));
}

void unreserve(void* start, uint64_t bytes) {
  ::munmap(start, round_up(bytes, kPage) + kPage);
}

}  // namespace

Result<cl_mem> Memory::buffer_over(cl_context context, uint64_t bytes, void* memory) {
  cl_int error = CL_SUCCESS;
  const cl_mem_flags flags = CL_MEM_READ_WRITE | (memory != nullptr ? cl_mem_flags{CL_MEM_USE_HOST_PTR} : 0);
  cl_mem const buffer = cl_.clCreateBuffer(context, flags, bytes, memory, &error);
  if (error != CL_SUCCESS) return failed("clCreateBuffer", error);
  return buffer;
}

Result<void*> Memory::allocate(cl_context context, uint32_t device, uint64_t bytes, bool shared) {
  void* pointer = nullptr;
  if (shared) {
    pointer = cl_.clSVMAlloc(context, CL_MEM_READ_WRITE, bytes, kAlignment);
    if (pointer == nullptr)
      return Status(Code::kSystemError, fmt::format("clSVMAlloc: no memory for {} bytes", bytes));
  } else {
    COMITY_ASSIGN_OR_RETURN(pointer, reserve(bytes));
  }
  const Result<cl_mem> buffer = buffer_over(context, bytes, shared ? pointer : nullptr);
  if (!buffer.ok()) {
    shared ? cl_.clSVMFree(context, pointer) : unreserve(pointer, bytes);
    return buffer.status();
  }
  add(pointer, {shared ? Kind::kShared : Kind::kBuffer, bytes, *buffer, context, device});
  return pointer;
}

Result<void*> Memory::name(cl_context context, cl_mem buffer, uint32_t device) {
  cl_context its = nullptr;
  if (const cl_int error =
          cl_.clGetMemObjectInfo(buffer, CL_MEM_CONTEXT, sizeof its, static_cast<void*>(&its), nullptr);
      error != CL_SUCCESS)
    return failed("clGetMemObjectInfo", error);
  if (its != context)
    return Status(Code::kInvalidArgument, "the buffer is of another context than Comity's of this device");
  size_t bytes = 0;
  if (const cl_int error = cl_.clGetMemObjectInfo(buffer, CL_MEM_SIZE, sizeof bytes, &bytes, nullptr);
      error != CL_SUCCESS)
    return failed("clGetMemObjectInfo", error);
  if (const cl_int error = cl_.clRetainMemObject(buffer); error != CL_SUCCESS)
    return failed("clRetainMemObject", error);
  const Result<void*> pointer = reserve(bytes);
  if (pointer.ok()) {
    add(*pointer, {Kind::kNamed, bytes, buffer, nullptr, device});
  } else {
    cl_.clReleaseMemObject(buffer);
  }
  return pointer;
}

Status Memory::adopt(cl_context context, uint32_t device, void* pointer, uint64_t bytes) {
  COMITY_ASSIGN_OR_RETURN(cl_mem buffer, buffer_over(context, bytes, pointer));
  add(pointer, {Kind::kAdopted, bytes, buffer, context, device});
  return {};
}

void Memory::add(void* pointer, const Range& range) {
  const std::unique_lock lock(mutex_);
  ranges_.insert_or_assign(address_of(pointer), range);
}

std::optional<Memory::Range> Memory::take(void* pointer, bool users, uint32_t device) {
  const std::unique_lock lock(mutex_);
  const auto found = ranges_.find(address_of(pointer));
  if (found == ranges_.end()) return std::nullopt;
  const Range range = found->second;
  if ((range.kind == Kind::kNamed || range.kind == Kind::kAdopted) != users) return std::nullopt;
  if (!users && range.device != device) return std::nullopt;
  ranges_.erase(found);
  return range;
}

Status Memory::release(uint32_t device, void* pointer) {
  const auto range = take(pointer, false, device);
  if (!range)
    return Status(Code::kInvalidArgument, fmt::format("{} is not an allocation of this device", pointer));
  cl_.clReleaseMemObject(range->buffer);
  if (range->kind == Kind::kShared) {
    cl_.clSVMFree(range->context, pointer);
  } else {
    unreserve(pointer, range->bytes);
  }
  return {};
}

Status Memory::forget(void* pointer) {
  const auto range = take(pointer, true, 0);
  if (!range) return Status(Code::kInvalidArgument, fmt::format("{} stands for no memory of yours", pointer));
  cl_.clReleaseMemObject(range->buffer);
  if (range->kind == Kind::kNamed) unreserve(pointer, range->bytes);
  return {};
}

std::optional<Place> Memory::find(const void* pointer) const {
  const uint64_t address = address_of(pointer);
  const std::shared_lock lock(mutex_);
  auto after = ranges_.upper_bound(address);
  if (after == ranges_.begin()) return std::nullopt;
  const auto& [base, range] = *std::prev(after);
  // The address behind the last byte too: of buffers without bytes.
  if (address - base > range.bytes) return std::nullopt;
  return Place{range.buffer, address - base, range.device, base, range.bytes};
}

}  // namespace comity::opencl
