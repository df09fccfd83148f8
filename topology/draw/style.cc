#include "topology/draw/style.h"

#include <algorithm>
#include <cmath>

namespace comity::topology {

// Chosen to differ on white and for the colour-blind as far as twenty can: neighbours in one machine differ
// in lightness too.
const char* colour_of(LinkKind kind) {
  switch (kind) {
    case LinkKind::kMemory:
      return "#c4c4c4";
    case LinkKind::kCpu:
      return "#8e6fb5";
    case LinkKind::kPcie:
      return "#6b7785";
    case LinkKind::kC2c:
      return "#d99a00";
    case LinkKind::kNvlink:
      return "#6aa800";
    case LinkKind::kXgmi:
      return "#d1432f";
    case LinkKind::kHccs:
      return "#c2185b";
    case LinkKind::kUb:
      return "#e0559a";
    case LinkKind::kMluLink:
      return "#00838f";
    case LinkKind::kMtLink:
      return "#b5651d";
    case LinkKind::kBlink:
      return "#5c6bc0";
    case LinkKind::kGcuLare:
      return "#7b5e00";
    case LinkKind::kXpuLink:
      return "#3949ab";
    case LinkKind::kXeLink:
      return "#0068b5";
    case LinkKind::kUalink:
      return "#ad1457";
    case LinkKind::kGaudiRoce:
      return "#0091c7";
    case LinkKind::kVendor:
      return "#795548";
    case LinkKind::kInfiniband:
      return "#1f6fb4";
    case LinkKind::kRoce:
      return "#e07b00";
    case LinkKind::kEthernet:
      return "#009e73";
  }
  return "#000000";
}

const char* fill_of(NodeKind kind) {
  switch (kind) {
    case NodeKind::kHost:
      return "#ffffff";
    case NodeKind::kNuma:
      return "#ece6f5";
    case NodeKind::kPcieBridge:
      return "#f1f3f5";
    case NodeKind::kPcieSwitch:
      return "#e3e7eb";
    case NodeKind::kDevice:
      return "#dff0c2";
    case NodeKind::kNic:
      return "#d3e6f7";
    case NodeKind::kNetSwitch:
      return "#c3ddf2";
    case NodeKind::kVendorSwitch:
      return "#eef7dd";
  }
  return "#ffffff";
}

double thickness_of(uint64_t bytes_per_s) {
  const double gigabytes = static_cast<double>(bytes_per_s) / 1e9;
  return std::clamp(0.6 + 0.55 * std::log2(1 + gigabytes / 8), 0.8, 6.0);
}

}  // namespace comity::topology
