// Number formats as vectors: how a type is loaded into its accumulator, combined, divided and rounded back.
//
// Included only by kernels_body.h, inside the files that are compiled once per instruction set; everything is
// in an unnamed namespace (kernels_table.h says why). Vectors are the compiler's own (vector_size), never
// wider than kVectorBytes, so that each operation is one instruction of the set in use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "src/device/host/kernels_convert.h"

namespace comity {
namespace {

// ---- Integers: the accumulator is the type itself, so that any grouping of a sum wraps alike.

template <typename T, int kPart>
inline Vec<T, kPart> quotients(Vec<T, kPart> value, uint32_t divisor) {
  if constexpr (sizeof(T) == 1) {  // exact: the quotient is off an integer by 1/255 at least, or below 1
    const auto wide = widen<T, kPart>(value);
    const auto ratio = __builtin_convertvector(wide, Vec<float, kPart>) / static_cast<float>(divisor);
    const auto whole = __builtin_convertvector(ratio, Vec<int32_t, kPart>);
    return narrow<T, kPart>(whole);
  } else if constexpr (std::is_same_v<T, int32_t>) {  // exact likewise: off by 2^-31, relative to 2^31, in 53
                                                      // bits
    const auto ratio = __builtin_convertvector(value, Vec<double, kPart>) / static_cast<double>(divisor);
    return __builtin_convertvector(ratio, Vec<int32_t, kPart>);
  } else if constexpr (std::is_same_v<T, uint32_t>) {  // conversions exist for signed lanes everywhere
    const auto shifted = bits_as<Vec<int32_t, kPart>>(value ^ 0x80000000u);
    const auto exact = __builtin_convertvector(shifted, Vec<double, kPart>) + 2147483648.0;
    const auto ratio = exact / static_cast<double>(divisor);  // below 2^31, as the divisor is 2 at least
    return bits_as<Vec<uint32_t, kPart>>(__builtin_convertvector(ratio, Vec<int32_t, kPart>));
  } else {
    for (int i = 0; i < kPart; ++i) value[i] = value[i] / static_cast<T>(divisor);
    return value;
  }
}

template <typename T>
struct IntFormat {
  using Raw = T;
  using Acc = T;
  static constexpr bool kFloat = false;
  static constexpr int kLanes = kVectorBytes / sizeof(T);

  template <int kCount>
  static Vec<Acc, kCount> decode(Vec<Raw, kCount> raw) {
    return raw;
  }
  template <int kCount>
  static Vec<Raw, kCount> encode(Vec<Acc, kCount> acc) {
    return acc;
  }
  // In parts whose floating-point form still is one vector.
  template <int kCount>
  static Vec<Acc, kCount> divide(Vec<Acc, kCount> acc, uint32_t divisor) {
    constexpr int kWidest = kVectorBytes / (sizeof(T) == 1 ? 4 : 8);
    constexpr int kPart = kCount < kWidest ? kCount : kWidest;
    if (divisor == 1) return acc;
    alignas(kVectorBytes) std::byte room[sizeof(acc)];
    store(room, acc);
    for (size_t at = 0; at < sizeof(acc); at += kPart * sizeof(T)) {
      store(room + at, quotients<T, kPart>(load<Vec<T, kPart>>(room + at), divisor));
    }
    return load<Vec<Acc, kCount>>(room);
  }
};

// ---- Floats.

template <typename F>
struct FloatBits;
template <>
struct FloatBits<float> {
  using Int = int32_t;
  static constexpr Int kNan = 0x7fc00000;
};
template <>
struct FloatBits<double> {
  using Int = int64_t;
  static constexpr Int kNan = 0x7ff8000000000000;
};

// Every NaN made the canonical one.
template <typename F, int kCount>
inline Vec<F, kCount> canonical(Vec<F, kCount> value) {
  using Ints = Vec<typename FloatBits<F>::Int, kCount>;
  const Ints nan = Ints{} + FloatBits<F>::kNan;
  // NOLINTNEXTLINE(misc-redundant-expression): a NaN is not equal to itself
  return bits_as<Vec<F, kCount>>((value == value) ? bits_as<Ints>(value) : nan);
}

// fp32 and fp64: the accumulator is the type.
template <typename F>
struct WideFloat {
  using Raw = F;
  using Acc = F;
  static constexpr bool kFloat = true;
  static constexpr int kLanes = kVectorBytes / sizeof(F);

