// What tells hosts apart: the kernel's boot id (equal in all containers of one machine, new at each boot) and
// the network namespace.
#pragma once

#include <cstdint>
#include <string>

namespace comity {

inline constexpr const char* kBootId = "/proc/sys/kernel/random/boot_id";
// "" where it cannot be read. `procfs` is where /proc is mounted.
std::string boot_id(const std::string& procfs = "/proc");
// The inode of this process's network namespace, 0 where it cannot be told.
uint64_t network_namespace();
// Both, hashed: what identifies this machine and network namespace to other ranks.
uint64_t machine_hash();

}  // namespace comity
