#include "transports/ucx/address.h"

#include <filesystem>
#include <string>
#include <system_error>

#include "src/base/bytes.h"
#include "src/base/file.h"

namespace comity::ucx {
namespace {

constexpr uint32_t kMagic = 0x31584355;  // "UCX1"
constexpr size_t kMostBytes = 4000;

}  // namespace

std::vector<std::byte> encode(const RankAddress& address) {
  ByteWriter writer;
  writer.put(kMagic).put(address.major).put(address.minor).put(static_cast<uint8_t>(address.fabric));
  writer.put_blob(address.worker);
  return writer.take();
}

Result<RankAddress> decode(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  RankAddress address;
  const auto magic = reader.get<uint32_t>();
  address.major = reader.get<uint32_t>();
  address.minor = reader.get<uint32_t>();
  address.fabric = reader.get<uint8_t>() == 1;
  const auto worker = reader.get_blob();
  if (magic != kMagic || !reader.at_end() || worker.empty() || worker.size() > kMostBytes)
    return Status(Code::kInvalidArgument, "not an address of a UCX worker");
  address.worker.assign(worker.begin(), worker.end());
  return address;
}

bool has_fabric() {
  namespace fs = std::filesystem;
  std::error_code error;
  for (const auto& device : fs::directory_iterator("/sys/class/infiniband", error)) {
    for (const auto& port : fs::directory_iterator(device.path() / "ports", error)) {
      if (first_line_of(port.path() / "state").find("ACTIVE") != std::string::npos) return true;
    }
  }
  return false;
}

}  // namespace comity::ucx
