// Checks that reductions of a device give the bits of the host's kernels.
#pragma once

#include <string>

#include "comity/plugin/types.h"
#include "src/cli/device_lab.h"

namespace comity::cli {

struct ReductionsFound {
  bool any = false;    // the device has some of it
  std::string detail;  // what the host does; empty: nothing
};
// Every operation, number of sources, divisor and accumulator of one type. Throws Broken.
ReductionsFound check_reductions(DeviceLab& lab, DataType type);

}  // namespace comity::cli
