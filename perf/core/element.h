// Encoding of the twelve element types, for numbers that they hold exactly.
//
// Written apart from the library's own conversions: a checker that shares code with what it checks agrees
// with its mistakes.
#pragma once

#include <cstdint>

#include "comity/plugin/types.h"

namespace comity::perf {

// The largest N such that `type` holds every integer of absolute value up to N exactly (capped at 2^53).
uint64_t exact_integers(DataType type);

// The bits of `value` in a floating type, in the low bytes. The process stops if `value` is not exactly
// representable as zero or a normal number: that is a mistake in the choice of inputs.
uint64_t encode_floating(DataType type, double value);

// The name that nccl-tests prints: "float", "half", "f8e4m3", ...
const char* column_name(DataType type);

}  // namespace comity::perf
