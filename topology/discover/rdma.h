// Ports of RDMA devices: from sysfs, which has every figure of a port; libibverbs, opened at run time, says
// which of them this process can open.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace comity::topology {

struct RdmaPort {
  std::string device;                  // "mlx5_0"
  uint32_t port = 1;                   // from 1
  std::string bus_id;                  // of its PCI function; empty: software (Soft-RoCE)
  std::string netdev;                  // that it stands on, or empty
  bool infiniband = false;             // link layer; else RoCE
  uint64_t bandwidth_bytes_per_s = 0;  // 0: unknown
  std::string state;                   // "active", "down", "init", "armed"
  std::string node_guid;               // "0c42:a103:0065:bafe"
  std::string first_gid;               // of index 0: its first half is the subnet's prefix
  uint32_t gids = 0;                   // entries in use
  int32_t numa = -1;
};

// All ports under SYSFS/class/infiniband, by device and port.
std::vector<RdmaPort> scan_rdma(const std::string& sysfs);

}  // namespace comity::topology
