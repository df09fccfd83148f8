// Memory that ranks on one host reach directly, and hints about the caller's own.
#include <fmt/core.h>

#include "src/api/arguments.h"
#include "src/api/errors.h"
#include "src/api/guard.h"
#include "src/api/handle.h"
#include "src/device/blocking_copy.h"
#include "src/device/registry.h"

using comity::Code;
using comity::Status;
using comity::api::remember;

extern "C" comityResult_t comityMemAlloc(void** ptr, size_t size) {
  return comity::api::guarded("comityMemAlloc", [&]() -> comityResult_t {
    if (ptr == nullptr) return remember({Code::kInvalidArgument, "comityMemAlloc: ptr is NULL"});
    *ptr = nullptr;
    if (size == 0) return comitySuccess;
    auto devices = comity::api::devices();
    if (!devices.ok()) return remember(devices.status().in("comityMemAlloc"));
    auto memory = (*devices)->host().allocate(size);
    if (!memory.ok()) return remember(memory.status().in("comityMemAlloc"));
    *ptr = *memory;
    return comitySuccess;
  });
}

extern "C" comityResult_t comityMemAllocOn(void** ptr, size_t size, const char* device) {
  return comity::api::guarded("comityMemAllocOn", [&]() -> comityResult_t {
    if (ptr == nullptr) return remember({Code::kInvalidArgument, "comityMemAllocOn: ptr is NULL"});
    *ptr = nullptr;
    const auto owner = comity::api::device_named(device);
    if (!owner.ok()) return remember(owner.status().in("comityMemAllocOn"));
    if (size == 0) return comitySuccess;
    const auto memory = (*owner)->allocate(size);
    if (!memory.ok()) return remember(memory.status().in("comityMemAllocOn"));
    *ptr = *memory;
    return comitySuccess;
  });
}

extern "C" comityResult_t comityMemCopy(void* dst, const void* src, size_t size) {
  return comity::api::guarded("comityMemCopy", [&]() -> comityResult_t {
    if (size != 0 && (dst == nullptr || src == nullptr))
      return remember({Code::kInvalidArgument, "comityMemCopy: dst or src is NULL"});
    auto devices = comity::api::devices();
    if (!devices.ok()) return remember(devices.status().in("comityMemCopy"));
    return remember(comity::copy_and_wait(**devices, dst, src, size).in("comityMemCopy"));
  });
}

extern "C" comityResult_t comityMemFree(void* ptr) {
  return comity::api::guarded("comityMemFree", [&]() -> comityResult_t {
    if (ptr == nullptr) return comitySuccess;
    auto devices = comity::api::devices();
    if (!devices.ok()) return remember(devices.status().in("comityMemFree"));
    return remember((*devices)->device_of(ptr, 1).release(ptr).in("comityMemFree"));
  });
}

extern "C" comityResult_t comityCommRegister(comityComm_t comm, void* buff, size_t size, void** handle) {
  return comity::api::guarded("comityCommRegister", [&]() -> comityResult_t {
    if (Status status = comity::api::check_handle(comm, "comityCommRegister"); !status.ok())
      return remember(status);
    const auto address = reinterpret_cast<uintptr_t>(buff);
    if (buff == nullptr || size == 0 || handle == nullptr || size > UINTPTR_MAX - address) {
      return remember(
          {Code::kInvalidArgument,
           fmt::format("{}: buff {}, size {}, handle {}: none may be zero, and the range may not wrap",
                       comity::api::caller_of({"comityCommRegister", comm, nullptr}), buff, size,
                       static_cast<void*>(handle))});
    }
    const std::lock_guard lock(comm->mutex);
    if (comm->assembly == nullptr) return remember(comity::api::check_handle(comm, "comityCommRegister"));
    const uint64_t number = comm->assembly->engine().hints().add({static_cast<const std::byte*>(buff), size});
    *handle = reinterpret_cast<void*>(static_cast<uintptr_t>(number));
    return comitySuccess;
  });
}

extern "C" comityResult_t comityCommDeregister(comityComm_t comm, void* handle) {
  return comity::api::guarded("comityCommDeregister", [&]() -> comityResult_t {
    if (Status status = comity::api::check_handle(comm, "comityCommDeregister"); !status.ok())
      return remember(status);
    const std::lock_guard lock(comm->mutex);
    const auto number = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(handle));
    if (comm->assembly != nullptr && comm->assembly->engine().hints().remove(number)) return comitySuccess;
    return remember({Code::kInvalidArgument,
                     fmt::format("{}: {} is no registration of this communicator",
                                 comity::api::caller_of({"comityCommDeregister", comm, nullptr}), handle)});
  });
}
