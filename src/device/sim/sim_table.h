// The sim device as a table of functions, as a vendor's is: so the table is known to be enough.
#pragma once

#include "comity/plugin/device_abi.h"

namespace comity {

// Two devices, made at start(). A stream is one of a device's queues.
const comityDeviceTable& sim_table();

}  // namespace comity
