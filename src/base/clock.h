// Time, as an interface so that simulation can own it, and the cheap wall of real time.
#pragma once

#include <cstdint>
#include <ctime>

namespace comity {

// Monotonic nanoseconds since an arbitrary start. About 20 ns a call; never blocks.
inline uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(t.tv_nsec);
}

// A source of time. Real code takes a Clock& where simulation must be able to drive it.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual uint64_t now_ns() const = 0;
};

class SystemClock final : public Clock {
 public:
  uint64_t now_ns() const override { return comity::now_ns(); }
};

inline const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

// A point in time after which waiting is given up, of real time or of a clock that must outlive it.
// Deadline::never() never passes.
class Deadline {
 public:
  static Deadline never() { return Deadline(UINT64_MAX); }
  static Deadline after_ms(uint64_t ms) { return Deadline(comity::now_ns() + ms * 1'000'000u); }
  static Deadline after_ms(uint64_t ms, const Clock& clock) {
    return Deadline(clock.now_ns() + ms * 1'000'000u, &clock);
  }
  bool passed() const { return at_ns_ != UINT64_MAX && now() >= at_ns_; }
  // Milliseconds left, at least 0 and at most `cap_ms`; for poll() and its kind.
  int left_ms(int cap_ms) const {
    if (at_ns_ == UINT64_MAX) return cap_ms;
    const uint64_t present = now();
    if (present >= at_ns_) return 0;
    const uint64_t left = (at_ns_ - present + 999'999u) / 1'000'000u;
    return left > static_cast<uint64_t>(cap_ms) ? cap_ms : static_cast<int>(left);
  }

 private:
  explicit Deadline(uint64_t at_ns, const Clock* clock = nullptr) : at_ns_(at_ns), clock_(clock) {}
  uint64_t now() const { return clock_ == nullptr ? comity::now_ns() : clock_->now_ns(); }
  uint64_t at_ns_;
  const Clock* clock_;  // null: real time
};

// One iteration of a spin loop: tells the core that this is one.
inline void cpu_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace comity
