// This machine as a graph: what the kernel tells in sysfs, then what libraries of vendors know better (their
// own links), each in its own thread and for a bounded time. What is missing or broken is one Finding and no
// failure.
//
// What stands in the graph: the host, its NUMA domains, root ports, PCIe switches (by their upstream port),
// accelerators, ports of NICs, and vendors' switches. A port of a NIC has these attributes, as far as known:
//   net.kind                   "ethernet", "infiniband" or "roce"
//   net.bandwidth_bytes_per_s  of the port, one way
//   net.state                  "up", "down", ...
//   netdev, rdma, rdma.port    names by which sockets and verbs know it
// and no link outwards: a machine does not know its network, and whoever joins hosts into a cluster adds it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"
#include "topology/graph.h"

namespace comity::topology {

// One line for people: what a source gave, or why it gave nothing and what to try.
struct Finding {
  std::string source;  // "sysfs", "nvml", "cache"
  bool ok = false;
  std::string text;
  bool operator==(const Finding&) const = default;
};

struct Discovered {
  Graph graph;  // canonical
  std::vector<Finding> findings;
  bool from_cache = false;
};

struct DiscoverOptions {
  std::string sysfs = "/sys";
  std::string procfs = "/proc";
  uint64_t source_deadline_ms = 5'000;  // for each source
  uint64_t deadline_ms = 10'000;        // for all of them: they run side by side
  bool vendor_libraries = true;
  // Instead of its usual name, the file of a library: keys "nvml", "rocm_smi", "level_zero", "opencl",
  // "verbs". An empty text: do not look for it.
  std::map<std::string, std::string> libraries;
  bool cache = true;
  bool refresh = false;      // discover anew and replace what the cache has
  std::string cache_folder;  // empty: $XDG_CACHE_HOME/comity, else ~/.cache/comity
};

// Blocks until every source has answered or its time is over; a source that hangs keeps its thread (and the
// little that it holds) until the process ends. Fails only where not even a host can be described
// (kInternalError). Thread-safe; two at once do the work twice.
Result<Discovered> discover(const DiscoverOptions& options = {});

// Attributes that change while the hardware stays as it is: links trained down while idle, a cable pulled.
// Whoever compares two views of one machine leaves them out.
bool is_volatile_attribute(std::string_view key);

}  // namespace comity::topology
