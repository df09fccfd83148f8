// Which adapters of an InfiniBand fabric sit in one host. Internal to its importer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace comity::topology {

struct IbAdapter {
  std::string guid;         // of the node
  std::string system_guid;  // of the board that it is on, or empty
  std::string name;         // its node description: "node01 mlx5_0", or its maker's default
};

struct IbHosts {
  struct Host {
    std::string name;
    bool named = false;  // by its own name, not by an adapter's
  };
  std::vector<Host> hosts;             // in the order of their first adapters
  std::vector<uint32_t> of_adapter;    // by adapter
  std::vector<std::string> ambiguous;  // names that several boards have, so that they tell no host
};

// Adapters with the same system image GUID are one board and in one host. So are those whose descriptions
// begin with the same host's name ("node01 mlx5_0", "node01 mlx5_1"), unless a whole description is there
// twice: then the name is a default ("localhost mlx5_0", "MT4129 ConnectX7   Mellanox Technologies") and
// tells nothing. A board that is shared by hosts of different names is several. O(n log n).
IbHosts group_ib_hosts(const std::vector<IbAdapter>& adapters);

}  // namespace comity::topology
