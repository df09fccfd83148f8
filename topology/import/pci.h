// Small facts of PCI that the importers and discovery share: bus ids, what a class is, makers, and what a
// link carries.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "topology/graph.h"

namespace comity::topology {

// "0000:17:00.0": lower case, the domain in at least four digits (nvidia-smi writes eight, lspci none).
// nullopt: not a bus id.
std::optional<std::string> normal_bus_id(std::string_view text);

// "0x060400" and such of a node without one: by its kind, its maker, and "net.kind" of a NIC.
std::string default_pci_class(const Node& node);
// By the base class and subclass of a class code of 24 bits: 0x060400 is a bridge.
enum class PciRole : uint8_t { kBridge, kVendorSwitch, kDevice, kNic, kOther };
PciRole role_of_class(uint32_t class_code);
// A display controller is an accelerator only when its maker builds such: not a board's ASPEED or Matrox.
bool makes_accelerators(uint16_t vendor);
// Whether a device of a class that is PciRole::kOther may be an accelerator all the same: of an unassigned
// class, or the "system peripheral" of a maker of such. To be said, not guessed.
bool may_compute(uint32_t class_code, uint16_t vendor);
// "nvidia", "amd", ..., or "0x1af4" of a maker without an entry.
std::string vendor_name(uint16_t vendor);
// The inverse, 0 when there is none: "nvidia" or "0x10de".
uint16_t vendor_id(std::string_view name);

// Switches below switches in NCCL's XML: more is no machine, and costs a reader stack.
inline constexpr int kMostPciDepth = 64;

// What a PCIe link carries one way after its line code, by the PCI Express base specifications 1.0 to 6.0:
// 8b/10b up to 5 GT/s, 128b/130b up to 32 GT/s, flits of 242 in 256 bytes above. 0 where either is unknown.
uint64_t pcie_bytes_per_s(uint64_t mega_transfers_per_s, uint32_t width);
// The standard speed and width that comes nearest to a bandwidth.
struct PcieSpeed {
  uint64_t mega_transfers_per_s = 0;
  uint32_t width = 0;
};
PcieSpeed pcie_speed_of(uint64_t bytes_per_s);
// "16.0 GT/s PCIe", "8 GT/s" and such, in MT/s; 0: unknown ("", "Unknown speed").
uint64_t pcie_speed_from_text(std::string_view text);
// "16.0 GT/s PCIe".
std::string pcie_speed_text(uint64_t mega_transfers_per_s);

// NVLink by compute capability ("sm" in NCCL's files), xGMI by architecture ("gfx942", "908"; RCCL's older
// files write 910 for gfx90a and 940 for gfx94x): one link, one way, from data sheets; 0 of an unknown one.
uint64_t nvlink_bytes_per_s(int sm);
uint64_t xgmi_bytes_per_s(std::string_view gcn);

// Between two sockets, one way: estimates of NCCL's public sources (src/graph/topo.h), where nothing tells
// more. `arch` as uname says it or as NCCL does ("ppc64le", "aarch64", "arm64"), `cpu_vendor` as CPUID
// ("AuthenticAMD").
uint64_t cpu_link_bytes_per_s(std::string_view arch, std::string_view cpu_vendor);

}  // namespace comity::topology
