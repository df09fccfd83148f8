#include "topology/discover/sysfs_netdev.h"

#include <fmt/core.h>

#include <sstream>

#include "topology/discover/sysfs.h"

namespace comity::topology {
namespace {

// ARPHRD_ numbers of linux/if_arp.h, and flags of linux/if.h.
constexpr int64_t kTypeInfiniband = 32;
constexpr int64_t kTypeLoopback = 772;
constexpr int64_t kFlagUp = 1;

std::string virtual_kind_of(const std::string& folder, const std::string& resolved) {
  if (exists(folder + "/bonding")) return "bond";
  if (exists(folder + "/bridge")) return "bridge";
  if (exists(folder + "/tun_flags")) return "tun";
  return resolved.find("/devices/virtual/") != std::string::npos ? "virtual" : "";
}

Netdev read_netdev(const std::string& folder, const std::string& name) {
  Netdev netdev;
  netdev.name = name;
  netdev.virtual_kind = virtual_kind_of(folder, resolve(folder));
  netdev.bus_id = bus_id_of(resolve(folder + "/device"));
  netdev.port = static_cast<uint32_t>(read_number(folder + "/dev_port").value_or(0));
  netdev.infiniband = read_number(folder + "/type").value_or(0) == kTypeInfiniband;
  // Mbit/s; -1 or a refused read where nobody knows.
  const int64_t speed = read_number(folder + "/speed").value_or(-1);
  netdev.bandwidth_bytes_per_s = speed > 0 && speed < INT32_MAX ? static_cast<uint64_t>(speed) * 125'000u : 0;
  netdev.state = read_text(folder + "/operstate");
  netdev.running = (read_number(folder + "/flags").value_or(0) & kFlagUp) != 0;
  netdev.master = link_name(folder + "/master");
  std::istringstream members(read_text(folder + "/bonding/slaves"));
  for (std::string member; members >> member;) netdev.members.push_back(member);
  netdev.numa = static_cast<int32_t>(read_number(folder + "/device/numa_node").value_or(-1));
  return netdev;
}

}  // namespace

std::vector<Netdev> scan_netdevs(const std::string& sysfs) {
  std::vector<Netdev> netdevs;
  for (const std::string& name : list_folder(sysfs + "/class/net")) {
    const std::string folder = fmt::format("{}/class/net/{}", sysfs, name);
    // A plain file among them is a setting of the bonding driver.
    if (!exists(folder + "/type") || read_number(folder + "/type").value_or(0) == kTypeLoopback) continue;
    netdevs.push_back(read_netdev(folder, name));
  }
  return netdevs;
}

}  // namespace comity::topology
