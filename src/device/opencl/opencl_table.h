// OpenCL devices as a table of functions.
#pragma once

#include "comity/plugin/device_abi.h"

namespace comity::opencl {

// All devices of all platforms, in the loader's order. A stream is a cl_command_queue of a device, in any
// context. The loader is opened by start().
const comityDeviceTable& table();

}  // namespace comity::opencl
