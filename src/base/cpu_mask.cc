#include "src/base/cpu_mask.h"

#include <sched.h>

#include <bit>

namespace comity {

CpuMask usable_cpus() {
  CpuMask mask{};
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) {
    mask[0] = 1;
    return mask;
  }
  for (size_t cpu = 0; cpu < mask.size() * 64 && cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) mask[cpu / 64] |= uint64_t{1} << (cpu % 64);
  }
  return mask;
}

CpuMask first_cpus(uint32_t n) {
  CpuMask mask{};
  for (uint32_t cpu = 0; cpu < n && cpu < mask.size() * 64; ++cpu)
    mask[cpu / 64] |= uint64_t{1} << (cpu % 64);
  return mask;
}

uint32_t count(const CpuMask& cpus) {
  uint32_t total = 0;
  for (const uint64_t word : cpus) total += static_cast<uint32_t>(std::popcount(word));
  return total;
}

CpuMask join(const CpuMask& a, const CpuMask& b) {
  CpuMask both{};
  for (size_t i = 0; i < both.size(); ++i) both[i] = a[i] | b[i];
  return both;
}

}  // namespace comity
