// Tables of devices with one thing wrong: a forgotten event, a reused buffer, a wrong stream, ...
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comity/plugin/device_abi.h"

namespace comity::test {

struct PlantedFault {
  const char* name;
  const char* found_by;  // part of the check that fails
  void (*plant)(comityDeviceTable& table);
};
const std::vector<PlantedFault>& planted_faults();

// A copy of `base` with this wrong, whose functions call base's; one at a time.
const comityDeviceTable& with_fault(const comityDeviceTable& base, const PlantedFault& fault);

}  // namespace comity::test
