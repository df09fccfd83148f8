#include "topology/import/pci.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace comity::topology {

namespace {

struct Maker {
  uint16_t id;
  std::string_view name;
  bool accelerators;
};

// PCI ids as the public PCI ID database lists them.
constexpr Maker kMakers[] = {
    {0x10de, "nvidia", true},       {0x1002, "amd", true},           {0x8086, "intel", true},
    {0x1da3, "habana", true},       {0x19e5, "huawei", true},        {0x1d94, "hygon", true},
    {0xcabc, "cambricon", true},    {0x1d22, "kunlun", true},        {0x1e36, "enflame", true},
    {0x1ed5, "moorethreads", true}, {0x1ee0, "biren", true},         {0x1e3e, "iluvatar", true},
    {0x9999, "metax", true},        {0x1d0f, "amazon", true},        {0x1ae0, "google", true},
    {0x1e52, "tenstorrent", true},  {0x17cb, "qualcomm", true},      {0x15b3, "mellanox", false},
    {0x14e4, "broadcom", false},    {0x1000, "broadcom-lsi", false}, {0x10b5, "plx", false},
    {0x17db, "cray", false},        {0x1022, "amd-cpu", false},      {0x1077, "qlogic", false},
    {0x1425, "chelsio", false},     {0x1414, "microsoft", false},    {0x1af4, "virtio", false},
    {0x1dd8, "pensando", false},    {0x1924, "solarflare", false},   {0x1014, "ibm", false},
};

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// A field of `digits` to `most` hex digits at the front of `text`, taken from it.
bool take_hex(std::string_view& text, size_t least, size_t most, uint32_t& value) {
  size_t length = 0;
  while (length < text.size() && length < most && is_hex(text[length])) ++length;
  if (length < least) return false;
  std::from_chars(text.data(), text.data() + length, value, 16);
  text.remove_prefix(length);
  return true;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

// Of one lane, in millionths of the raw rate.
uint64_t efficiency_ppm(uint64_t mega_transfers_per_s) {
  if (mega_transfers_per_s <= 5000) return 800'000;
  if (mega_transfers_per_s <= 32000) return 984'615;  // 128/130
  return 945'312;                                     // 242/256
}

}  // namespace

std::optional<std::string> normal_bus_id(std::string_view text) {
  const auto colons = std::count(text.begin(), text.end(), ':');
  uint32_t domain = 0, bus = 0, device = 0, function = 0;
  if (colons == 2 && !(take_hex(text, 1, 8, domain) && take(text, ':'))) return std::nullopt;
  if (!take_hex(text, 1, 2, bus) || !take(text, ':') || !take_hex(text, 1, 2, device)) return std::nullopt;
  if (take(text, '.') && !take_hex(text, 1, 1, function)) return std::nullopt;
  if (!text.empty()) return std::nullopt;
  return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", domain, bus, device, function);
}

std::string default_pci_class(const Node& node) {
  const auto network = node.attributes.find("net.kind");
  switch (node.kind) {
    case NodeKind::kDevice:
      return node.vendor == "nvidia" ? "0x030200" : "0x120000";
    case NodeKind::kNic:
      return network != node.attributes.end() && network->second == "infiniband" ? "0x020700" : "0x020000";
    case NodeKind::kVendorSwitch:
      return "0x068000";
    default:
      return "0x060400";
  }
}

PciRole role_of_class(uint32_t class_code) {
  const uint32_t base = class_code >> 16, sub = (class_code >> 8) & 0xff;
  if (base == 0x06) return sub == 0x80 ? PciRole::kVendorSwitch : PciRole::kBridge;
  if (base == 0x02) return PciRole::kNic;
  if (base == 0x03 || base == 0x12 || (base == 0x0b && sub == 0x40)) return PciRole::kDevice;
  return PciRole::kOther;
}

bool makes_accelerators(uint16_t vendor) {
  return std::any_of(std::begin(kMakers), std::end(kMakers),
                     [&](const Maker& maker) { return maker.id == vendor && maker.accelerators; });
}

bool may_compute(uint32_t class_code, uint16_t vendor) {
  const uint32_t base = class_code >> 16, sub = (class_code >> 8) & 0xff;
  if (base == 0x00 || base > 0x13) return true;
  // Intel's chipsets are full of them.
  return base == 0x08 && sub == 0x80 && makes_accelerators(vendor) && vendor != vendor_id("intel");
}

std::string vendor_name(uint16_t vendor) {
  for (const Maker& maker : kMakers)
    if (maker.id == vendor) return std::string(maker.name);
  return fmt::format("0x{:04x}", vendor);
}

uint16_t vendor_id(std::string_view name) {
  for (const Maker& maker : kMakers)
    if (maker.name == name) return maker.id;
  uint32_t value = 0;
  if (name.substr(0, 2) != "0x") return 0;
  name.remove_prefix(2);
  return take_hex(name, 4, 4, value) && name.empty() ? static_cast<uint16_t>(value) : 0;
}

uint64_t pcie_bytes_per_s(uint64_t mega_transfers_per_s, uint32_t width) {
  if (mega_transfers_per_s > 1'000'000 || width > 64) return 0;
  return mega_transfers_per_s * width * efficiency_ppm(mega_transfers_per_s) / 8;
}

PcieSpeed pcie_speed_of(uint64_t bytes_per_s) {
  PcieSpeed best{16000, 16};
  double least = HUGE_VAL;
  if (bytes_per_s == 0) return best;
  // The widest of those as near: x16 of one generation is found before x8 of the next.
  for (const uint32_t width : {16U, 8U, 4U, 2U, 1U}) {
    for (const uint64_t speed : {2500U, 5000U, 8000U, 16000U, 32000U, 64000U}) {
      const double ratio =
          static_cast<double>(pcie_bytes_per_s(speed, width)) / static_cast<double>(bytes_per_s);
      const double distance = std::abs(std::log(ratio));
      if (distance + 0.002 < least) {
        least = distance;
        best = {speed, width};
      }
    }
  }
  return best;
}

uint64_t pcie_speed_from_text(std::string_view text) {
  uint64_t whole = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
  if (error != std::errc() || whole > 1000) return 0;
  std::string_view rest(end, static_cast<size_t>(text.data() + text.size() - end));
  uint64_t tenths = 0;
  if (take(rest, '.') && !rest.empty() && rest.front() >= '0' && rest.front() <= '9') {
    tenths = static_cast<uint64_t>(rest.front() - '0');
  }
  return text.find("GT/s") == std::string_view::npos ? 0 : whole * 1000 + tenths * 100;
}

std::string pcie_speed_text(uint64_t mega_transfers_per_s) {
  return fmt::format("{}.{} GT/s PCIe", mega_transfers_per_s / 1000, mega_transfers_per_s % 1000 / 100);
}

uint64_t nvlink_bytes_per_s(int sm) {
  if (sm >= 100) return 50'000'000'000;  // NVLink 5
  if (sm == 86) return 14'062'500'000;   // NVLink 3 of four sub-links: 112.5 GB/s both ways
  if (sm >= 70) return 25'000'000'000;   // NVLink 2, 3 and 4
  return sm >= 60 ? 20'000'000'000 : 0;  // NVLink 1
}

uint64_t xgmi_bytes_per_s(std::string_view gcn) {
  if (gcn.substr(0, 3) == "gfx") gcn.remove_prefix(3);
  if (gcn == "906" || gcn == "908") return 46'000'000'000;  // MI50, MI60, MI100: 92 GB/s a link both ways
  if (gcn == "90a" || gcn == "910") return 50'000'000'000;  // MI200: 100 GB/s a link both ways
  if (gcn.substr(0, 2) == "94") return 64'000'000'000;      // MI300
  if (gcn.substr(0, 2) == "95") return 76'800'000'000;      // MI350
  return 0;
}

uint64_t cpu_link_bytes_per_s(std::string_view arch, std::string_view cpu_vendor) {
  constexpr uint64_t kGiga = 1'000'000'000;
  if (arch.substr(0, 5) == "ppc64") return 32 * kGiga;
  if (arch == "arm64" || arch == "aarch64") return 6 * kGiga;
  if (cpu_vendor == "AuthenticAMD") return 16 * kGiga;
  if (cpu_vendor == "GenuineIntel") return 10 * kGiga;
  return 6 * kGiga;
}

}  // namespace comity::topology
