// Level Zero's system management (Sysman): fabric ports of Intel's devices (Xe Link), matched by their
// identifiers. Functions, layouts and numbers as the specification gives them (oneAPI Level Zero, "zes").
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "topology/discover/library.h"
#include "topology/discover/vendor.h"

namespace comity::topology {
namespace {

using Handle = void*;
constexpr int kGood = 0;
constexpr int kPciProperties = 0x2, kPortProperties = 0x6, kPortState = 0x19;
constexpr int kHealthy = 1, kDegraded = 2;

struct PciProperties {
  int type = kPciProperties;
  void* next = nullptr;
  uint32_t domain = 0, bus = 0, device = 0, function = 0;
  int32_t generation = 0, width = 0;
  int64_t most_bandwidth = 0;
  uint8_t have_bandwidth = 0, have_packets = 0, have_replays = 0;
};
struct PortId {
  uint32_t fabric = 0, attach = 0;
  uint8_t number = 0;
};
struct Speed {
  int64_t bits_per_s = -1;
  int32_t width = -1;
};
struct PortProperties {
  int type = kPortProperties;
  void* next = nullptr;
  char model[256] = {};
  uint8_t on_subdevice = 0;
  uint32_t subdevice = 0;
  PortId id;
  Speed most_receive, most_send;
};
struct PortState {
  int type = kPortState;
  const void* next = nullptr;
  int status = 0;
  uint32_t quality_issues = 0, failures = 0;
  PortId remote;
  Speed receive, send;
};

struct LevelZero {
  int (*init)(uint32_t) = nullptr;
  int (*drivers)(uint32_t*, Handle*) = nullptr;
  int (*devices)(Handle, uint32_t*, Handle*) = nullptr;
  int (*pci)(Handle, PciProperties*) = nullptr;
  int (*ports)(Handle, uint32_t*, Handle*) = nullptr;
  int (*port_properties)(Handle, PortProperties*) = nullptr;
  int (*port_state)(Handle, PortState*) = nullptr;
};

Result<LevelZero> load(const std::string& file) {
  COMITY_ASSIGN_OR_RETURN(Library library, Library::open(file, {"libze_loader.so.1"}));
  LevelZero zero;
  library.required("zesInit", zero.init)
      .required("zesDriverGet", zero.drivers)
      .required("zesDeviceGet", zero.devices)
      .required("zesDevicePciGetProperties", zero.pci)
      .required("zesDeviceEnumFabricPorts", zero.ports)
      .required("zesFabricPortGetProperties", zero.port_properties)
      .required("zesFabricPortGetState", zero.port_state);
  COMITY_RETURN_IF_ERROR(library.complete());
  return zero;
}

// The two calls that every list of Level Zero takes: how many, then which. Empty if it refuses.
template <typename List>
std::vector<Handle> handles(List list) {
  uint32_t count = 0;
  if (list(&count, nullptr) != kGood || count == 0 || count > 4096) return {};
  std::vector<Handle> found(count);
  if (list(&count, found.data()) != kGood) return {};
  found.resize(std::min<size_t>(count, found.size()));
  return found;
}

using PortKey = std::tuple<uint32_t, uint32_t, uint8_t>;
PortKey key_of(const PortId& id) {
  return {id.fabric, id.attach, id.number};
}

// Bits/s are the sum of all lanes as they run; a link that is down gives none.
void read_ports(const LevelZero& zero, Handle device, size_t number, std::map<PortKey, size_t>& owners,
                std::vector<std::tuple<size_t, PortKey, uint64_t>>& links) {
  const auto list = [&](uint32_t* count, Handle* found) { return zero.ports(device, count, found); };
  for (Handle port : handles(list)) {
    PortProperties properties;
    PortState state;
    if (zero.port_properties(port, &properties) != kGood || zero.port_state(port, &state) != kGood) continue;
    owners[key_of(properties.id)] = number;
    if (state.status != kHealthy && state.status != kDegraded) continue;
    const int64_t bits_per_s =
        state.send.bits_per_s > 0 ? state.send.bits_per_s : properties.most_send.bits_per_s;
    links.emplace_back(number, key_of(state.remote),
                       bits_per_s > 0 ? static_cast<uint64_t>(bits_per_s) / 8 : 0);
  }
}

VendorReport read_all(const LevelZero& zero) {
  VendorReport report;
  std::map<PortKey, size_t> owners;
  std::vector<std::tuple<size_t, PortKey, uint64_t>> links;
  for (Handle driver : handles([&](uint32_t*count, Handle*found) { return zero.drivers(count, found); })) {
    const auto list = [&](uint32_t* count, Handle* found) { return zero.devices(driver, count, found); };
    for (Handle handle : handles(list)) {
      PciProperties pci;
      if (zero.pci(handle, &pci) != kGood) continue;
      VendorDevice& device = report.devices.emplace_back();
      device.bus_id = fmt::format("{:04x}:{:02x}:{:02x}.{:x}", pci.domain, pci.bus, pci.device, pci.function);
      device.vendor = "intel";
      read_ports(zero, handle, report.devices.size() - 1, owners, links);
    }
  }
  for (const auto& [from, remote, bandwidth] : links) {
    const auto to = owners.find(remote);
    if (to == owners.end() || to->second == from) continue;
    VendorLink link;
    link.kind = LinkKind::kXeLink;
    link.to_bus_id = report.devices[to->second].bus_id;
    link.bandwidth_bytes_per_s = bandwidth;
    link.source = bandwidth > 0 ? Source::kReported : Source::kGuess;
    report.devices[from].links.push_back(std::move(link));
  }
  report.text = fmt::format("{} devices, {} Xe Link ports up", report.devices.size(), links.size());
  return report;
}

}  // namespace

Result<VendorReport> report_of_level_zero(const std::string& file) {
  COMITY_ASSIGN_OR_RETURN(const LevelZero zero, load(file));
  if (const int status = zero.init(0); status != kGood)
    return Status(Code::kUnhandledDeviceError,
                  fmt::format("zesInit: error 0x{:x}; is a driver installed (intel-level-zero-gpu)?",
                              static_cast<unsigned>(status)));
  return read_all(zero);
}

}  // namespace comity::topology
