// Sizes as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "comity/plugin/result.h"

namespace comity::perf {

// "8", "512K", "1M", "2.5G", "1T" in bytes, suffixes being powers of 1024 in either case, with an optional
// "B" or "iB" behind. kInvalidArgument quotes the text when it is no such number or exceeds 2^62.
Result<uint64_t> parse_bytes(std::string_view text);

// The shortest of those that is exact: "8", "4K", "64M", "1000".
std::string format_bytes(uint64_t bytes);

}  // namespace comity::perf
