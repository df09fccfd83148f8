// A unique id as text, as it lies in files and key-value stores.
#pragma once

#include <string_view>

#include "comity/plugin/result.h"
#include "src/control/control.h"

namespace comity::launch {

// From its 256 hexadecimal digits (to_hex). kInvalidArgument says what is wrong with the text.
Result<control::UniqueId> id_from_hex(std::string_view digits);

}  // namespace comity::launch
