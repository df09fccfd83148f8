// A table of functions for each dialect.
#pragma once

#include <string_view>
#include <vector>

#include "comity/plugin/device_abi.h"

namespace comity::dialect {

struct NamedTable {
  std::string_view name;
  const comityDeviceTable& (*table)();
};
// One for each row of dialects().
const std::vector<NamedTable>& tables();

}  // namespace comity::dialect
