// Which interfaces of two ranks are joined: a rail is a pair of addresses, one of each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/socket.h"

namespace comity::tcp {

inline constexpr uint32_t kMaxRails = 16;
inline constexpr uint32_t kMaxConnections = 16;  // per rail

// One interface of a rank: where it listens.
struct RailAddress {
  SocketAddress address;  // with the listener's port
  uint8_t prefix_bits = 0;
};

// What a rank tells the others.
struct RankAddress {
  uint64_t host = 0;         // equal on one machine and in one network namespace
  uint32_t connections = 1;  // per rail, 1..kMaxConnections
  std::vector<RailAddress> rails;
};

std::vector<std::byte> encode(const RankAddress& address);
// kInvalidArgument: not such an address, or a bound is broken.
Result<RankAddress> decode(std::span<const std::byte> bytes);

// Identifies this machine and network namespace.
uint64_t this_host();
// The length of the network prefix of one of this machine's addresses; of 0 bits (everything) if it is
// unknown.
uint8_t prefix_bits_of(const SocketAddress& address);

// Indexes into the rails of the lower and the higher rank.
struct RailPair {
  uint32_t lower = 0;
  uint32_t higher = 0;
};
// Pairs interfaces of one subnet, in order; if no two share one (routed networks), interfaces of one family
// by order. Loopback addresses join only within one machine. Both ranks compute the same. Empty: no way.
std::vector<RailPair> pair_rails(const RankAddress& lower, const RankAddress& higher);

}  // namespace comity::tcp
