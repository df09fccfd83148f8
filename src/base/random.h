// Randomness, as an interface so that simulation can seed it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace comity {

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(void* to, size_t bytes) = 0;
  uint64_t random_u64() {
    uint64_t value = 0;
    fill(&value, sizeof(value));
    return value;
  }
};

// That of the system, as random_bytes() has it. Any thread.
Random& system_random();

}  // namespace comity
