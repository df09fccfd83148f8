#include "topology/discover/sysfs_pci.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iterator>

#include "topology/discover/sysfs.h"

namespace comity::topology {
namespace {

struct Vendor {
  uint32_t id;
  const char* name;
  bool accelerators;
};

// Source: the PCI ID Repository (pci-ids.ucw.cz). Accelerators that call themselves display controllers;
// Huawei's display controller is a management chip, its accelerators are of class 0x1200.
constexpr Vendor kVendors[] = {
    {0x1002, "amd", true},      {0x10de, "nvidia", true},     {0x8086, "intel", true},
    {0x1da3, "habana", true},   {0x19e5, "huawei", false},    {0xcabc, "cambricon", true},
    {0x1d94, "hygon", true},    {0x1ed5, "mthreads", true},   {0x1e36, "enflame", true},
    {0x1e3e, "iluvatar", true}, {0x1d22, "kunlun", true},     {0x1ee0, "biren", true},
    {0x9999, "metax", true},    {0x15b3, "mellanox", false},  {0x14e4, "broadcom", false},
    {0x1af4, "virtio", false},  {0x1d0f, "amazon", false},    {0x1077, "qlogic", false},
    {0x1425, "chelsio", false}, {0x1dd8, "pensando", false},  {0x177d, "cavium", false},
    {0x1ae0, "google", false},  {0x1414, "microsoft", false}, {0x17db, "cray", false},
};

const Vendor* vendor_of(uint32_t id) {
  const auto* found = std::find_if(std::begin(kVendors), std::end(kVendors),
                                   [&](const Vendor& each) { return each.id == id; });
  return found == std::end(kVendors) ? nullptr : found;
}

uint32_t number_or_zero(const std::string& path) {
  const auto value = read_number(path);
  return value && *value >= 0 ? static_cast<uint32_t>(*value) : 0;
}

PcieRate read_speed(const std::string& folder, const char* which) {
  PcieRate speed;
  speed.mega_transfers_per_s =
      parse_mega_transfers(read_text(fmt::format("{}/{}_link_speed", folder, which)));
  speed.width = number_or_zero(fmt::format("{}/{}_link_width", folder, which));
  // The register's field has 6 bits and at most x32; a port that is off reads all ones.
  if (speed.width > 32) speed.width = 0;
  return speed;
}

// What stands above it, from its folder's path: host bridge and bridges.
void read_place(const std::string& resolved, PciFunction& function) {
  for (const std::filesystem::path& part : std::filesystem::path(resolved)) {
    const std::string name = part.string();
    // A root complex behind a device (Intel VMD) starts a tree of its own.
    if (name.compare(0, 3, "pci") == 0 && name.find(':') != std::string::npos) {
      function.root = name;
      function.above.clear();
    } else if (is_bus_id(name) && name != function.bus_id) {
      function.above.push_back(name);
    }
  }
}

}  // namespace

uint64_t bytes_per_s(const PcieRate& speed) {
  if (!speed.known()) return 0;
  const uint64_t bits_per_s = uint64_t{speed.mega_transfers_per_s} * 1'000'000u * speed.width;
  if (speed.mega_transfers_per_s <= 5'000) return bits_per_s / 10;
  if (speed.mega_transfers_per_s <= 32'000) return bits_per_s / 130 * 128 / 8;
  return bits_per_s / 256 * 242 / 8;
}

uint32_t parse_mega_transfers(const std::string& text) {
  char* end = nullptr;
  const double giga = std::strtod(text.c_str(), &end);
  const bool good =
      end != text.c_str() && std::string_view(end).substr(0, 5) == " GT/s" && giga > 0 && giga < 1000;
  return good ? static_cast<uint32_t>(giga * 1000 + 0.5) : 0;
}

std::string to_text(const PcieRate& speed) {
  if (!speed.known()) return {};
  return fmt::format("{}.{} GT/s x{}", speed.mega_transfers_per_s / 1000,
                     speed.mega_transfers_per_s % 1000 / 100, speed.width);
}

std::vector<PciFunction> scan_pci(const std::string& sysfs) {
  std::vector<PciFunction> functions;
  const std::string folder = sysfs + "/bus/pci/devices";
  for (const std::string& name : list_folder(folder)) {
    if (!is_bus_id(name)) continue;
    const std::string path = folder + "/" + name;
    PciFunction function;
    function.bus_id = name;
    read_place(resolve(path), function);
    function.class_code = number_or_zero(path + "/class");
    function.vendor = number_or_zero(path + "/vendor");
    function.device = number_or_zero(path + "/device");
    function.now = read_speed(path, "current");
    function.most = read_speed(path, "max");
    function.numa = static_cast<int32_t>(read_number(path + "/numa_node").value_or(-1));
    function.physical_function = link_name(path + "/physfn");
    function.driver = link_name(path + "/driver");
    functions.push_back(std::move(function));
  }
  return functions;
}

bool is_pci_bridge(const PciFunction& function) {
  return function.class_code >> 8 == 0x0604;
}

bool is_nic(const PciFunction& function) {
  return function.class_code >> 16 == 0x02;
}

bool is_accelerator(const PciFunction& function) {
  const uint32_t code = function.class_code >> 8;
  if (code == 0x1200 || code == 0x0302) return true;
  if (code != 0x0300 && code != 0x0380 && code != 0x0b40) return false;
  const Vendor* vendor = vendor_of(function.vendor);
  const bool integrated = function.vendor == 0x8086 && function.above.empty();
  // Intel's co-processors (0x0b40) encrypt and compress.
  const bool computes = code != 0x0b40 || function.vendor != 0x8086;
  return vendor != nullptr && vendor->accelerators && !integrated && computes;
}

bool is_vendor_switch(const PciFunction& function) {
  return function.vendor == 0x10de && function.class_code >> 8 == 0x0680;
}

std::string vendor_name(uint32_t vendor) {
  const Vendor* known = vendor_of(vendor);
  return known != nullptr ? known->name : fmt::format("0x{:04x}", vendor);
}

}  // namespace comity::topology
