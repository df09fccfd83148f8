// Copies between memory of any kinds that block until they are done.
#pragma once

#include <cstdint>

#include "comity/plugin/result.h"
#include "src/device/registry.h"

namespace comity {

// The ranges do not overlap. Any thread. kInvalidArgument: one begins in an allocation of a device and does
// not end there; else the errors of Device::copy() and poll().
Status copy_and_wait(DeviceRegistry& devices, void* to, const void* from, uint64_t bytes);

}  // namespace comity
