// What ranks tell each other of their UCX workers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comity/plugin/result.h"

namespace comity::ucx {

struct RankAddress {
  uint32_t major = 0, minor = 0;  // of UCX
  bool fabric = false;            // it has a network that is more than Ethernet for sockets
  std::vector<std::byte> worker;  // UCX's own
};

std::vector<std::byte> encode(const RankAddress& address);
// kInvalidArgument: not such an address, or a bound is broken.
Result<RankAddress> decode(std::span<const std::byte> bytes);
// Whether this machine has a port of InfiniBand or RoCE that is up.
bool has_fabric();

}  // namespace comity::ucx
