#include "transports/shm/address.h"

#include <fmt/core.h>

#include "src/base/bytes.h"
#include "src/base/file.h"
#include "src/base/settings.h"
#include "src/base/this_host.h"

namespace comity::shm {
namespace {

constexpr uint32_t kMagic = 0x6d687363;  // "cshm"
constexpr uint32_t kVersion = 2;

}  // namespace

std::vector<std::byte> encode(const Address& address) {
  ByteWriter writer;
  writer.put(kMagic)
      .put(kVersion)
      .put_text(address.host)
      .put(address.uid)
      .put(address.pid)
      .put(address.process);
  writer.put_text(address.socket_name).put(address.board_arena);
  writer.put(address.probe_address).put(address.probe_value).put(address.cpus);
  return writer.take();
}

Result<Address> decode(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  const auto magic = reader.get<uint32_t>();
  const auto version = reader.get<uint32_t>();
  if (magic != kMagic || version != kVersion) {
    return Status(Code::kRemoteError, fmt::format("shm: address of {} bytes has magic {:#x}, version {} "
                                                  "instead of {:#x}, {}; run the same version of "
                                                  "Comity on all ranks",
                                                  bytes.size(), magic, version, kMagic, kVersion));
  }
  Address address;
  address.host = reader.get_text();
  address.uid = reader.get<uint32_t>();
  address.pid = reader.get<uint32_t>();
  address.process = reader.get<uint64_t>();
  address.socket_name = reader.get_text();
  address.board_arena = reader.get<uint32_t>();
  address.probe_address = reader.get<uint64_t>();
  address.probe_value = reader.get<uint64_t>();
  address.cpus = reader.get<CpuMask>();
  if (!reader.at_end()) {
    return Status(Code::kRemoteError,
                  fmt::format("shm: address of {} bytes is cut short or has bytes left over", bytes.size()));
  }
  return address;
}

Result<std::string> this_host() {
  const std::string override_id = setting_text("COMITY_HOSTID");
  if (!override_id.empty()) return "id " + override_id;
  const std::string boot = boot_id();
  const uint64_t network = network_namespace();
  if (!boot.empty() && network != 0) return fmt::format("boot {} net {}", boot, network);
  const Result<std::string> again = read_file(kBootId);
  return Status(
      Code::kSystemError,
      fmt::format("shm: hosts are told apart by {} and /proc/self/ns/net: {}; set COMITY_HOSTID to a text "
                  "that is equal on the ranks of one host",
                  kBootId, again.ok() ? "they cannot be read" : again.status().message()));
}

}  // namespace comity::shm
