// Which C++ types are elements, and which memory a call takes.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <ranges>
#include <type_traits>

#include "comity/comity.h"

namespace comity {
inline namespace hpp {

// Floats of 16 and 8 bits, by their bits: they carry a type to a call and have no arithmetic of their own.
struct float16 {
  std::uint16_t bits;
  bool operator==(const float16&) const = default;
};
struct bfloat16 {
  std::uint16_t bits;
  bool operator==(const bfloat16&) const = default;
};
struct float8_e4m3 {
  std::uint8_t bits;
  bool operator==(const float8_e4m3&) const = default;
};
struct float8_e5m2 {
  std::uint8_t bits;
  bool operator==(const float8_e5m2&) const = default;
};

namespace detail {
template <comityDataType_t type>
using Is = std::integral_constant<comityDataType_t, type>;
}  // namespace detail

// The comityDataType_t of T. Specialise it for a type of your own that has the bits of one of them:
//   template <>
//   struct comity::ElementType<Half> : std::integral_constant<comityDataType_t, comityFloat16> {};
template <typename T>
struct ElementType {};
template <>
struct ElementType<char> : detail::Is<comityChar> {};
template <>
struct ElementType<signed char> : detail::Is<comityInt8> {};
template <>
struct ElementType<unsigned char> : detail::Is<comityUint8> {};
template <>
struct ElementType<std::byte> : detail::Is<comityUint8> {};  // to be moved; no Number
template <>
struct ElementType<int> : detail::Is<comityInt32> {};
template <>
struct ElementType<unsigned> : detail::Is<comityUint32> {};
template <>
struct ElementType<long> : detail::Is<sizeof(long) == 8 ? comityInt64 : comityInt32> {};
template <>
struct ElementType<unsigned long> : detail::Is<sizeof(long) == 8 ? comityUint64 : comityUint32> {};
template <>
struct ElementType<long long> : detail::Is<comityInt64> {};
template <>
struct ElementType<unsigned long long> : detail::Is<comityUint64> {};
template <>
struct ElementType<float> : detail::Is<comityFloat32> {};
template <>
struct ElementType<double> : detail::Is<comityFloat64> {};
template <>
struct ElementType<float16> : detail::Is<comityFloat16> {};
template <>
struct ElementType<bfloat16> : detail::Is<comityBfloat16> {};
template <>
struct ElementType<float8_e4m3> : detail::Is<comityFloat8e4m3> {};
template <>
struct ElementType<float8_e5m2> : detail::Is<comityFloat8e5m2> {};

// What a call moves.
template <typename T>
concept Element = std::is_trivially_copyable_v<T> && requires {
  { ElementType<T>::value } -> std::convertible_to<comityDataType_t>;
};

// What a call reduces.
template <typename T>
concept Number = Element<T> && !std::same_as<T, std::byte>;

// Memory that a call reads: a std::span, std::vector, std::array, Buffer, Registration: whatever lies in one
// piece and knows its size. It must stay until the call is complete: mind a stream, and a Group's end.
template <typename R>
concept Source =
    std::ranges::contiguous_range<R> && std::ranges::sized_range<R> && Element<std::ranges::range_value_t<R>>;

// Memory that it writes.
template <typename R>
concept Target = Source<R> && !std::is_const_v<std::remove_reference_t<std::ranges::range_reference_t<R>>>;

// Both hold elements of one type.
template <typename S, typename R>
concept SameElements = std::same_as<std::ranges::range_value_t<S>, std::ranges::range_value_t<R>>;

// Its elements can be reduced.
template <typename R>
concept Reducible = Number<std::ranges::range_value_t<R>>;

namespace detail {

template <typename R>
inline constexpr comityDataType_t type_of = ElementType<std::ranges::range_value_t<R>>::value;

}  // namespace detail
}  // namespace hpp
}  // namespace comity
