#include "perf/limits/memory_kernels.h"

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace comity::perf {
namespace {

// One vector of 16 bytes that may alias anything: what the portable loops move.
using Wide = uint64_t __attribute__((vector_size(16), may_alias));

void add_portable(std::byte* a, const std::byte* b, size_t bytes) {
  auto* to = reinterpret_cast<Wide*>(a);
  const auto* from = reinterpret_cast<const Wide*>(b);
  for (size_t i = 0; i < bytes / sizeof(Wide); ++i) to[i] += from[i];
}

void copy_portable(std::byte* a, const std::byte* b, size_t bytes) {
  auto* to = reinterpret_cast<Wide*>(a);
  const auto* from = reinterpret_cast<const Wide*>(b);
  for (size_t i = 0; i < bytes / sizeof(Wide); ++i) {
    to[i] = from[i];
    asm volatile("" ::: "memory");  // or the compiler calls memcpy
  }
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) void add_avx2(std::byte* a, const std::byte* b, size_t bytes) {
  auto* to = reinterpret_cast<__m256i*>(a);
  const auto* from = reinterpret_cast<const __m256i*>(b);
  for (size_t i = 0; i < bytes / 32; i += 2) {
    const __m256i low = _mm256_add_epi64(_mm256_load_si256(to + i), _mm256_load_si256(from + i));
    const __m256i high = _mm256_add_epi64(_mm256_load_si256(to + i + 1), _mm256_load_si256(from + i + 1));
    _mm256_store_si256(to + i, low);
    _mm256_store_si256(to + i + 1, high);
  }
}

__attribute__((target("avx2"))) void copy_avx2(std::byte* a, const std::byte* b, size_t bytes) {
  auto* to = reinterpret_cast<__m256i*>(a);
  const auto* from = reinterpret_cast<const __m256i*>(b);
  for (size_t i = 0; i < bytes / 32; i += 2) {
    const __m256i low = _mm256_load_si256(from + i);
    const __m256i high = _mm256_load_si256(from + i + 1);
    _mm256_store_si256(to + i, low);
    _mm256_store_si256(to + i + 1, high);
  }
}

__attribute__((target("avx2"))) void stream_avx2(std::byte* a, const std::byte* b, size_t bytes) {
  auto* to = reinterpret_cast<__m256i*>(a);
  const auto* from = reinterpret_cast<const __m256i*>(b);
  for (size_t i = 0; i < bytes / 32; i += 2) {
    const __m256i low = _mm256_load_si256(from + i);
    const __m256i high = _mm256_load_si256(from + i + 1);
    _mm256_stream_si256(to + i, low);
    _mm256_stream_si256(to + i + 1, high);
  }
  _mm_sfence();
}

bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2") != 0;
  return has;
}

#endif

}  // namespace

void add_into(std::byte* a, const std::byte* b, size_t bytes) {
#if defined(__x86_64__)
  if (has_avx2()) return add_avx2(a, b, bytes);
#endif
  add_portable(a, b, bytes);
}

void copy_past_caches(std::byte* a, const std::byte* b, size_t bytes) {
#if defined(__x86_64__)
  if (has_avx2()) return stream_avx2(a, b, bytes);
#endif
  copy_portable(a, b, bytes);
}

void copy_through_caches(std::byte* a, const std::byte* b, size_t bytes) {
#if defined(__x86_64__)
  if (has_avx2()) return copy_avx2(a, b, bytes);
#endif
  copy_portable(a, b, bytes);
}

}  // namespace comity::perf
