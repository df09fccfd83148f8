// Which cores this process may use, and pinning to one of them.
#pragma once

#include <vector>

#include "comity/plugin/result.h"

namespace comity::perf {

// The cores that this process is allowed on when asked first, ascending: pinning later does not shrink it.
const std::vector<int>& allowed_cores();

// How many those are, at least 1. The measure of "more ranks than cores".
int machine_core_count();

// Binds the calling thread, and threads made by it later, to `core`. kSystemError, kInvalidArgument.
Status pin_to_core(int core);

}  // namespace comity::perf
