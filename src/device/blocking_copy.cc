#include "src/device/blocking_copy.h"

#include <sched.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace comity {
namespace {

constexpr uint32_t kQueue = 0;
constexpr uint64_t kHopBytes = uint64_t{1} << 20;

Status copy_by(Device& device, void* to, const void* from, uint64_t bytes) {
  COMITY_ASSIGN_OR_RETURN(const Token token, device.copy(kQueue, to, from, bytes));
  for (;;) {
    COMITY_ASSIGN_OR_RETURN(const bool done, device.poll(kQueue, token));
    if (done) return {};
    sched_yield();
  }
}

}  // namespace

Status copy_and_wait(const DeviceRegistry& devices, void* to, const void* from, uint64_t bytes) {
  if (bytes == 0) return {};
  Device& target = devices.device_of(to, bytes);
  Device& source = devices.device_of(from, bytes);
  if (&target == &source || source.host_addressable()) return copy_by(target, to, from, bytes);
  if (target.host_addressable()) return copy_by(source, to, from, bytes);
  // Two devices have no copy in common.
  std::vector<std::byte> hop(std::min(bytes, kHopBytes));
  for (uint64_t done = 0; done < bytes; done += hop.size()) {
    const uint64_t piece = std::min<uint64_t>(hop.size(), bytes - done);
    COMITY_RETURN_IF_ERROR(copy_by(source, hop.data(), static_cast<const std::byte*>(from) + done, piece));
    COMITY_RETURN_IF_ERROR(copy_by(target, static_cast<std::byte*>(to) + done, hop.data(), piece));
  }
  return {};
}

}  // namespace comity
