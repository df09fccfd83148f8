// How much a randomized test does: more where all is asked for (COMITY_TEST_FULL), less where each step is
// instrumented.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace comity::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kInstrumented = true;
#elif defined(__has_feature)
inline constexpr bool kInstrumented = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool kInstrumented = false;
#endif

// TSan sees the threads of one process: what others do to it is for the other trees.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kThreadSanitized = true;
#elif defined(__has_feature)
inline constexpr bool kThreadSanitized = __has_feature(thread_sanitizer);
#else
inline constexpr bool kThreadSanitized = false;
#endif

inline bool full_effort() {
  return std::getenv("COMITY_TEST_FULL") != nullptr;
}

// Ten times the usual, the usual, or a quarter of it.
inline uint64_t effort(uint64_t usual) {
  if (full_effort()) return usual * 10;
  return kInstrumented ? std::max<uint64_t>(usual / 4, 1) : usual;
}

}  // namespace comity::test
