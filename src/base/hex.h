// Bytes as hexadecimal digits, for channels that carry text.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"

namespace comity {

// Two digits for each byte, in small letters.
std::string to_hex(std::span<const std::byte> bytes);
// kInvalidArgument: not an even number of the digits 0-9 and a-f.
Result<std::vector<std::byte>> from_hex(std::string_view digits);

}  // namespace comity
