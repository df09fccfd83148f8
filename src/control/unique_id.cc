#include "src/control/unique_id.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "src/base/bytes.h"

namespace comity::control {
namespace {

constexpr uint32_t kMagic = 0x59544d43;  // "CMTY"
constexpr uint8_t kVersion = 1;
constexpr size_t kMaxAddresses = 4;
constexpr size_t kCheckedBytes = 4 + 1 + 1 + kMaxAddresses * (1 + 2 + 16) + sizeof(Secret);
static_assert(kCheckedBytes + 8 <= sizeof(UniqueId));

// SocketAddress's own encoding is family 2, port 2, scope 4, address 16, zero 4.
constexpr size_t kAddressOffset = 8;

uint64_t checksum_of(std::span<const std::byte> bytes) {
  const auto hash = hash_of(bytes);
  uint64_t checksum = 0;
  std::memcpy(&checksum, hash.data(), sizeof(checksum));
  return checksum;
}

Status damaged(const char* why) {
  return Status(
      Code::kInvalidArgument,
      fmt::format("the unique id is damaged ({}): pass all 128 bytes unchanged from the process that made it",
                  why));
}

Result<SocketAddress> read_address(ByteReader& reader) {
  const auto family = reader.get<uint8_t>();
  const auto port = reader.get<uint16_t>();
  const auto address = reader.get<std::array<std::byte, 16>>();
  ByteWriter full;
  full.put(uint16_t{family}).put(port).put(uint32_t{0}).put(address).put(uint32_t{0});
  return SocketAddress::decode(full.bytes().data(), full.bytes().size());
}

}  // namespace

UniqueId encode_id(const IdContent& content) {
  ByteWriter writer;
  const size_t count = std::min(content.addresses.size(), kMaxAddresses);
  writer.put(kMagic).put(kVersion).put(static_cast<uint8_t>(count));
  for (size_t i = 0; i < kMaxAddresses; ++i) {
    std::array<std::byte, 16> address{};
    Bytes full(28);
    if (i < count) full = content.addresses[i].encode();
    std::memcpy(address.data(), full.data() + kAddressOffset, address.size());
    writer.put(static_cast<uint8_t>(full[0]))
        .put(i < count ? content.addresses[i].port() : uint16_t{0})
        .put(address);
  }
  writer.put(content.secret);
  writer.put(checksum_of(writer.bytes()));
  UniqueId id{};
  std::copy(writer.bytes().begin(), writer.bytes().end(), id.begin());
  return id;
}

Result<IdContent> decode_id(const UniqueId& id) {
  ByteReader reader(id);
  if (reader.get<uint32_t>() != kMagic) return damaged("it does not begin as one");
  const auto version = reader.get<uint8_t>();
  const auto count = reader.get<uint8_t>();
  const std::span<const std::byte> all(id);
  uint64_t checksum = 0;
  std::memcpy(&checksum, id.data() + kCheckedBytes, sizeof(checksum));
  if (checksum != checksum_of(all.first(kCheckedBytes))) return damaged("its checksum is wrong");
  if (version != kVersion) {
    return Status(
        Code::kInvalidArgument,
        fmt::format("the unique id has version {}, this process knows {}: run the same release everywhere",
                    version, kVersion));
  }
  if (count == 0 || count > kMaxAddresses) return damaged("it holds no address");
  IdContent content;
  for (size_t i = 0; i < kMaxAddresses; ++i) {
    auto address = read_address(reader);
    if (i >= count) continue;
    if (!address.ok()) return damaged("an address in it is malformed");
    content.addresses.push_back(*address);
  }
  content.secret = reader.get<Secret>();
  return content;
}

uint64_t communicator_id_of(const Secret& secret) {
  const Secret derived = derive_secret(secret, "comity communicator id");
  uint64_t id = 0;
  std::memcpy(&id, derived.data(), sizeof(id));
  return id;
}

Secret data_secret_of(const Secret& secret) {
  return derive_secret(secret, "comity data");
}

}  // namespace comity::control
