// What a vendor's library knows and the kernel does not: names of devices and the links between them. One
// function for each library, all alike; what they report is merged into the graph by bus id.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "topology/graph.h"

namespace comity::topology {

struct VendorLink {
  std::string to_bus_id;   // of the device at its other end
  bool to_switch = false;  // to the vendor's switches, which are one node
  LinkKind kind = LinkKind::kVendor;
  uint32_t count = 1;
  uint64_t bandwidth_bytes_per_s = 0;  // of each of them, from this device; 0: unknown
  Source source = Source::kGuess;
};

struct VendorDevice {
  std::string bus_id;
  std::string name;
  std::string vendor;  // "nvidia"
  std::vector<VendorLink> links;
  std::map<std::string, std::string> attributes;
};

struct VendorReport {
  std::vector<VendorDevice> devices;
  std::string text;  // for people: what was found
};

// `file`: of the library, as the dynamic loader takes it; empty: its usual names. Each blocks as long as the
// library does (see Bounded), opens it and leaves it open: not all of them can be closed cleanly.
// kUnsupported: not installed, or too old; kUnhandledDeviceError: it refused, in its own words.
Result<VendorReport> report_of_nvml(const std::string& file);
Result<VendorReport> report_of_rocm_smi(const std::string& file);
Result<VendorReport> report_of_level_zero(const std::string& file);
Result<VendorReport> report_of_opencl(const std::string& file);

// Adds names, devices that the kernel does not show here, and links. Links of one device to one end are added
// up.
void merge_into(Graph& graph, const VendorReport& report);

}  // namespace comity::topology
