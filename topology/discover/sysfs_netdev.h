// Network interfaces of this network namespace, as sysfs tells them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace comity::topology {

struct Netdev {
  std::string name;
  std::string bus_id;                  // of its PCI function, or empty
  uint32_t port = 0;                   // of several on one function, from 0
  bool infiniband = false;             // IP over InfiniBand, else Ethernet
  uint64_t bandwidth_bytes_per_s = 0;  // 0: unknown (virtual, or down)
  std::string state;                   // "up", "down", "unknown"
  bool running = false;                // set up by its administrator
  std::string virtual_kind;            // empty: hardware; else "bond", "bridge", "tun" or "virtual"
  std::string master;                  // the bond or bridge that it is part of
  std::vector<std::string> members;    // of a bond
  int32_t numa = -1;
};

// All but loopback, by name.
std::vector<Netdev> scan_netdevs(const std::string& sysfs);

}  // namespace comity::topology
