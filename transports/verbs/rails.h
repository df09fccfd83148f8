// Rails of RDMA: which ports of two ranks are joined.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comity/plugin/result.h"

namespace comity::verbs {

inline constexpr size_t kMaxRails = 8;         // as many keys fit into a RemoteMemory
inline constexpr uint32_t kMaxQueuePairs = 8;  // per rail

enum class LinkLayer : uint8_t { kInfiniBand = 1, kRoce = 2 };
using Gid = std::array<std::byte, 16>;

// A port as peers need to know it.
struct RailAddress {
  LinkLayer layer = LinkLayer::kRoce;
  uint8_t mtu = 0;          // as ibv_mtu
  uint8_t prefix_bits = 0;  // of the GID's network
  uint8_t device = 0;       // the rank's number of the device, for keys
  uint16_t lid = 0;         // InfiniBand
  uint16_t reserved = 0;
  Gid gid{};
  uint64_t bandwidth_bytes_per_s = 0;
};

// What a rank tells the others.
struct RankAddress {
  uint64_t host = 0;         // equal on one machine
  uint32_t queue_pairs = 1;  // per rail
  std::vector<RailAddress> rails;
};

std::vector<std::byte> encode(const RankAddress& address);
// kInvalidArgument: not such an address, or a bound is broken.
Result<RankAddress> decode(std::span<const std::byte> bytes);
// "10.0.0.1" of a GID that holds an IPv4 address, else as IPv6 addresses are written.
std::string text_of(const Gid& gid);
// "RoCE 10.0.0.1, InfiniBand LID 7".
std::string describe(const RankAddress& address);

// Indexes into the rails of the lower and the higher rank.
struct RailPair {
  uint32_t lower = 0;
  uint32_t higher = 0;
};
// Each port is part of one rail at most, those of one network in order; equal ports only on one machine. Both
// ranks compute the same. Empty: no way.
std::vector<RailPair> pair_rails(const RankAddress& lower, const RankAddress& higher);

}  // namespace comity::verbs
