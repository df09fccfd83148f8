#include "transports/tcp/rails.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "src/base/bytes.h"
#include "src/base/handshake.h"
#include "src/base/interface_facts.h"

namespace comity::tcp {
namespace {

constexpr uint32_t kMagic = 0x32504354;  // "TCP2"
constexpr size_t kAddressBytes = 28;

bool same_family(const RailAddress& a, const RailAddress& b) {
  return a.address.family() == b.address.family();
}

bool is_equal(const RailAddress& a, const RailAddress& b) {
  const auto raw = raw_address(a.address.storage);
  return same_prefix(raw, raw_address(b.address.storage), static_cast<uint32_t>(raw.size() * 8));
}

bool same_subnet(const RailAddress& a, const RailAddress& b) {
  const uint32_t bits = std::max(a.prefix_bits, b.prefix_bits);
  return bits > 0 && same_prefix(raw_address(a.address.storage), raw_address(b.address.storage), bits);
}

bool has_scope(const RailAddress& rail, AddressScope scope) {
  return scope_of(rail.address) == scope;
}

bool uses(const RankAddress& address, const std::vector<uint32_t>& taken, const RailAddress& rail) {
  return std::any_of(taken.begin(), taken.end(),
                     [&](uint32_t index) { return address.rails[index].interface == rail.interface; });
}

template <typename Joins>
std::vector<RailPair> pair_by(const RankAddress& lower, const RankAddress& higher, Joins joins) {
  std::vector<RailPair> pairs;
  std::vector<uint32_t> taken_lower, taken_higher;
  for (uint32_t l = 0; l < lower.rails.size(); ++l) {
    for (uint32_t h = 0; h < higher.rails.size(); ++h) {
      const RailAddress &a = lower.rails[l], &b = higher.rails[h];
      if (uses(lower, taken_lower, a) || uses(higher, taken_higher, b) || !joins(a, b)) continue;
      taken_lower.push_back(l);
      taken_higher.push_back(h);
      pairs.push_back({l, h});
    }
  }
  return pairs;
}

std::vector<RailPair> pair_on_one_host(const RankAddress& lower, const RankAddress& higher) {
  const auto both_loop = [](const RailAddress& a, const RailAddress& b) {
    return has_scope(a, AddressScope::kHost) && has_scope(b, AddressScope::kHost);
  };
  // Addresses of the loopback interface are no interfaces of their own: 127.0.0.1 and 127.0.0.2 are two
  // rails.
  const auto pair_all_equal = [&](auto which) {
    std::vector<RailPair> pairs;
    for (uint32_t l = 0; l < lower.rails.size(); ++l) {
      for (uint32_t h = 0; h < higher.rails.size(); ++h) {
        if (is_equal(lower.rails[l], higher.rails[h]) && which(lower.rails[l], higher.rails[h]))
          pairs.push_back({l, h});
      }
    }
    return pairs;
  };
  auto pairs = pair_all_equal(both_loop);
  if (!pairs.empty()) return pairs;
  pairs = pair_by(lower, higher, is_equal);
  if (pairs.empty()) pairs = pair_by(lower, higher, same_subnet);
  return pairs.empty() ? pair_by(lower, higher, same_family) : pairs;
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
    writer.put(rail.prefix_bits).put(rail.interface);
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
    const auto interface = reader.get<uint8_t>();
    if (!reader.ok()) return Status(Code::kInvalidArgument, "an address of the tcp transport is cut short");
    COMITY_ASSIGN_OR_RETURN(const SocketAddress decoded, SocketAddress::decode(raw.data(), raw.size()));
    address.rails.push_back({decoded, prefix_bits, interface});
  }
  if (!reader.at_end()) return Status(Code::kInvalidArgument, "an address of the tcp transport is too long");
  return address;
}

bool is_link_local(const RailAddress& rail) {
  return has_scope(rail, AddressScope::kLinkLocal);
}

std::string describe(const RankAddress& address) {
  std::string text;
  for (const RailAddress& rail : address.rails) text += (text.empty() ? "" : ", ") + rail.address.text();
  return text;
}

std::vector<RailPair> pair_rails(const RankAddress& lower, const RankAddress& higher) {
  if (lower.host == higher.host) return pair_on_one_host(lower, higher);
  const auto among = [](AddressScope scope, auto joins) {
    return [scope, joins](const RailAddress& a, const RailAddress& b) {
      return has_scope(a, scope) && has_scope(b, scope) && !is_equal(a, b) && joins(a, b);
    };
  };
  auto pairs = pair_by(lower, higher, among(AddressScope::kGlobal, same_subnet));
  if (pairs.empty()) pairs = pair_by(lower, higher, among(AddressScope::kGlobal, same_family));
  if (!pairs.empty()) return pairs;
  pairs = pair_by(lower, higher, among(AddressScope::kLinkLocal, same_family));
  if (pairs.size() > 1) pairs.resize(1);
  for (RailPair& pair : pairs) pair.link_local = true;
  return pairs;
}

std::vector<Rail> reported_rails(std::span<const NetworkInterface> interfaces) {
  std::vector<Rail> rails;
  for (const NetworkInterface& each : interfaces)
    rails.push_back({each.name, {kNetworkLatencyNs, each.speed_bits_per_s / 8}});
  return rails;
}

}  // namespace comity::tcp
