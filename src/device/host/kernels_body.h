// The loops of the host's kernels, compiled once per instruction set.
//
// A file includes this after defining COMITY_KERNEL_TABLE (the table's name) and COMITY_KERNEL_VECTOR_BYTES.
// All is in an unnamed namespace but the table (kernels_table.h says why). A reduction runs in blocks of four
// vectors, then single vectors, then halves of a vector down to one element: so every element goes through
// the same code, and eight bytes cost one pass.
#pragma once
// NOLINTBEGIN(misc-definitions-in-headers): included once per table

#include <cstddef>
#include <cstdint>

#include "src/device/host/kernels_table.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace comity {
namespace {
inline constexpr size_t kVectorBytes = COMITY_KERNEL_VECTOR_BYTES;
}  // namespace
}  // namespace comity

#include "src/device/host/kernels_formats.h"

#if defined(__clang__)
#define COMITY_UNROLL _Pragma("unroll")
#else
#define COMITY_UNROLL _Pragma("GCC unroll 16")
#endif

namespace comity {
namespace {

// ---- Non-temporal stores.

// `to` is aligned to the vector's size.
template <typename V>
inline void stream(std::byte* to, V value) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to), bits_as<__m512i>(value));
    return;
  }
#endif
#if defined(__AVX__)
  if constexpr (sizeof(V) == 32) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), bits_as<__m256i>(value));
    return;
  }
#endif
#if defined(__SSE2__)
  if constexpr (sizeof(V) == 16) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(to), bits_as<__m128i>(value));
    return;
  } else if constexpr (sizeof(V) == 8) {
    long long word;
    __builtin_memcpy(&word, &value, 8);
    _mm_stream_si64(reinterpret_cast<long long*>(to), word);
    return;
  } else if constexpr (sizeof(V) == 4) {
    int word;
    __builtin_memcpy(&word, &value, 4);
    _mm_stream_si32(reinterpret_cast<int*>(to), word);
    return;
  }
#endif
  store(to, value);
}

inline void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// ---- The floating-point environment.

#if defined(__SSE2__)
// Whether this thread rounds to nearest even and keeps subnormals, by trying it: reading MXCSR takes five
// times as long as this whole reduction of eight bytes. The first two lanes are ties that each other mode
// rounds differently.
inline bool floats_are_plain() {
  __m128 left = _mm_castsi128_ps(_mm_setr_epi32(0x3f800000, 0x3f800001, 1, 1));
  const __m128 right = _mm_castsi128_ps(_mm_setr_epi32(0x33800000, 0x33800000, 1, 1));
  asm volatile("" : "+x"(left));
  const __m128i expected = _mm_setr_epi32(0x3f800000, 0x3f800002, 2, 2);
  const __m128i equal = _mm_cmpeq_epi32(_mm_castps_si128(_mm_add_ps(left, right)), expected);
  return _mm_movemask_epi8(equal) == 0xffff;
}
#endif

// Runs `kernel` under the default environment whatever a library built with -ffast-math left in this thread:
// the bits of a result may not depend on it.
__attribute__((noinline)) void run_with_plain_floats([[maybe_unused]] ReduceKernel kernel,
                                                     [[maybe_unused]] const KernelWork& work) {
#if defined(__SSE2__)
  const unsigned found = _mm_getcsr();
  _mm_setcsr(0x1f80);
  kernel(work);
  _mm_setcsr(found);
#endif
}

// The default environment for as long as it lives.
class PlainFloats {
 public:
#if defined(__SSE2__)
  PlainFloats() : found_(floats_are_plain() ? 0 : _mm_getcsr()) {
    if (__builtin_expect(found_ != 0, 0)) _mm_setcsr(0x1f80);
  }
  ~PlainFloats() {
    if (__builtin_expect(found_ != 0, 0)) _mm_setcsr(found_);
  }

 private:
  unsigned found_;  // 0: it was plain
#else
  PlainFloats() {}
  ~PlainFloats() {}
#endif
 public:
  PlainFloats(const PlainFloats&) = delete;
  PlainFloats& operator=(const PlainFloats&) = delete;
};

