// Sets of CPUs: whether the ranks of a host outnumber the cores that they may run on, however they are
// pinned.
#pragma once

#include <array>
#include <cstdint>

namespace comity {

// CPUs that a process may run on; CPUs beyond 1023 are left out.
using CpuMask = std::array<uint64_t, 16>;

// What sched_getaffinity says of the calling thread.
CpuMask usable_cpus();
// CPUs 0 .. n-1.
CpuMask first_cpus(uint32_t n);
uint32_t count(const CpuMask& cpus);
CpuMask join(const CpuMask& a, const CpuMask& b);

}  // namespace comity
