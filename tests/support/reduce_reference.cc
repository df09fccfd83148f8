#include "tests/support/reduce_reference.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>

namespace comity::test {
namespace {

struct Fields {
  int exponent_bits;
  int mantissa_bits;
};

Fields fields_of(DataType type) {
  switch (type) {
    case DataType::kFloat16:
      return {5, 10};
    case DataType::kBfloat16:
      return {8, 7};
    case DataType::kFloat8e4m3:
      return {4, 3};
    case DataType::kFloat8e5m2:
      return {5, 2};
    case DataType::kFloat32:
      return {8, 23};
    default:
      return {11, 52};
  }
}

__int128 integer_of(DataType type, uint64_t bits) {
  const int width = 8 * static_cast<int>(size_of(type));
  __int128 value = static_cast<__int128>(bits);
  if (is_signed(type) && ((bits >> (width - 1)) & 1) != 0) value -= static_cast<__int128>(1) << width;
  return value;
}

uint64_t low_bits(DataType type, __int128 value) {
  const auto bits = static_cast<uint64_t>(static_cast<unsigned __int128>(value));
  const int width = 8 * static_cast<int>(size_of(type));
  return width == 64 ? bits : bits & ((uint64_t{1} << width) - 1);
}

uint64_t reduce_integers(DataType type, RedOp op, std::span<const uint64_t> operands, uint32_t divisor) {
  __int128 value = integer_of(type, operands[0]);
  for (uint64_t bits : operands.subspan(1)) {
    const __int128 next = integer_of(type, bits);
    if (op == RedOp::kMax) value = std::max(value, next);
    if (op == RedOp::kMin) value = std::min(value, next);
    if (op == RedOp::kSum || op == RedOp::kAvg) value = integer_of(type, low_bits(type, value + next));
    if (op ==
        RedOp::kProd) {  // of magnitudes below 2^64: the product's low bits do not overflow unsigned 128
      const auto product = static_cast<unsigned __int128>(value) * static_cast<unsigned __int128>(next);
      value = integer_of(type, low_bits(type, static_cast<__int128>(product)));
    }
  }
  if (divisor != 0) value /= static_cast<__int128>(divisor);
  return low_bits(type, value);
}

// One step in the accumulator's precision. Doubles hold products of fp32 exactly and their sums closely
// enough that rounding twice is rounding once.
double combine(bool wide, RedOp op, double a, double b) {
  if (op == RedOp::kSum || op == RedOp::kAvg || op == RedOp::kProd) {
    const double exact = op == RedOp::kProd ? a * b : a + b;
    return wide ? exact : static_cast<double>(static_cast<float>(exact));
  }
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<double>::quiet_NaN();
  if (a == b) return std::signbit(a) == (op == RedOp::kMin) ? a : b;
  return (a > b) == (op == RedOp::kMax) ? a : b;
}

double divide(bool wide, double value, uint32_t divisor) {
  if (divisor == 0) return value;
  if (wide) return value / static_cast<double>(divisor);
  const auto exact = static_cast<long double>(value) / static_cast<long double>(static_cast<float>(divisor));
  return static_cast<double>(static_cast<float>(exact));
}

const NarrowRounding& rounding_of(DataType type) {
  static const NarrowRounding roundings[] = {
      NarrowRounding(kNarrowFloats[0]), NarrowRounding(kNarrowFloats[1]), NarrowRounding(kNarrowFloats[2]),
      NarrowRounding(kNarrowFloats[3])};
  return roundings[std::find(std::begin(kNarrowFloats), std::end(kNarrowFloats), type) - kNarrowFloats];
}

uint64_t reduce_floats(DataType type, RedOp op, std::span<const uint64_t> operands, uint32_t divisor,
                       std::span<const uint8_t> divided) {
  const bool wide = type == DataType::kFloat64;
  const auto operand = [&](size_t k) {
    const double value = value_of(type, operands[k]);
    return divided.empty() || divided[k] != 0 ? value : divide(wide, value, divisor);
  };
  double value = operand(0);
  for (size_t k = 1; k < operands.size(); ++k) value = combine(wide, op, value, operand(k));
  if (divided.empty()) value = divide(wide, value, divisor);
  if (std::isnan(value)) return canonical_nan(type);
  uint64_t bits = 0;
  const auto narrow = static_cast<float>(value);
  if (type == DataType::kFloat64) {
    std::memcpy(&bits, &value, sizeof value);
  } else if (type == DataType::kFloat32) {
    std::memcpy(&bits, &narrow, sizeof narrow);
  } else {
    bits = rounding_of(type).round(narrow);
  }
  return bits;
}

}  // namespace

double value_of(DataType type, uint64_t bits) {
  const auto [exponent_bits, mantissa_bits] = fields_of(type);
  const uint64_t mantissa = bits & ((uint64_t{1} << mantissa_bits) - 1);
  const auto exponent = static_cast<int>((bits >> mantissa_bits) & ((uint64_t{1} << exponent_bits) - 1));
  const double sign = ((bits >> (exponent_bits + mantissa_bits)) & 1) != 0 ? -1.0 : 1.0;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const bool top = exponent == (1 << exponent_bits) - 1;
  if (type == DataType::kFloat8e4m3) {
    if (top && mantissa == 7) return std::numeric_limits<double>::quiet_NaN();
  } else if (top) {
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  const auto fraction =
      static_cast<double>(exponent == 0 ? mantissa : mantissa + (uint64_t{1} << mantissa_bits));
  return sign * std::ldexp(fraction, (exponent == 0 ? 1 : exponent) - bias - mantissa_bits);
}

uint64_t canonical_nan(DataType type) {
  switch (type) {
    case DataType::kFloat16:
      return 0x7e00;
    case DataType::kBfloat16:
      return 0x7fc0;
    case DataType::kFloat8e4m3:
      return 0x7f;
    case DataType::kFloat8e5m2:
      return 0x7e;
    case DataType::kFloat32:
      return 0x7fc00000;
    default:
      return 0x7ff8000000000000;
  }
}

NarrowRounding::NarrowRounding(DataType type)
    : type_(type), sign_bit_(uint64_t{1} << (8 * size_of(type) - 1)) {
  uint64_t largest = 0;  // code of the largest finite value
  while (std::isfinite(value_of(type, largest + 1))) ++largest;
  const bool fp8 = size_of(type) == 1;
  infinity_code_ = type == DataType::kFloat8e4m3 ? largest : largest + 1;
  for (uint64_t code = 0; code < largest; ++code) {
    midpoints_.push_back((value_of(type, code) + value_of(type, code + 1)) / 2);
  }
  // The value after the largest, had the format one more exponent; fp8 saturates instead.
  const double next = 2 * value_of(type, largest) - value_of(type, largest - 1);
  if (!fp8) midpoints_.push_back((value_of(type, largest) + next) / 2);
}

bool NarrowRounding::above(double magnitude, uint64_t code) const {
  if (code >= midpoints_.size()) return false;
  return magnitude > midpoints_[code] || (magnitude == midpoints_[code] && (code & 1) != 0);
}

uint64_t NarrowRounding::round_magnitude(double magnitude, uint64_t hint) const {
  if (std::isinf(magnitude)) return infinity_code_;
  while (above(magnitude, hint)) ++hint;
  return hint;
}

uint64_t NarrowRounding::round(float value) const {
  if (std::isnan(value)) return canonical_nan(type_);
  const double magnitude = std::fabs(static_cast<double>(value));
  const auto first = std::lower_bound(midpoints_.begin(), midpoints_.end(), magnitude);
  const uint64_t code = round_magnitude(magnitude, static_cast<uint64_t>(first - midpoints_.begin()));
  return code | (std::signbit(value) ? sign_bit_ : 0);
}

uint64_t reduce_reference(DataType type, RedOp op, std::span<const uint64_t> operands, uint32_t divisor,
                          std::span<const uint8_t> divided) {
  return is_floating(type) ? reduce_floats(type, op, operands, divisor, divided)
                           : reduce_integers(type, op, operands, divisor);
}

uint64_t element(const std::byte* array, DataType type, uint64_t i) {
  uint64_t bits = 0;
  std::memcpy(&bits, array + i * size_of(type), size_of(type));
  return bits;
}

void set_element(std::byte* array, DataType type, uint64_t i, uint64_t bits) {
  std::memcpy(array + i * size_of(type), &bits, size_of(type));
}

bool full_tests() {
  const char* text = std::getenv("COMITY_TEST_FULL");
  return text != nullptr && std::string(text) == "1";
}

}  // namespace comity::test
