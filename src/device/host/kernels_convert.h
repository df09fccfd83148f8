// Lanes of 8 and 16 bits to lanes of 32 and back: the compilers' own conversion of vectors goes element by
// element in too many cases, so these are written out. Included only by kernels_body.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace comity {
namespace {

template <typename T, int kLanes>
struct VectorOf {
  typedef T Type __attribute__((vector_size(sizeof(T) * kLanes)));
};
template <typename T, int kLanes>
using Vec = typename VectorOf<T, kLanes>::Type;

template <typename V>
inline V load(const std::byte* from) {
  V value;
  __builtin_memcpy(&value, from, sizeof(V));
  return value;
}

template <typename V>
inline void store(std::byte* to, V value) {
  __builtin_memcpy(to, &value, sizeof(V));
}

// The same bits as another type of equal size.
template <typename To, typename From>
inline To bits_as(From value) {
  static_assert(sizeof(To) == sizeof(From));
  return (To)value;  // NOLINT: the compiler's vectors are reinterpreted by this cast
}

#if defined(__x86_64__)

// Up to 16 bytes in the low part of a register, zeros above.
template <typename V>
inline __m128i low_part(V value) {
  if constexpr (sizeof(V) == 16) {
    return bits_as<__m128i>(value);
  } else {
    uint64_t word = 0;
    __builtin_memcpy(&word, &value, sizeof(V));
    return _mm_cvtsi64_si128(static_cast<long long>(word));
  }
}

template <typename V>
inline V from_low_part(__m128i value) {
  if constexpr (sizeof(V) == 16) {
    return bits_as<V>(value);
  } else {
    const uint64_t word = static_cast<uint64_t>(_mm_cvtsi128_si64(value));
    V part;
    __builtin_memcpy(&part, &word, sizeof(V));
    return part;
  }
}

// Four lanes at most, from the low bytes.
template <typename T>
inline __m128i widen_quad(__m128i raw) {
#if defined(__SSE4_1__)
  if constexpr (std::is_same_v<T, int8_t>) return _mm_cvtepi8_epi32(raw);
  if constexpr (std::is_same_v<T, uint8_t>) return _mm_cvtepu8_epi32(raw);
  return _mm_cvtepu16_epi32(raw);
#else
  const __m128i zero = _mm_setzero_si128();
  if constexpr (sizeof(T) == 2) return _mm_unpacklo_epi16(raw, zero);
  if constexpr (std::is_same_v<T, uint8_t>) return _mm_unpacklo_epi16(_mm_unpacklo_epi8(raw, zero), zero);
  return _mm_srai_epi32(_mm_unpacklo_epi16(zero, _mm_unpacklo_epi8(zero, raw)), 24);
#endif
}

template <size_t kTo>
inline __m128i narrow_quad(__m128i wide) {
#if defined(__SSE4_1__)
  if constexpr (kTo == 1) return _mm_shuffle_epi8(wide, _mm_setr_epi32(0x0c080400, -1, -1, -1));
  return _mm_shuffle_epi8(wide, _mm_setr_epi32(0x05040100, 0x0d0c0908, -1, -1));
#else
  if constexpr (kTo == 1) {
    const __m128i bytes = _mm_and_si128(wide, _mm_set1_epi32(0xff));
    const __m128i words = _mm_packs_epi32(bytes, bytes);
    return _mm_packus_epi16(words, words);
  }
  const __m128i extended = _mm_srai_epi32(_mm_slli_epi32(wide, 16), 16);  // so that packing does not saturate
  return _mm_packs_epi32(extended, extended);
#endif
}

#endif

// Each lane extended to 32 bits: with its sign where T has one.
template <typename T, int kCount>
inline Vec<int32_t, kCount> widen(Vec<T, kCount> raw) {
#if defined(__x86_64__)
#if defined(__AVX512F__)
  if constexpr (kCount == 16) {
    if constexpr (std::is_same_v<T, int8_t>)
      return bits_as<Vec<int32_t, 16>>(_mm512_cvtepi8_epi32(low_part(raw)));
    if constexpr (std::is_same_v<T, uint8_t>)
      return bits_as<Vec<int32_t, 16>>(_mm512_cvtepu8_epi32(low_part(raw)));
    if constexpr (sizeof(T) == 2)
      return bits_as<Vec<int32_t, 16>>(_mm512_cvtepu16_epi32(bits_as<__m256i>(raw)));
  }
#endif
#if defined(__AVX2__)
  if constexpr (kCount == 8) {
    if constexpr (std::is_same_v<T, int8_t>)
      return bits_as<Vec<int32_t, 8>>(_mm256_cvtepi8_epi32(low_part(raw)));
    if constexpr (std::is_same_v<T, uint8_t>)
      return bits_as<Vec<int32_t, 8>>(_mm256_cvtepu8_epi32(low_part(raw)));
    if constexpr (sizeof(T) == 2) return bits_as<Vec<int32_t, 8>>(_mm256_cvtepu16_epi32(low_part(raw)));
  }
#endif
  if constexpr (kCount <= 4) return from_low_part<Vec<int32_t, kCount>>(widen_quad<T>(low_part(raw)));
#endif
  return __builtin_convertvector(raw, Vec<int32_t, kCount>);
}

// The low bits of each lane.
template <typename T, int kCount>
inline Vec<T, kCount> narrow(Vec<int32_t, kCount> wide) {
#if defined(__x86_64__)
#if defined(__AVX512F__)
  if constexpr (kCount == 16) {
    const auto all = bits_as<__m512i>(wide);
    if constexpr (sizeof(T) == 1) return bits_as<Vec<T, 16>>(_mm512_cvtepi32_epi8(all));
    if constexpr (sizeof(T) == 2) return bits_as<Vec<T, 16>>(_mm512_cvtepi32_epi16(all));
  }
#endif
#if defined(__AVX2__)
  if constexpr (kCount == 8) {  // each half's result in the half's low bytes, then the halves side by side
    const auto all = bits_as<__m256i>(wide);
    const __m128i low = narrow_quad<sizeof(T)>(_mm256_castsi256_si128(all));
    const __m128i high = narrow_quad<sizeof(T)>(_mm256_extracti128_si256(all, 1));
    if constexpr (sizeof(T) == 1) return from_low_part<Vec<T, 8>>(_mm_unpacklo_epi32(low, high));
    return from_low_part<Vec<T, kCount>>(_mm_unpacklo_epi64(low, high));
  }
#endif
  if constexpr (kCount <= 4) return from_low_part<Vec<T, kCount>>(narrow_quad<sizeof(T)>(low_part(wide)));
#endif
  return __builtin_convertvector(wide, Vec<T, kCount>);
}

// fp16 by the machine's own conversion: exact, to nearest even, subnormals kept, NaN stays NaN. Only where
// kHasHalf.
#if defined(__F16C__)
inline constexpr bool kHasHalf = true;
#else
inline constexpr bool kHasHalf = false;
#endif

template <int kCount>
inline Vec<float, kCount> from_half([[maybe_unused]] Vec<uint16_t, kCount> raw) {
#if defined(__F16C__)
#if defined(__AVX512F__)
  if constexpr (kCount == 16) return bits_as<Vec<float, 16>>(_mm512_cvtph_ps(bits_as<__m256i>(raw)));
#endif
  if constexpr (kCount == 8) return bits_as<Vec<float, 8>>(_mm256_cvtph_ps(low_part(raw)));
  if constexpr (kCount <= 4) {
    return from_low_part<Vec<float, kCount>>(_mm_castps_si128(_mm_cvtph_ps(low_part(raw))));
  }
#endif
  return Vec<float, kCount>{};
}

template <int kCount>
inline Vec<uint16_t, kCount> to_half([[maybe_unused]] Vec<float, kCount> wide) {
#if defined(__F16C__)
#if defined(__AVX512F__)
  if constexpr (kCount == 16) {
    return bits_as<Vec<uint16_t, 16>>(_mm512_cvtps_ph(bits_as<__m512>(wide), _MM_FROUND_TO_NEAREST_INT));
  }
#endif
  if constexpr (kCount == 8) {
    return from_low_part<Vec<uint16_t, 8>>(_mm256_cvtps_ph(bits_as<__m256>(wide), _MM_FROUND_TO_NEAREST_INT));
  }
  if constexpr (kCount <= 4) {
    const __m128 quad = _mm_castsi128_ps(low_part(wide));
    return from_low_part<Vec<uint16_t, kCount>>(_mm_cvtps_ph(quad, _MM_FROUND_TO_NEAREST_INT));
  }
#endif
  return Vec<uint16_t, kCount>{};
}

}  // namespace
}  // namespace comity
