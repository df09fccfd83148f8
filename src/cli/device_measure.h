// What a device measures: copies, reductions, latency.
#pragma once

#include <vector>

#include "src/cli/device_check.h"
#include "src/cli/device_lab.h"

namespace comity::cli {

// The best of a few rounds each. Bandwidths count the bytes that are read and written on the device. Throws
// Broken.
std::vector<Figure> measure_device(DeviceLab& lab);

}  // namespace comity::cli