  template <int kCount>
  static Vec<Acc, kCount> decode(Vec<Raw, kCount> raw) {
    return raw;
  }
  template <int kCount>
  static Vec<Raw, kCount> encode(Vec<Acc, kCount> acc) {
    return canonical<F, kCount>(acc);
  }
  template <int kCount>
  static Vec<Acc, kCount> divide(Vec<Acc, kCount> acc, uint32_t divisor) {
    return acc / static_cast<F>(divisor);
  }
};

// Formats of 8 and 16 bits that accumulate in fp32: lanes of 32 bits from load to store.
template <typename Layout>
struct NarrowFloat {
  using Raw = typename Layout::Raw;
  using Acc = float;
  static constexpr bool kFloat = true;
  static constexpr int kLanes = kVectorBytes / sizeof(float);

  template <int kCount>
  static Vec<float, kCount> decode(Vec<Raw, kCount> raw) {
    if constexpr (kHasHalf && Layout::kIsHalf) return from_half<kCount>(raw);
    return bits_as<Vec<float, kCount>>(Layout::template expand<kCount>(widen<Raw, kCount>(raw)));
  }
  template <int kCount>
  static Vec<Raw, kCount> encode(Vec<float, kCount> acc) {
    if constexpr (kHasHalf && Layout::kIsHalf) return to_half<kCount>(canonical<float, kCount>(acc));
    return narrow<Raw, kCount>(Layout::template round<kCount>(bits_as<Vec<int32_t, kCount>>(acc)));
  }
  template <int kCount>
  static Vec<float, kCount> divide(Vec<float, kCount> acc, uint32_t divisor) {
    return acc / static_cast<float>(divisor);
  }
};

inline constexpr int32_t kSign32 = INT32_MIN;
inline constexpr int32_t kMagnitude32 = 0x7fffffff;
inline constexpr int32_t kInfinity32 = 0x7f800000;

struct Bfloat16Layout {
  using Raw = uint16_t;
  static constexpr bool kIsHalf = false;

  template <int kCount>
  static Vec<int32_t, kCount> expand(Vec<int32_t, kCount> raw) {
    return raw << 16;
  }
  // A carry out of the mantissa moves into the exponent, up to infinity: as rounding demands.
  template <int kCount>
  static Vec<int32_t, kCount> round(Vec<int32_t, kCount> bits) {
    using Unsigned = Vec<uint32_t, kCount>;
    const auto raised = bits_as<Unsigned>(bits) + 0x7fffu + ((bits_as<Unsigned>(bits) >> 16) & 1u);
    const auto rounded = bits_as<Vec<int32_t, kCount>>(raised >> 16);
    const Vec<int32_t, kCount> nan = Vec<int32_t, kCount>{} + 0x7fc0;
    return (bits & kMagnitude32) > kInfinity32 ? nan : rounded;
  }
};

// What a format does at and beyond its largest finite value.
enum class Top { kInfinity, kSaturateKeepInfinity, kSaturateAll };

// Sign, exponent and mantissa as in IEEE, smaller.
template <typename RawType, int kMantissaBits, int kBias, Top kTop, int32_t kLargest, int32_t kNan>
struct SmallLayout {
  using Raw = RawType;
  static constexpr bool kIsHalf = kMantissaBits == 10;
  static constexpr int kShift = 23 - kMantissaBits;
  static constexpr int kSignShift = 32 - 8 * static_cast<int>(sizeof(Raw));
  static constexpr int32_t kMagnitude = (1 << (8 * sizeof(Raw) - 1)) - 1;
  static constexpr int32_t kRebias = (127 - kBias) << 23;

  // Subnormals: with the exponent of the smallest normal number put on them they are off by just that number.
  template <int kCount>
  static Vec<int32_t, kCount> expand(Vec<int32_t, kCount> raw) {
    using Ints = Vec<int32_t, kCount>;
    using Floats = Vec<float, kCount>;
    const Ints magnitude = (raw & kMagnitude) << kShift;
    const Ints normal = magnitude + kRebias;
    const Ints smallest = Ints{} + (kRebias + (1 << 23));
    const Ints tiny = bits_as<Ints>(bits_as<Floats>(magnitude + smallest) - bits_as<Floats>(smallest));
    Ints value = magnitude < (1 << 23) ? tiny : normal;
    if constexpr (kTop == Top::kSaturateAll) {
      value = magnitude == (kNan << kShift) ? Ints{} + FloatBits<float>::kNan : value;
    } else {  // all ones in the exponent: infinity or NaN
      value = magnitude > (kLargest << kShift) ? value | kInfinity32 : value;
    }
    return value | ((raw << kSignShift) & kSign32);
  }