// ---- Blocks.

// kVectors vectors of kCount elements from byte `at` of each source; kSources 0: as many as the work has.
template <typename Format, typename Op, int kCount, int kVectors, int kSources, int kDestinations,
          bool kStream, bool kDivide>
__attribute__((always_inline)) inline void block(const KernelWork& work, const std::byte* const* sources,
                                                 std::byte* const* destinations, size_t at) {
  using Raw = Vec<typename Format::Raw, kCount>;
  using Acc = typename Format::Acc;
  Vec<Acc, kCount> acc[kVectors];
  COMITY_UNROLL for (int v = 0; v < kVectors; ++v) {
    acc[v] = Format::template decode<kCount>(load<Raw>(sources[0] + at + v * sizeof(Raw)));
  }
  const size_t source_count = kSources != 0 ? kSources : work.source_count;
  for (size_t s = 1; s < source_count; ++s) {
    const std::byte* source = sources[s] + at;
    COMITY_UNROLL for (int v = 0; v < kVectors; ++v) {
      const auto next = Format::template decode<kCount>(load<Raw>(source + v * sizeof(Raw)));
      acc[v] = Op::template apply<Acc, kCount>(acc[v], next);
    }
  }
  if constexpr (kDivide) {
    for (int v = 0; v < kVectors; ++v) acc[v] = Format::template divide<kCount>(acc[v], work.divisor);
  }
  Raw out[kVectors];
  COMITY_UNROLL for (int v = 0; v < kVectors; ++v) out[v] = Format::template encode<kCount>(acc[v]);
  const size_t destination_count = kDestinations != 0 ? kDestinations : work.destination_count;
  for (size_t d = 0; d < destination_count; ++d) {
    std::byte* destination = destinations[d] + at;
    COMITY_UNROLL for (int v = 0; v < kVectors; ++v) {
      if constexpr (kStream) {
        stream(destination + v * sizeof(Raw), out[v]);
      } else {
        store(destination + v * sizeof(Raw), out[v]);
      }
    }
  }
}

inline constexpr int kBlockVectors = 4;

// Blocks of whole vectors from element `from`; returns the first element not done. Few pointers are kept in
// registers.
template <typename Format, typename Op, int kSources, int kDestinations, bool kStream, bool kDivide>
size_t blocks(const KernelWork& work, size_t from) {
  constexpr size_t kElement = sizeof(typename Format::Raw);
  constexpr size_t kStep = kBlockVectors * Format::kLanes;
  const std::byte* near_sources[kSources != 0 ? kSources : 1];
  std::byte* near_destinations[kDestinations != 0 ? kDestinations : 1];
  for (int s = 0; s < kSources; ++s) near_sources[s] = work.sources[s];
  for (int d = 0; d < kDestinations; ++d) near_destinations[d] = work.destinations[d];
  const std::byte* const* sources = kSources != 0 ? near_sources : work.sources;
  std::byte* const* destinations = kDestinations != 0 ? near_destinations : work.destinations;
  size_t i = from;
  for (; i + kStep <= work.count; i += kStep) {
    block<Format, Op, Format::kLanes, kBlockVectors, kSources, kDestinations, kStream, kDivide>(
        work, sources, destinations, i * kElement);
  }
  return i;
}

// Elements [from, end) by vectors, then by halves of one.
template <typename Format, typename Op, bool kDivide, int kCount>
__attribute__((always_inline)) inline void rest_by_halves(const KernelWork& work, size_t from, size_t end) {
  while (end - from >= kCount) {
    block<Format, Op, kCount, 1, 0, 0, false, kDivide>(work, work.sources, work.destinations,
                                                       from * sizeof(typename Format::Raw));
    from += kCount;
    if (kCount < Format::kLanes) break;
  }
  if constexpr (kCount > 1) rest_by_halves<Format, Op, kDivide, kCount / 2>(work, from, end);
}

