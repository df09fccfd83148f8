#include "src/device/host/host_device.h"

#include <fmt/core.h>

#include "src/device/host/kernels.h"

namespace comity {

Result<MemoryHandle> HostDevice::export_memory(const void* pointer, uint64_t bytes) const {
  if (auto handle = RegionTable::instance().handle_of(pointer, bytes)) return *handle;
  return Status(
      Code::kUnsupported,
      fmt::format("host: {} bytes at {} are not from comityMemAlloc; peers cannot map them", bytes, pointer));
}

Result<Token> HostDevice::copy(uint32_t, void* destination, const void* source, uint64_t bytes) {
  copy_host(destination, source, bytes, false);
  return Token{0};
}

Result<Token> HostDevice::reduce(uint32_t, const ReduceWork& work) {
  if (work.sources.empty() || work.destinations.empty()) {
    return Status(Code::kInvalidArgument, "host: a reduction needs a source and a destination");
  }
  if (work.count != 0) reduce_host(work);
  return Token{0};
}

}  // namespace comity
