#include "perf/core/element.h"

#include <bit>
#include <cassert>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace comity::perf {
namespace {

struct Format {
  int exponent_bits;
  int mantissa_bits;
};

Format format_of(DataType type) {
  switch (type) {
    case DataType::kFloat16:
      return {5, 10};
    case DataType::kFloat32:
      return {8, 23};
    case DataType::kFloat64:
      return {11, 52};
    case DataType::kBfloat16:
      return {8, 7};
    case DataType::kFloat8e4m3:
      return {4, 3};
    case DataType::kFloat8e5m2:
      return {5, 2};
    default:
      return {0, 0};
  }
}

[[noreturn]] void refuse(DataType type, double value) {
  std::fprintf(stderr, "the input pattern needs %a as %s, which does not hold it exactly\n", value,
               column_name(type));
  std::abort();
}

}  // namespace

uint64_t exact_integers(DataType type) {
  if (is_floating(type)) return uint64_t{1} << (format_of(type).mantissa_bits + 1);
  const size_t value_bits = 8 * size_of(type) - (is_signed(type) ? 1 : 0);
  return value_bits >= 53 ? uint64_t{1} << 53 : (uint64_t{1} << value_bits) - 1;
}

uint64_t encode_floating(DataType type, double value) {
  const auto [exponent_bits, mantissa_bits] = format_of(type);
  const uint64_t sign = std::signbit(value) ? uint64_t{1} << (exponent_bits + mantissa_bits) : 0;
  if (value == 0) return sign;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  // e4m3fn spends its top exponent on numbers and a single NaN; the others spend it on infinities and NaNs.
  const int top = type == DataType::kFloat8e4m3 ? bias + 1 : bias;
  const int exponent = std::ilogb(value);
  const double scaled = std::ldexp(std::fabs(value), mantissa_bits - exponent);  // in [2^m, 2^(m+1))
  const auto significand = static_cast<uint64_t>(scaled);
  if (static_cast<double>(significand) != scaled || exponent < 1 - bias || exponent > top)
    refuse(type, value);
  const uint64_t mantissa = significand - (uint64_t{1} << mantissa_bits);
  if (type == DataType::kFloat8e4m3 && exponent == top && mantissa == 7) refuse(type, value);
  return sign | static_cast<uint64_t>(exponent + bias) << mantissa_bits | mantissa;
}

const char* column_name(DataType type) {
  constexpr const char* kNames[kDataTypeCount] = {"int8", "uint8", "int32",  "uint32",   "int64",  "uint64",
                                                  "half", "float", "double", "bfloat16", "f8e4m3", "f8e5m2"};
  return kNames[static_cast<int>(type)];
}

}  // namespace comity::perf
