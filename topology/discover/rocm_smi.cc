// ROCm SMI: names of AMD's devices and which pairs xGMI joins. Functions and units as its header documents
// them.
#include <fmt/core.h>

#include <array>

#include "topology/discover/library.h"
#include "topology/discover/vendor.h"

namespace comity::topology {
namespace {

constexpr uint32_t kGood = 0;
constexpr int kTypeXgmi = 2;
// What the driver answers where it does not know, in MB/s.
constexpr uint64_t kPlaceholder = 100'000;

struct RocmSmi {
  uint32_t (*init)(uint64_t) = nullptr;
  uint32_t (*shut_down)() = nullptr;
  uint32_t (*status_string)(uint32_t, const char**) = nullptr;
  uint32_t (*count)(uint32_t*) = nullptr;
  uint32_t (*pci_id)(uint32_t, uint64_t*) = nullptr;
  uint32_t (*name)(uint32_t, char*, size_t) = nullptr;
  uint32_t (*link_type)(uint32_t, uint32_t, uint64_t*, int*) = nullptr;
  uint32_t (*link_weight)(uint32_t, uint32_t, uint64_t*) = nullptr;
  uint32_t (*min_max_bandwidth)(uint32_t, uint32_t, uint64_t*, uint64_t*) = nullptr;  // since ROCm 5.0
};

Result<RocmSmi> load(const std::string& file) {
  COMITY_ASSIGN_OR_RETURN(
      Library library, Library::open(file, {"librocm_smi64.so.1", "librocm_smi64.so.7", "librocm_smi64.so.6",
                                            "librocm_smi64.so.5", "librocm_smi64.so"}));
  RocmSmi smi;
  library.required("rsmi_init", smi.init)
      .required("rsmi_shut_down", smi.shut_down)
      .required("rsmi_status_string", smi.status_string)
      .required("rsmi_num_monitor_devices", smi.count)
      .required("rsmi_dev_pci_id_get", smi.pci_id)
      .required("rsmi_dev_name_get", smi.name)
      .required("rsmi_topo_get_link_type", smi.link_type);
  library.optional("rsmi_topo_get_link_weight", smi.link_weight);
  library.optional("rsmi_minmax_bandwidth_get", smi.min_max_bandwidth);
  COMITY_RETURN_IF_ERROR(library.complete());
  return smi;
}

std::string words(const RocmSmi& smi, uint32_t status) {
  const char* text = nullptr;
  return smi.status_string(status, &text) == kGood && text != nullptr ? text
                                                                      : fmt::format("status {}", status);
}

// Domain, bus, device and function; later drivers keep a partition's number in bits 28 to 31.
std::string bus_id_of(uint64_t id) {
  return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", id >> 32, id >> 8 & 0xff, id >> 3 & 0x1f, id & 7);
}

// One way and per link, by AMD's data sheets; 0: not known by name.
uint64_t data_sheet(const std::string& name) {
  if (name.find("MI300X") != std::string::npos || name.find("MI325X") != std::string::npos)
    return 64'000'000'000;
  if (name.find("MI355X") != std::string::npos || name.find("MI350X") != std::string::npos)
    return 76'800'000'000;
  return 0;
}

// Several links join the two dies of one package: the driver gives one's figure as the least and their sum as
// the most.
void price(const RocmSmi& smi, uint32_t from, uint32_t to, const std::string& name, VendorLink& link) {
  uint64_t least = 0, most = 0;
  const bool told = smi.min_max_bandwidth != nullptr &&
                    smi.min_max_bandwidth(from, to, &least, &most) == kGood && least > 0 && most >= least &&
                    least < kPlaceholder;
  link.bandwidth_bytes_per_s = data_sheet(name);
  link.source = link.bandwidth_bytes_per_s > 0 ? Source::kDataSheet : Source::kGuess;
  if (!told) return;
  link.bandwidth_bytes_per_s = least * 1'000'000u;
  link.count = static_cast<uint32_t>(most / least);
  link.source = Source::kReported;
}

// Direct neighbours only: two hops go through another device.
void read_links(const RocmSmi& smi, VendorReport& report) {
  for (uint32_t from = 0; from < report.devices.size(); ++from) {
    for (uint32_t to = 0; to < report.devices.size(); ++to) {
      uint64_t hops = 0, weight = 0;
      int type = 0;
      if (from == to || smi.link_type(from, to, &hops, &type) != kGood || type != kTypeXgmi) continue;
      // The weight is 15 for each hop; some drivers give a hop count of 1 to all pairs.
      const bool weighed = smi.link_weight != nullptr && smi.link_weight(from, to, &weight) == kGood;
      if (hops > 1 || (weighed && weight > 15)) continue;
      VendorLink link;
      link.kind = LinkKind::kXgmi;
      link.to_bus_id = report.devices[to].bus_id;
      price(smi, from, to, report.devices[from].name, link);
      report.devices[from].links.push_back(std::move(link));
    }
  }
}

Result<VendorReport> read_all(const RocmSmi& smi) {
  VendorReport report;
  uint32_t count = 0;
  if (const uint32_t status = smi.count(&count); status != kGood)
    return Status(Code::kUnhandledDeviceError,
                  fmt::format("rsmi_num_monitor_devices: {}; look at `rocm-smi`", words(smi, status)));
  for (uint32_t number = 0; number < count; ++number) {
    uint64_t pci_id = 0;
    std::array<char, 257> name{};
    VendorDevice& device = report.devices.emplace_back();
    if (const uint32_t status = smi.pci_id(number, &pci_id); status != kGood)
      return Status(
          Code::kUnhandledDeviceError,
          fmt::format("rsmi_dev_pci_id_get({}): {}; look at `rocm-smi`", number, words(smi, status)));
    device.bus_id = bus_id_of(pci_id);
    device.vendor = "amd";
    if (smi.name(number, name.data(), name.size() - 1) == kGood) device.name = name.data();
  }
  read_links(smi, report);
  size_t links = 0;
  for (const VendorDevice& device : report.devices) links += device.links.size();
  report.text = fmt::format("{} devices, {} xGMI neighbours", report.devices.size(), links);
  return report;
}

}  // namespace

Result<VendorReport> report_of_rocm_smi(const std::string& file) {
  COMITY_ASSIGN_OR_RETURN(const RocmSmi smi, load(file));
  if (const uint32_t status = smi.init(0); status != kGood)
    return Status(
        Code::kUnhandledDeviceError,
        fmt::format("rsmi_init: {}; is the driver amdgpu loaded? Look at `rocm-smi`", words(smi, status)));
  Result<VendorReport> report = read_all(smi);
  smi.shut_down();
  return report;
}

}  // namespace comity::topology
