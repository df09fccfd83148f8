// From a matrix of how near devices are to each other to the least graph in which they are so. Internal to
// the importers of vendors' text, which tells classes and no more.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "topology/graph.h"

namespace comity::topology {

// Ascending. PHB and NODE (host bridges of one NUMA domain) are one class of ours.
enum class Nearness : uint8_t { kSelf, kVendorLink, kPix, kPxb, kPhb, kSys, kUnknown };

struct MatrixDevice {
  Node node;          // kDevice or kNic; its host is 0
  int32_t numa = -1;  // its NUMA domain as told, which is kept whatever the matrix says; -1: not told
  std::string
      cpus;  // where no number is told: devices near the same CPUs share a domain, unless they are SYS
};

struct ClassMatrix {
  struct Cell {
    Nearness nearness = Nearness::kUnknown;
    uint32_t links = 0;  // of kVendorLink: how many in parallel
  };
  std::vector<MatrixDevice> devices;
  std::vector<Cell> cells;  // devices.size() squared, by row
  LinkKind link_kind = LinkKind::kNvlink;
  uint64_t link_bytes_per_s = 0;  // of one link one way; always a guess
  uint32_t most_links = 0;  // of one device: an all-to-all that needs more goes through a switch; 0: never
  const Cell& at(size_t row, size_t column) const { return cells[row * devices.size() + column]; }
};

// kInvalidArgument naming two devices where the matrix contradicts itself (not symmetric, or SYS between
// devices that are both near a third). Devices below one PIX share a switch, those of one PXB a switch above.
// NUMA domains are those that are told by number, those of equal CPUs, and those that SYS parts from others
// (which get the next free numbers); they are joined pairwise. A device of which none of that is told hangs
// off the host. What the matrix says against told numbers goes to `doubts`. Not canonical yet.
Result<Graph> graph_of_matrix(const ClassMatrix& matrix, std::vector<std::string>& doubts);

}  // namespace comity::topology
