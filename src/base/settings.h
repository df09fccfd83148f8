// Every setting of the library in one table: name, default, meaning, and whether all ranks must agree on it.
//
// Settings are read from the environment when first asked for, once per communicator at its creation, so that
// a test may set the variable before. `comity doctor` prints the table; settings marked agreed enter the hash
// that ranks compare at init.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "comity/plugin/result.h"

namespace comity {

struct Setting {
  const char* name;                       // environment variable
  const char* default_value;              // as text; "" is unset
  bool agreed;                            // must be equal on all ranks
  const char* accepts;                    // what may be given: "seconds", "error, warn, info or debug"
  const char* meaning;                    // one sentence for people
  uint64_t least = 0, most = UINT64_MAX;  // of a number
};

// All settings, sorted by name. Static storage.
std::span<const Setting> settings();

// The text of a setting: the environment's if it is not empty, else the default. `name` must be in the table
// (else the process stops).
std::string setting_text(std::string_view name);
// The same as a whole number, with optional suffix K, M or G (powers of 1024). kInvalidArgument names the
// variable, what it was, and what it accepts.
Result<uint64_t> setting_number(std::string_view name);

}  // namespace comity
