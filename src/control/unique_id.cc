#include "src/control/unique_id.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "src/base/bytes.h"

namespace comity::control {
namespace {

constexpr uint32_t kMagic = 0x59544d43;  // "CMTY"
constexpr uint8_t kVersion = 2;
constexpr size_t kCheckedBytes = sizeof(UniqueId) - sizeof(uint64_t);
constexpr size_t kAddressesBytes = kCheckedBytes - 4 - 1 - 1 - 1 - sizeof(Secret);

// SocketAddress's own encoding is family 2, port 2, scope 4, address 16, zero 4.
constexpr size_t kAddressOffset = 8;
constexpr uint8_t kWireIpv4 = 4;

size_t address_bytes_of(uint8_t family) {
  return family == kWireIpv4 ? 4 : 16;
}

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
  std::array<std::byte, 16> address{};
  for (size_t i = 0; i < address_bytes_of(family); ++i) address[i] = reader.get<std::byte>();
  ByteWriter full;
  full.put(uint16_t{family}).put(port).put(uint32_t{0}).put(address).put(uint32_t{0});
  return SocketAddress::decode(full.bytes().data(), full.bytes().size());
}

// Family, port and address; an interface's number means nothing on another host.
Bytes compact(const SocketAddress& address) {
  const Bytes full = address.encode();
  ByteWriter writer;
  writer.put(full[0]).put(address.port());
  const size_t length = address_bytes_of(static_cast<uint8_t>(full[0]));
  for (size_t i = 0; i < length; ++i) writer.put(full[kAddressOffset + i]);
  return writer.take();
}

}  // namespace

UniqueId encode_id(const IdContent& content) {
  Bytes addresses;
  uint8_t count = 0;
  uint64_t left_out = content.left_out;
  for (const SocketAddress& address : content.addresses) {
    const Bytes one = compact(address);
    if (addresses.size() + one.size() > kAddressesBytes) {
      ++left_out;
      continue;
    }
    addresses.insert(addresses.end(), one.begin(), one.end());
    ++count;
  }
  addresses.resize(kAddressesBytes);
  ByteWriter writer;
  writer.put(kMagic).put(kVersion).put(count).put(
      static_cast<uint8_t>(std::min<uint64_t>(left_out, UINT8_MAX)));
  writer.put(content.secret);
  for (const std::byte byte : addresses) writer.put(byte);
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
  if (version != kVersion) {
    return Status(
        Code::kInvalidArgument,
        fmt::format(
            "the unique id has version {}, this process knows {}: run the same release everywhere, unless "
            "the id was damaged on its way",
            version, kVersion));
  }
  const std::span<const std::byte> all(id);
  uint64_t checksum = 0;
  std::memcpy(&checksum, id.data() + kCheckedBytes, sizeof(checksum));
  if (checksum != checksum_of(all.first(kCheckedBytes))) return damaged("its checksum is wrong");
  IdContent content;
  content.left_out = reader.get<uint8_t>();
  content.secret = reader.get<Secret>();
  for (uint8_t i = 0; i < count; ++i) {
    const auto address = read_address(reader);
    if (!address.ok() || reader.left() < sizeof(checksum)) return damaged("an address in it is malformed");
    content.addresses.push_back(*address);
  }
  if (content.addresses.empty()) return damaged("it holds no address");
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
