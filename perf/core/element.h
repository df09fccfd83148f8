// Encoding of the twelve element types, for numbers that they hold exactly.
//
// Written apart from the library's own conversions: a checker that shares code with what it checks agrees
// with its mistakes.
#pragma once

#include <cstdint>

#include "comity/plugin/types.h"

namespace comity::perf {

constexpr bool is_floating(DataType type) {
  return type == DataType::kFloat16 || type == DataType::kFloat32 || type == DataType::kFloat64 ||
         type == DataType::kBfloat16 || type == DataType::kFloat8e4m3 || type == DataType::kFloat8e5m2;
}

constexpr bool is_signed(DataType type) {
  return is_floating(type) || type == DataType::kInt8 || type == DataType::kInt32 || type == DataType::kInt64;
}

// The largest N such that `type` holds every integer of absolute value up to N exactly (capped at 2^53).
uint64_t exact_integers(DataType type);

// The bits of `value` in a floating type, in the low bytes. The process stops if `value` is not exactly
// representable as zero or a normal number: that is a mistake in the choice of inputs.
uint64_t encode_floating(DataType type, double value);

// The name that nccl-tests prints: "float", "half", "f8e4m3", ...
const char* column_name(DataType type);

}  // namespace comity::perf
