// NVML: names of NVIDIA's devices and where each of their NVLinks leads. The functions and layouts are those
// of NVML's stable interface (versioned names), as its reference documents them.
#include <fmt/core.h>

#include <array>
#include <cstring>
#include <set>

#include "topology/discover/library.h"
#include "topology/discover/vendor.h"
#include "topology/import/pci.h"

namespace comity::topology {
namespace {

using Device = void*;
struct PciInfo {  // nvmlPciInfo_t of nvmlDeviceGetPciInfo_v3
  char bus_id_legacy[16];
  unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
  char bus_id[32];
};
constexpr int kGood = 0;
constexpr unsigned kMostLinks = 18;
constexpr int kRemoteGpu = 0, kRemoteSwitch = 2;

struct Nvml {
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  const char* (*error_text)(int) = nullptr;
  int (*count)(unsigned*) = nullptr;
  int (*device)(unsigned, Device*) = nullptr;
  int (*pci)(Device, PciInfo*) = nullptr;
  int (*name)(Device, char*, unsigned) = nullptr;
  int (*capability)(Device, int*, int*) = nullptr;
  int (*link_state)(Device, unsigned, int*) = nullptr;
  int (*link_version)(Device, unsigned, unsigned*) = nullptr;
  int (*link_remote)(Device, unsigned, PciInfo*) = nullptr;
  int (*link_remote_type)(Device, unsigned, int*) = nullptr;  // since driver 460
};

Result<Nvml> load(const std::string& file) {
  COMITY_ASSIGN_OR_RETURN(Library library, Library::open(file, {"libnvidia-ml.so.1"}));
  Nvml nvml;
  library.required("nvmlInit_v2", nvml.init)
      .required("nvmlShutdown", nvml.shutdown)
      .required("nvmlErrorString", nvml.error_text)
      .required("nvmlDeviceGetCount_v2", nvml.count)
      .required("nvmlDeviceGetHandleByIndex_v2", nvml.device)
      .required("nvmlDeviceGetPciInfo_v3", nvml.pci)
      .required("nvmlDeviceGetName", nvml.name)
      .required("nvmlDeviceGetCudaComputeCapability", nvml.capability)
      .required("nvmlDeviceGetNvLinkState", nvml.link_state)
      .required("nvmlDeviceGetNvLinkVersion", nvml.link_version)
      .required("nvmlDeviceGetNvLinkRemotePciInfo_v2", nvml.link_remote);
  library.optional("nvmlDeviceGetNvLinkRemoteDeviceType", nvml.link_remote_type);
  COMITY_RETURN_IF_ERROR(library.complete());
  return nvml;
}

// Bytes/s of one link, one way, by NVIDIA's data sheets. NVLink 3 of the 8.6 parts runs at 14.0625 GB/s (A40:
// four links, 112.5 GB/s both ways). `version` is what decides where the capability does not.
uint64_t bandwidth_of_link(int major, int minor, unsigned version) {
  if (major == 6) return 20'000'000'000;
  if (major == 8 && minor == 6) return 14'062'500'000;
  if (major >= 7 && major <= 9) return 25'000'000'000;
  if (major >= 10) return 50'000'000'000;
  return version <= 1 ? 20'000'000'000 : 25'000'000'000;
}

std::string bus_id_of(const PciInfo& info) {
  return normal_bus_id(std::string(info.bus_id, strnlen(info.bus_id, sizeof info.bus_id))).value_or("");
}

void read_links(const Nvml& nvml, Device handle, VendorDevice& device) {
  int major = 0, minor = 0;
  if (nvml.capability(handle, &major, &minor) == kGood)
    device.attributes["sm"] = fmt::format("{}{}", major, minor);
  unsigned down = 0;
  for (unsigned number = 0; number < kMostLinks; ++number) {
    int active = 0;
    // A device without NVLink refuses the first; one with fewer than the most refuses those beyond.
    if (nvml.link_state(handle, number, &active) != kGood) break;
    PciInfo remote{};
    unsigned version = 0;
    if (active == 0 || nvml.link_remote(handle, number, &remote) != kGood) {
      ++down;
      continue;
    }
    nvml.link_version(handle, number, &version);
    int type = kRemoteGpu;
    const bool typed =
        nvml.link_remote_type != nullptr && nvml.link_remote_type(handle, number, &type) == kGood;
    VendorLink link;
    link.kind = LinkKind::kNvlink;
    link.to_bus_id = bus_id_of(remote);
    link.to_switch = typed && type == kRemoteSwitch;
    link.bandwidth_bytes_per_s = bandwidth_of_link(major, minor, version);
    link.source = Source::kDataSheet;
    device.links.push_back(std::move(link));
  }
  if (down > 0) device.attributes["nvlink.down"] = fmt::format("{}", down);
}

// An old driver does not tell switches: what a link leads to and is no device is one.
void find_switches(VendorReport& report) {
  std::set<std::string> devices;
  for (const VendorDevice& device : report.devices) devices.insert(device.bus_id);
  for (VendorDevice& device : report.devices)
    for (VendorLink& link : device.links)
      if (!link.to_switch && devices.count(link.to_bus_id) == 0) link.to_switch = true;
}

Result<VendorReport> read_all(const Nvml& nvml) {
  VendorReport report;
  unsigned count = 0, unreadable = 0;
  size_t links = 0;
  if (const int status = nvml.count(&count); status != kGood)
    return Status(Code::kUnhandledDeviceError,
                  fmt::format("nvmlDeviceGetCount_v2: {}; look at `nvidia-smi`", nvml.error_text(status)));
  for (unsigned number = 0; number < count; ++number) {
    Device handle = nullptr;
    PciInfo pci{};
    std::array<char, 97> name{};
    VendorDevice device;
    if (nvml.device(number, &handle) != kGood || nvml.pci(handle, &pci) != kGood) {
      ++unreadable;
      continue;
    }
    device.bus_id = bus_id_of(pci);
    device.vendor = "nvidia";
    if (nvml.name(handle, name.data(), name.size() - 1) == kGood) device.name = name.data();
    read_links(nvml, handle, device);
    links += device.links.size();
    report.devices.push_back(std::move(device));
  }
  if (nvml.link_remote_type == nullptr) find_switches(report);
  report.text = fmt::format("{} devices, {} NVLinks up", report.devices.size(), links);
  if (unreadable > 0)
    report.text += fmt::format("; {} devices cannot be read: look at `nvidia-smi`", unreadable);
  return report;
}

}  // namespace

Result<VendorReport> report_of_nvml(const std::string& file) {
  COMITY_ASSIGN_OR_RETURN(const Nvml nvml, load(file));
  if (const int status = nvml.init(); status != kGood)
    return Status(
        Code::kUnhandledDeviceError,
        fmt::format("nvmlInit_v2: {}; is the driver loaded? Look at `nvidia-smi`", nvml.error_text(status)));
  Result<VendorReport> report = read_all(nvml);
  nvml.shutdown();
  return report;
}

}  // namespace comity::topology
