// Which interfaces of two ranks are joined: a rail is a pair of addresses, one of each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "src/base/socket.h"

namespace comity::tcp {

inline constexpr uint32_t kMaxRails = 16;
inline constexpr uint32_t kMaxConnections = 16;  // per rail

// Where a rank listens: one address of an interface.
struct RailAddress {
  SocketAddress address;  // with the listener's port
  uint8_t prefix_bits = 0;
  uint8_t interface = 0;  // addresses of one interface have one number
};

// What a rank tells the others.
struct RankAddress {
  uint64_t host = 0;         // equal on one machine and in one network namespace
  uint32_t connections = 1;  // per rail, 1..kMaxConnections
  std::vector<RailAddress> rails;
};

bool is_link_local(const RailAddress& rail);

std::vector<std::byte> encode(const RankAddress& address);
// kInvalidArgument: not such an address, or a bound is broken.
Result<RankAddress> decode(std::span<const std::byte> bytes);

// "10.0.0.1:5000, [fd00::1]:5000", for errors.
std::string describe(const RankAddress& address);

// Indexes into the rails of the lower and the higher rank.
struct RailPair {
  uint32_t lower = 0;
  uint32_t higher = 0;
  bool link_local = false;  // which interfaces are on one cable is not known: each with each is tried
};
// Each interface is part of one rail at most. On one machine equal addresses pair, those of the loopback
// alone where both have one. Between machines: addresses of one subnet, in order; if no two share one (routed
// networks), addresses of one family by order; if there are none but link-local ones, one rail of those.
// Equal addresses of two machines lead nowhere. Both ranks compute the same. Empty: no way.
std::vector<RailPair> pair_rails(const RankAddress& lower, const RankAddress& higher);

inline constexpr uint64_t kNetworkLatencyNs = 15'000;  // until it is measured
// As Transport::rails() tells them.
std::vector<Rail> reported_rails(std::span<const NetworkInterface> interfaces);

}  // namespace comity::tcp
