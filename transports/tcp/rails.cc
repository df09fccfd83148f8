#include "transports/tcp/rails.h"

#include <fmt/core.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>

#include "src/base/bytes.h"
#include "src/base/handshake.h"
#include "src/base/this_host.h"

namespace comity::tcp {
namespace {

constexpr uint32_t kMagic = 0x31504354;  // "TCP1"
constexpr size_t kAddressBytes = 28;

// The address in network order: 4 or 16 bytes.
std::span<const std::byte> raw_of(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET) {
    return std::as_bytes(std::span(&reinterpret_cast<const sockaddr_in&>(storage).sin_addr, 1));
  }
  if (storage.ss_family == AF_INET6) {
    return std::as_bytes(std::span(&reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr, 1));
  }
  return {};
}

bool is_loopback(const SocketAddress& address) {
  const auto raw = raw_of(address.storage);
  if (raw.size() == 4) return raw[0] == std::byte{127};
  return raw.size() == 16 &&
         IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_addr);
}

bool same_bits(std::span<const std::byte> a, std::span<const std::byte> b, uint32_t bits) {
  const size_t whole = bits / 8;
  if (std::memcmp(a.data(), b.data(), whole) != 0) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<std::byte>(0xff00u >> (bits % 8));
  return (a[whole] & mask) == (b[whole] & mask);
}

bool same_family(const RailAddress& a, const RailAddress& b) {
  return a.address.family() == b.address.family();
}

bool same_subnet(const RailAddress& a, const RailAddress& b) {
  if (!same_family(a, b)) return false;
  const auto raw_a = raw_of(a.address.storage);
  const uint32_t bits =
      std::min<uint32_t>(std::max(a.prefix_bits, b.prefix_bits), static_cast<uint32_t>(raw_a.size() * 8));
  return bits > 0 && same_bits(raw_a, raw_of(b.address.storage), bits);
}

template <typename Joins>
std::vector<RailPair> pair_by(const RankAddress& lower, const RankAddress& higher, Joins joins) {
  std::vector<RailPair> pairs;
  std::vector<bool> used(higher.rails.size(), false);
  const bool one_host = lower.host == higher.host;
  for (uint32_t l = 0; l < lower.rails.size(); ++l) {
    for (uint32_t h = 0; h < higher.rails.size(); ++h) {
      const bool loops = is_loopback(lower.rails[l].address) || is_loopback(higher.rails[h].address);
      if (used[h] || (loops && !one_host) || !joins(lower.rails[l], higher.rails[h])) continue;
      used[h] = true;
      pairs.push_back({l, h});
      break;
    }
  }
  return pairs;
}

}  // namespace

std::vector<std::byte> encode(const RankAddress& address) {
  ByteWriter writer;
  writer.put(kMagic)
      .put(address.host)
      .put(address.connections)
      .put(static_cast<uint32_t>(address.rails.size()));
  for (const RailAddress& rail : address.rails) {
    for (const std::byte byte : rail.address.encode()) writer.put(byte);
    writer.put(rail.prefix_bits);
  }
  return writer.take();
}

Result<RankAddress> decode(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  RankAddress address;
  const auto magic = reader.get<uint32_t>();
  address.host = reader.get<uint64_t>();
  address.connections = reader.get<uint32_t>();
  const auto count = reader.get<uint32_t>();
  if (!reader.ok() || magic != kMagic || count == 0 || count > kMaxRails || address.connections == 0 ||
      address.connections > kMaxConnections) {
    return Status(Code::kInvalidArgument, "not an address of the tcp transport");
  }
  for (uint32_t i = 0; i < count; ++i) {
    const auto raw = reader.get<std::array<std::byte, kAddressBytes>>();
    const auto prefix_bits = reader.get<uint8_t>();
    if (!reader.ok()) return Status(Code::kInvalidArgument, "an address of the tcp transport is cut short");
    COMITY_ASSIGN_OR_RETURN(const SocketAddress decoded, SocketAddress::decode(raw.data(), raw.size()));
    address.rails.push_back({decoded, prefix_bits});
  }
  if (!reader.at_end()) return Status(Code::kInvalidArgument, "an address of the tcp transport is too long");
  return address;
}

uint64_t this_host() {
  ByteWriter writer;
  writer.put_text(boot_id()).put(network_namespace());
  const auto hash = hash_of(writer.bytes());
  uint64_t host = 0;
  std::memcpy(&host, hash.data(), sizeof(host));
  return host;
}

uint8_t prefix_bits_of(const SocketAddress& address) {
  ifaddrs* raw = nullptr;
  if (::getifaddrs(&raw) != 0) return 0;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> list(raw, &::freeifaddrs);
  const auto wanted = raw_of(address.storage);
  for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_netmask == nullptr) continue;
    if (entry->ifa_addr->sa_family != address.family()) continue;
    // getifaddrs allocates a sockaddr of the family's size, not a sockaddr_storage.
    const size_t offset =
        address.family() == AF_INET ? offsetof(sockaddr_in, sin_addr) : offsetof(sockaddr_in6, sin6_addr);
    const auto* here = reinterpret_cast<const std::byte*>(entry->ifa_addr) + offset;
    const auto* mask = reinterpret_cast<const std::byte*>(entry->ifa_netmask) + offset;
    int bits = 0;
    for (size_t i = 0; i < wanted.size(); ++i) bits += std::popcount(static_cast<unsigned>(mask[i]));
    if (same_bits(std::span(here, wanted.size()), wanted, static_cast<uint32_t>(bits))) {
      return static_cast<uint8_t>(bits);
    }
  }
  return 0;
}

std::vector<RailPair> pair_rails(const RankAddress& lower, const RankAddress& higher) {
  // Equal addresses first: two ranks of one machine with several interfaces in one subnet (127.0.0.1 and
  // 127.0.0.2).
  auto pairs = pair_by(lower, higher, [](const RailAddress& a, const RailAddress& b) {
    const auto raw = raw_of(a.address.storage);
    return same_family(a, b) &&
           same_bits(raw, raw_of(b.address.storage), static_cast<uint32_t>(raw.size() * 8));
  });
  if (pairs.size() == std::min(lower.rails.size(), higher.rails.size())) return pairs;
  pairs = pair_by(lower, higher, same_subnet);
  return pairs.empty() ? pair_by(lower, higher, same_family) : pairs;
}

}  // namespace comity::tcp
