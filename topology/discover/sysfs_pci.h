// The PCI tree as sysfs tells it: every function with what stands above it, by the path of its folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace comity::topology {

// As a link's end reports them. Zero: unknown (a conventional or virtual device, or "Unknown").
struct LinkSpeed {
  uint64_t mega_transfers_per_s = 0;  // 8000: generation 3
  uint32_t width = 0;
  bool known() const { return mega_transfers_per_s != 0 && width != 0; }
  bool operator==(const LinkSpeed&) const = default;
};

// One direction (see import/pci.h). 0: unknown.
uint64_t bytes_per_s(const LinkSpeed& speed);
// "16.0 GT/s x16", or empty if unknown.
std::string to_text(const LinkSpeed& speed);

struct PciFunction {
  std::string bus_id;               // "0000:17:00.0"
  std::string root;                 // host bridge, by its folder: "pci0000:00"
  std::vector<std::string> above;   // bus ids from the root port to the parent
  uint32_t class_code = 0;          // 0x030200
  uint16_t vendor = 0, device = 0;  // 0x10de, 0x2330
  uint16_t subsystem_vendor = 0, subsystem_device = 0;
  LinkSpeed now, most;
  int32_t numa = -1;
  std::string physical_function;  // bus id, of a virtual function of SR-IOV
  std::string driver;             // name, or empty: none is bound
};

// All functions under SYSFS/bus/pci/devices, by bus id; empty where there is no PCI.
std::vector<PciFunction> scan_pci(const std::string& sysfs);

bool is_pci_bridge(const PciFunction& function);
bool is_nic(const PciFunction& function);
// What computes for us: processing accelerators and 3D controllers of anyone; display controllers only of
// vendors of accelerators and not those built into a CPU (a server's management chip is a display controller
// too).
bool is_accelerator(const PciFunction& function);
// NVIDIA's NVSwitch: on PCI a bridge to nothing; its links carry data, its PCIe port does not.
bool is_vendor_switch(const PciFunction& function);

}  // namespace comity::topology
