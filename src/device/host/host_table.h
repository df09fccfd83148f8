// The host as a table of functions: what it does, through the interface of a vendor's device.
#pragma once

#include "comity/plugin/device_abi.h"

namespace comity {

// One device; work is done when a function returns. The engine uses HostDevice itself.
const comityDeviceTable& host_table();

}  // namespace comity