template <typename Format, typename Op>
void rest(const KernelWork& work, size_t from, size_t end) {
  if (from == end) return;
  if (__builtin_expect(work.divisor == 0, 1)) {
    return rest_by_halves<Format, Op, false, Format::kLanes>(work, from, end);
  }
  rest_by_halves<Format, Op, true, Format::kLanes>(work, from, end);
}

// Elements before the destinations are aligned to what one vector stores; `count` or more where they never
// are all together.
template <typename Format>
size_t head_elements(const KernelWork& work) {
  constexpr size_t kElement = sizeof(typename Format::Raw);
  constexpr size_t kStored = Format::kLanes * kElement;
  const size_t misaligned = reinterpret_cast<uintptr_t>(work.destinations[0]) % kStored;
  for (size_t d = 1; d < work.destination_count; ++d) {
    if (reinterpret_cast<uintptr_t>(work.destinations[d]) % kStored != misaligned) return work.count;
  }
  if (misaligned % kElement != 0) return work.count;
  return misaligned == 0 ? 0 : (kStored - misaligned) / kElement;
}

// Divisors come with sums; other operations that are divided go one vector at a time.
template <typename Op>
inline constexpr bool kDividesInBlocks = std::is_same_v<Op, Sum>;

template <typename Format, typename Op>
size_t blocks_streaming(const KernelWork& work) {
  const size_t head = head_elements<Format>(work);
  if (head >= work.count) return blocks<Format, Op, 0, 0, false, false>(work, 0);
  rest<Format, Op>(work, 0, head);
  const size_t done = blocks<Format, Op, 0, 0, true, false>(work, head);
  stream_fence();
  return done;
}

// The same two with a divisor.
template <typename Format, typename Op>
size_t blocks_dividing(const KernelWork& work) {
  if constexpr (!kDividesInBlocks<Op>) {
    return 0;
  } else {
    const size_t head = work.stream ? head_elements<Format>(work) : work.count;
    if (head >= work.count) return blocks<Format, Op, 0, 0, false, true>(work, 0);
    rest<Format, Op>(work, 0, head);
    const size_t done = blocks<Format, Op, 0, 0, true, true>(work, head);
    stream_fence();
    return done;
  }
}

template <typename Format, typename Op>
size_t blocks_by_shape(const KernelWork& work) {
  if (work.divisor != 0) return blocks_dividing<Format, Op>(work);
  if (work.stream) return blocks_streaming<Format, Op>(work);
  if (work.source_count == 2 && work.destination_count == 1)
    return blocks<Format, Op, 2, 1, false, false>(work, 0);
  if (work.source_count == 2 && work.destination_count == 2)
    return blocks<Format, Op, 2, 2, false, false>(work, 0);
  return blocks<Format, Op, 0, 0, false, false>(work, 0);
}

template <typename Format, typename Op>
void reduce_any(const KernelWork& work) {
  size_t done = 0;
  if (work.count >= kBlockVectors * Format::kLanes) done = blocks_by_shape<Format, Op>(work);
  rest<Format, Op>(work, done, work.count);
}

template <typename Format, typename Op>
void reduce(const KernelWork& work) {
#if defined(__SSE2__)
  if constexpr (Format::kFloat) {
    if (__builtin_expect(!floats_are_plain(), 0)) return run_with_plain_floats(reduce_any<Format, Op>, work);
  }
#endif
  reduce_any<Format, Op>(work);
}

// ---- Conversions, as the reductions do them: whole vectors, then by halves.

template <typename Format, int kCount>
inline size_t decode_some(const std::byte* narrow, float* wide, size_t from, size_t count) {
  using Raw = Vec<typename Format::Raw, kCount>;
  for (; from + kCount <= count; from += kCount) {
    const auto raw = load<Raw>(narrow + from * sizeof(typename Format::Raw));
    store(reinterpret_cast<std::byte*>(wide + from), Format::template decode<kCount>(raw));
  }
  if constexpr (kCount > 1) return decode_some<Format, kCount / 2>(narrow, wide, from, count);
  return from;
}

