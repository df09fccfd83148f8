// NUMA domains as sysfs tells them, and what a host is called.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace comity::topology {

struct NumaDomain {
  int32_t number = 0;
  std::string cpus;  // "0-15,32-47", empty: memory only
  uint64_t memory_bytes = 0;
  uint32_t cores = 0;  // 0: the kernel does not tell
  // Of its first CPU, without those of instructions alone: "L1d 48 KiB, L2 1 MiB, L3 32 MiB for 16 CPUs".
  std::string caches;
  std::vector<uint32_t> distances;  // to the domains online, ascending; 10 is local (ACPI's SLIT)
};

// Those that have CPUs or memory, ascending; empty where the kernel was built without NUMA.
std::vector<NumaDomain> scan_numa(const std::string& sysfs);

struct HostNames {
  std::string boot_id;   // of the kernel: new at each boot, equal in all of its containers
  std::string hostname;  // of this container
  std::string arch;      // "x86_64"
  // Of the first processor, as /proc/cpuinfo has them; empty where it does not.
  std::string cpu_vendor, cpu_model, cpu_family,
      cpu_model_number;  // "GenuineIntel", "... CPU @ 2.7GHz", "6", "143"
};
HostNames read_host_names(const std::string& procfs);

}  // namespace comity::topology
