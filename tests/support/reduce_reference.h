// An independent account of what a reduction must give, element by element and by definition: values as
// doubles from their fields, rounding by looking for the nearest of all values of the format, integers in 128
// bits. Slow.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comity/plugin/types.h"

namespace comity::test {

inline constexpr DataType kNarrowFloats[] = {DataType::kFloat16, DataType::kBfloat16, DataType::kFloat8e4m3,
                                             DataType::kFloat8e5m2};

// The value of a float's bits (any of the float types); NaN for a NaN.
double value_of(DataType type, uint64_t bits);
// The bits of the type's one NaN.
uint64_t canonical_nan(DataType type);

// Rounds fp32 to a narrow float type. Made once per type; all magnitudes at or above thresholds()[k] and
// below thresholds()[k + 1] (where k + 1 is even the bounds themselves round to it) become the code k + 1.
class NarrowRounding {
 public:
  explicit NarrowRounding(DataType type);
  uint64_t round(float value) const;
  // The code of a magnitude: `hint` is a code not above it, for callers that go upward.
  uint64_t round_magnitude(double magnitude, uint64_t hint) const;
  // midpoints()[k]: halfway between the values of codes k and k + 1; the last is where overflow begins.
  std::span<const double> midpoints() const { return midpoints_; }
  uint64_t sign_bit() const { return sign_bit_; }

 private:
  bool above(double magnitude, uint64_t code) const;
  DataType type_;
  uint64_t sign_bit_;
  uint64_t infinity_code_;  // what an infinite accumulator becomes
  std::vector<double> midpoints_;
};

// The one element that `operands` (bits of elements, at least one) reduce to. `divided` as in ReduceWork.
uint64_t reduce_reference(DataType type, RedOp op, std::span<const uint64_t> operands, uint32_t divisor,
                          std::span<const uint8_t> divided = {});

// Element `i` of an array, as bits, and back.
uint64_t element(const std::byte* array, DataType type, uint64_t i);
void set_element(std::byte* array, DataType type, uint64_t i, uint64_t bits);

// COMITY_TEST_FULL=1 asks for what is exhaustive and slow.
bool full_tests();

}  // namespace comity::test
