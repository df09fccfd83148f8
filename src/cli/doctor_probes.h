// What `comity doctor` looks for. Each probe touches the machine only to look, and says what to do about what
// is missing.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace comity::cli {

struct Finding {
  std::string name;
  bool present = false;
  bool needed = false;  // Comity does not work without it
  std::string detail;   // what was found, or how to get it
};

// What the transports and devices that are built in need of this machine.
std::vector<Finding> probe_transports();
std::vector<Finding> probe_devices();
// Libraries of hardware and topology, by the dynamic loader.
std::vector<Finding> probe_libraries();
// Every source of the topology of this machine: what it gave, or why nothing.
std::vector<Finding> probe_topology();

}  // namespace comity::cli