template <typename Format>
void decode_floats(const std::byte* narrow, float* wide, size_t count) {
  const PlainFloats plain;
  decode_some<Format, Format::kLanes>(narrow, wide, 0, count);
}

template <typename Format, int kCount>
inline size_t encode_some(const float* wide, std::byte* narrow, size_t from, size_t count) {
  for (; from + kCount <= count; from += kCount) {
    const auto values = load<Vec<float, kCount>>(reinterpret_cast<const std::byte*>(wide + from));
    store(narrow + from * sizeof(typename Format::Raw), Format::template encode<kCount>(values));
  }
  if constexpr (kCount > 1) return encode_some<Format, kCount / 2>(wide, narrow, from, count);
  return from;
}

template <typename Format>
void encode_floats(const float* wide, std::byte* narrow, size_t count) {
  const PlainFloats plain;
  encode_some<Format, Format::kLanes>(wide, narrow, 0, count);
}

// ---- Copies.

void copy_stream(std::byte* destination, const std::byte* source, size_t bytes) {
  using Line = Vec<uint64_t, kVectorBytes / 8>;
  const size_t misaligned = reinterpret_cast<uintptr_t>(destination) % kVectorBytes;
  size_t head = misaligned == 0 ? 0 : kVectorBytes - misaligned;
  if (head > bytes) head = bytes;
  __builtin_memcpy(destination, source, head);
  size_t at = head;
  for (; at + 4 * kVectorBytes <= bytes; at += 4 * kVectorBytes) {
    Line lines[4];
    COMITY_UNROLL for (int v = 0; v < 4; ++v) lines[v] = load<Line>(source + at + v * kVectorBytes);
    COMITY_UNROLL for (int v = 0; v < 4; ++v) stream(destination + at + v * kVectorBytes, lines[v]);
  }
  __builtin_memcpy(destination + at, source + at, bytes - at);
  stream_fence();
}

// ---- The table, in the order of DataType and RedOp (sum, prod, max, min, avg: a sum and a divisor).

#define COMITY_KERNEL_ROW(Format)                                             \
  {                                                                           \
    reduce<Format, Sum>, reduce<Format, Prod>, reduce<Format, Extreme<true>>, \
        reduce<Format, Extreme<false>>, reduce<Format, Sum>                   \
  }

using Float16 = NarrowFloat<Float16Layout>;
using Bfloat16 = NarrowFloat<Bfloat16Layout>;
using Float8e4m3 = NarrowFloat<Float8e4m3Layout>;
using Float8e5m2 = NarrowFloat<Float8e5m2Layout>;

#define COMITY_KERNEL_CONVERSIONS(function)                                                    \
  {                                                                                            \
    nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, function<Float16>, nullptr, nullptr, \
        function<Bfloat16>, function<Float8e4m3>, function<Float8e5m2>                         \
  }

}  // namespace

extern const KernelTable COMITY_KERNEL_TABLE;
const KernelTable COMITY_KERNEL_TABLE = {
    {COMITY_KERNEL_ROW(IntFormat<int8_t>), COMITY_KERNEL_ROW(IntFormat<uint8_t>),
     COMITY_KERNEL_ROW(IntFormat<int32_t>), COMITY_KERNEL_ROW(IntFormat<uint32_t>),
     COMITY_KERNEL_ROW(IntFormat<int64_t>), COMITY_KERNEL_ROW(IntFormat<uint64_t>),
     COMITY_KERNEL_ROW(Float16), COMITY_KERNEL_ROW(WideFloat<float>), COMITY_KERNEL_ROW(WideFloat<double>),
     COMITY_KERNEL_ROW(Bfloat16), COMITY_KERNEL_ROW(Float8e4m3), COMITY_KERNEL_ROW(Float8e5m2)},
    COMITY_KERNEL_CONVERSIONS(decode_floats),
    COMITY_KERNEL_CONVERSIONS(encode_floats),
    copy_stream};

}  // namespace comity
// NOLINTEND(misc-definitions-in-headers)
