#include "topology/discover/sysfs_pci.h"

#include <fmt/core.h>

#include <filesystem>

#include "topology/discover/sysfs.h"
#include "topology/import/pci.h"

namespace comity::topology {
namespace {

uint32_t number_or_zero(const std::string& path) {
  const auto value = read_number(path);
  return value && *value >= 0 ? static_cast<uint32_t>(*value) : 0;
}

LinkSpeed read_speed(const std::string& folder, const char* which) {
  LinkSpeed speed;
  speed.mega_transfers_per_s =
      pcie_speed_from_text(read_text(fmt::format("{}/{}_link_speed", folder, which)));
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

uint64_t bytes_per_s(const LinkSpeed& speed) {
  return speed.known() ? pcie_bytes_per_s(speed.mega_transfers_per_s, speed.width) : 0;
}

std::string to_text(const LinkSpeed& speed) {
  if (!speed.known()) return {};
  return fmt::format("{}.{} GT/s x{}", speed.mega_transfers_per_s / 1000,
                     speed.mega_transfers_per_s % 1000 / 100, speed.width);
}

std::vector<PciFunction> scan_pci(const std::string& sysfs) {
  std::vector<PciFunction> functions;
  const std::string folder = sysfs + "/bus/pci/devices";
  for (const std::string& name : list_folder(folder)) {
    if (!is_bus_id(name)) continue;
    const std::string path = fmt::format("{}/{}", folder, name);
    PciFunction function;
    function.bus_id = name;
    read_place(resolve(path), function);
    function.class_code = number_or_zero(path + "/class");
    function.vendor = static_cast<uint16_t>(number_or_zero(path + "/vendor"));
    function.device = static_cast<uint16_t>(number_or_zero(path + "/device"));
    function.subsystem_vendor = static_cast<uint16_t>(number_or_zero(path + "/subsystem_vendor"));
    function.subsystem_device = static_cast<uint16_t>(number_or_zero(path + "/subsystem_device"));
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
  return role_of_class(function.class_code) == PciRole::kNic;
}

bool is_accelerator(const PciFunction& function) {
  const uint32_t code = function.class_code >> 8;
  if (code == 0x1200 || code == 0x0302) return true;
  if (role_of_class(function.class_code) != PciRole::kDevice || !makes_accelerators(function.vendor))
    return false;
  // Huawei's display controller is a management chip; Intel's co-processors encrypt and compress.
  const bool intel = function.vendor == vendor_id("intel");
  if (function.vendor == vendor_id("huawei") || (intel && code == 0x0b40)) return false;
  // Boards have AMD's ES1000 for their console; what computes has the driver amdgpu.
  const bool console = function.vendor == vendor_id("amd") && code == 0x0300 && function.driver != "amdgpu";
  return !console && !(intel && function.above.empty());
}

bool is_vendor_switch(const PciFunction& function) {
  return function.vendor == 0x10de && function.class_code >> 8 == 0x0680;
}

}  // namespace comity::topology
