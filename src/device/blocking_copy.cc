#include "src/device/blocking_copy.h"

#include <fmt/core.h>
#include <sched.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
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

Status copy_and_wait(DeviceRegistry& devices, void* to, const void* from, uint64_t bytes) {
  if (bytes == 0) return {};
  Device& target = devices.device_of(to, bytes);
  Device& source = devices.device_of(from, bytes);
  for (const auto& [owner, at] : {std::pair<Device*, const void*>{&target, to}, {&source, from}}) {
    if (&devices.device_of(at, 1) != owner) {
      return Status(Code::kInvalidArgument,
                    fmt::format("{} bytes at {} are more than one allocation of a device has", bytes, at));
    }
  }
  if (&target == &source || source.host_addressable()) return copy_by(target, to, from, bytes);
  if (target.host_addressable()) return copy_by(source, to, from, bytes);
  // Two devices have no copy in common.
  const auto hop = std::make_shared<std::vector<std::byte>>(std::min(bytes, kHopBytes));
  Status status;
  for (uint64_t done = 0; status.ok() && done < bytes; done += hop->size()) {
    const uint64_t piece = std::min<uint64_t>(hop->size(), bytes - done);
    status = copy_by(source, hop->data(), static_cast<const std::byte*>(from) + done, piece);
    if (status.ok()) status = copy_by(target, static_cast<std::byte*>(to) + done, hop->data(), piece);
  }
  if (!status.ok()) devices.keep(hop);  // a device may still use it
  return status;
}

}  // namespace comity
