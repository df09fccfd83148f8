// What a graph needs of hwloc's view of one machine, whether a loaded topology or its XML told it. Internal
// to the importers: the XML is read here, not by libhwloc, since a library reads only versions up to its own
// and libhwloc is not made for hostile input.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "topology/graph.h"

namespace comity::topology {

struct HwlocObject {
  enum class Kind : uint8_t { kHostBridge, kBridge, kPci };
  struct OsDevice {
    std::string name;
    bool compute = false, network = false, fabric = false;  // CUDA, OpenCL and such; netdev; verbs
    std::map<std::string, std::string> infos;
    uint64_t serial = 0;  // gp_index
  };
  Kind kind = Kind::kPci;
  std::string bus_id;       // normal form; empty of a host bridge
  uint32_t class_code = 0;  // 24 bits
  uint16_t vendor = 0, device = 0, subsystem_vendor = 0, subsystem_device = 0;
  uint64_t bytes_per_s = 0;  // of its PCIe link; 0: unknown
  uint64_t serial = 0;
  std::string subtype;  // "NVSwitch"
  std::map<std::string, std::string> infos;
  std::vector<OsDevice> os_devices;
  std::vector<HwlocObject> children;
};

struct HwlocNuma {
  int32_t number = 0;
  std::string cpuset;  // "0-15,32-47"
  uint64_t serial = 0;
};

// I/O below one normal object, and the NUMA domains near that.
struct HwlocIo {
  std::vector<int32_t> near;
  HwlocObject object;
};

struct HwlocMatrix {
  std::string name;               // "NVLinkBandwidth"
  std::vector<uint64_t> objects;  // serials
  std::vector<uint64_t> values;   // objects.size() squared, from the row to the column
};

struct HwlocView {
  std::map<std::string, std::string> infos;          // of the machine and its first package
  std::vector<HwlocNuma> numas;                      // one at least
  std::vector<HwlocIo> io;                           //
  std::map<uint64_t, std::vector<int32_t>> normals;  // NUMA domains near packages and such, by serial
  std::vector<HwlocMatrix> matrices;                 //
};

Result<Graph> graph_of_view(const HwlocView& view, const std::string& origin);

}  // namespace comity::topology