  // Subnormals: adding a power of two whose last bit weighs as much as the format's lets the adder round.
  template <int kCount>
  static Vec<int32_t, kCount> round(Vec<int32_t, kCount> bits) {
    using Ints = Vec<int32_t, kCount>;
    using Words = Vec<uint32_t, kCount>;
    using Floats = Vec<float, kCount>;
    constexpr int32_t kMagic = (1 - kBias - kMantissaBits + 23 + 127) << 23;
    const Ints magnitude = bits & kMagnitude32;
    const Words odd = (bits_as<Words>(magnitude) >> kShift) & 1u;
    const Words raised = bits_as<Words>(magnitude) - uint32_t{kRebias} + ((1u << (kShift - 1)) - 1) + odd;
    const Ints normal = bits_as<Ints>(raised) >> kShift;
    const Ints magic = Ints{} + kMagic;
    const Ints tiny = bits_as<Ints>(bits_as<Floats>(magnitude) + bits_as<Floats>(magic)) - kMagic;
    Ints value = magnitude < kRebias + (1 << 23) ? tiny : normal;
    constexpr int32_t kCeiling = kTop == Top::kInfinity ? kLargest + 1 : kLargest;
    value = value > kCeiling ? Ints{} + kCeiling : value;
    if constexpr (kTop == Top::kSaturateKeepInfinity) {
      value = magnitude == kInfinity32 ? Ints{} + (kLargest + 1) : value;
    }
    value |= bits_as<Ints>(bits_as<Words>(bits & kSign32) >> kSignShift);
    return magnitude > kInfinity32 ? Ints{} + kNan : value;
  }
};

using Float16Layout = SmallLayout<uint16_t, 10, 15, Top::kInfinity, 0x7bff, 0x7e00>;
using Float8e4m3Layout = SmallLayout<uint8_t, 3, 7, Top::kSaturateAll, 0x7e, 0x7f>;
using Float8e5m2Layout = SmallLayout<uint8_t, 2, 15, Top::kSaturateKeepInfinity, 0x7b, 0x7e>;

// ---- Operations on accumulators.

template <typename T, int kCount>
inline Vec<T, kCount> wrapping(Vec<std::make_unsigned_t<T>, kCount> value) {
  return bits_as<Vec<T, kCount>>(value);
}

struct Sum {
  template <typename T, int kCount>
  static Vec<T, kCount> apply(Vec<T, kCount> a, Vec<T, kCount> b) {
    if constexpr (std::is_floating_point_v<T>) {
      return a + b;
    } else {
      using Unsigned = Vec<std::make_unsigned_t<T>, kCount>;
      return wrapping<T, kCount>(bits_as<Unsigned>(a) + bits_as<Unsigned>(b));
    }
  }
};

struct Prod {
  template <typename T, int kCount>
  static Vec<T, kCount> apply(Vec<T, kCount> a, Vec<T, kCount> b) {
    if constexpr (std::is_floating_point_v<T>) {
      return a * b;
    } else {
      using Unsigned = Vec<std::make_unsigned_t<T>, kCount>;
      return wrapping<T, kCount>(bits_as<Unsigned>(a) * bits_as<Unsigned>(b));
    }
  }
};

// Floats: where both are equal only zeros can differ, and there the sign bits decide; a NaN in b falls
// through the comparison, one in a is put back. encode() makes it canonical.
template <bool kMax>
struct Extreme {
  template <typename T, int kCount>
  static Vec<T, kCount> apply(Vec<T, kCount> a, Vec<T, kCount> b) {
    if constexpr (std::is_floating_point_v<T>) {
      using Ints = Vec<typename FloatBits<T>::Int, kCount>;
      const Ints x = bits_as<Ints>(a);
      const Ints y = bits_as<Ints>(b);
      const Ints equal = kMax ? x & y : x | y;
      const Ints chosen = (kMax ? a > b : a < b) ? x : y;
      const Ints ordered = (a == b) ? equal : chosen;
      // NOLINTNEXTLINE(misc-redundant-expression): a NaN is not equal to itself
      return bits_as<Vec<T, kCount>>((a == a) ? ordered : x);
    } else {
      return (kMax ? a > b : a < b) ? a : b;
    }
  }
};

}  // namespace
}  // namespace comity
