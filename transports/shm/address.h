// What a rank tells its peers so that they can reach it through shared memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/cpu_mask.h"

namespace comity::shm {

inline constexpr uint32_t kNoBoards = UINT32_MAX;  // of a rank that leaves it to another one to make them

struct Address {
  std::string host;         // equal on ranks of one host: boot id and network namespace, or COMITY_HOSTID
  uint32_t uid = 0;         // effective user; memory is shared within one user only
  uint32_t pid = 0;         // as its own PID namespace numbers it
  uint64_t process = 0;     // nonce of the process: equal on ranks that are its threads
  std::string socket_name;  // where its descriptors are asked for
  uint32_t board_arena =
      0;  // number of the region with boards that it made, or kNoBoards; 0: its system refuses it one
  uint64_t probe_address =
      0;  // of 8 bytes in its memory that hold probe_value, to try cross-memory attach on
  uint64_t probe_value = 0;
  CpuMask cpus{};
};

// At most a few hundred bytes, magic and version first.
std::vector<std::byte> encode(const Address& address);
// Looks at a stranger's bytes. kRemoteError names what is wrong with them. Reads nothing outside of them.
Result<Address> decode(std::span<const std::byte> bytes);

// This host as `host` above: COMITY_HOSTID if set, else boot id and network namespace. kSystemError if
// neither is readable.
Result<std::string> this_host();

}  // namespace comity::shm
