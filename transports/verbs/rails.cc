#include "transports/verbs/rails.h"

#include <arpa/inet.h>
#include <fmt/core.h>

#include <algorithm>

#include "src/base/bytes.h"
#include "src/base/interface_facts.h"

namespace comity::verbs {
namespace {

constexpr uint32_t kMagic = 0x31425256;  // "VRB1"
constexpr uint8_t kMostMtu = 5;

bool is_ipv4(const Gid& gid) {
  const auto zero = [](std::byte byte) { return byte == std::byte{0}; };
  return std::all_of(gid.begin(), gid.begin() + 10, zero) && gid[10] == std::byte{0xff} &&
         gid[11] == std::byte{0xff};
}

bool joins(const RailAddress& one, const RailAddress& other, bool one_machine) {
  if (one.layer != other.layer) return false;
  if (one.layer == LinkLayer::kInfiniBand) return same_prefix(one.gid, other.gid, 64);
  if (one.gid == other.gid) return one_machine;
  const uint32_t bits = std::min(one.prefix_bits, other.prefix_bits);
  return bits != 0 && is_ipv4(one.gid) == is_ipv4(other.gid) && same_prefix(one.gid, other.gid, bits);
}

}  // namespace

std::vector<std::byte> encode(const RankAddress& address) {
  ByteWriter writer;
  writer.put(kMagic).put(address.host).put(address.queue_pairs);
  writer.put(static_cast<uint32_t>(address.rails.size()));
  for (const RailAddress& rail : address.rails) writer.put(rail);
  return writer.take();
}

Result<RankAddress> decode(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  RankAddress address;
  const auto magic = reader.get<uint32_t>();
  address.host = reader.get<uint64_t>();
  address.queue_pairs = reader.get<uint32_t>();
  const auto rails = reader.get<uint32_t>();
  bool right = magic == kMagic && address.queue_pairs >= 1 && address.queue_pairs <= kMaxQueuePairs &&
               rails >= 1 && rails <= kMaxRails;
  for (uint32_t i = 0; right && i < rails; ++i) {
    const auto rail = reader.get<RailAddress>();
    right = (rail.layer == LinkLayer::kInfiniBand || rail.layer == LinkLayer::kRoce) && rail.mtu >= 1 &&
            rail.mtu <= kMostMtu && rail.prefix_bits <= 128 && rail.device < kMaxRails;
    address.rails.push_back(rail);
  }
  if (!right || !reader.at_end()) return Status(Code::kInvalidArgument, "not an address of RDMA ports");
  return address;
}

std::string text_of(const Gid& gid) {
  char text[INET6_ADDRSTRLEN] = "";
  const bool ipv4 = is_ipv4(gid);
  ::inet_ntop(ipv4 ? AF_INET : AF_INET6, ipv4 ? gid.data() + 12 : gid.data(), text, sizeof(text));
  return text;
}

std::string describe(const RankAddress& address) {
  std::string text;
  for (const RailAddress& rail : address.rails) {
    text += text.empty() ? "" : ", ";
    text += rail.layer == LinkLayer::kRoce ? "RoCE " + text_of(rail.gid)
                                           : fmt::format("InfiniBand LID {}", rail.lid);
  }
  return text;
}

std::vector<RailPair> pair_rails(const RankAddress& lower, const RankAddress& higher) {
  std::vector<RailPair> pairs;
  std::vector<bool> used(higher.rails.size(), false);
  const bool one_machine = lower.host == higher.host;
  // On one machine a port and itself is the surest way.
  for (const bool same : {true, false}) {
    for (uint32_t i = 0; i < lower.rails.size(); ++i) {
      const bool taken =
          std::any_of(pairs.begin(), pairs.end(), [i](const RailPair& pair) { return pair.lower == i; });
      for (uint32_t j = 0; !taken && j < higher.rails.size(); ++j) {
        if (used[j] || (lower.rails[i].gid == higher.rails[j].gid) != same) continue;
        if (!joins(lower.rails[i], higher.rails[j], one_machine)) continue;
        pairs.push_back({i, j});
        used[j] = true;
        break;
      }
    }
  }
  return pairs;
}

}  // namespace comity::verbs
