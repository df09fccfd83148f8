#include "topology/discover/nic_ports.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "topology/import/pci.h"

namespace comity::topology {
namespace {

bool is_same_port(const RdmaPort& rdma, const Netdev& netdev) {
  if (!rdma.netdev.empty()) return rdma.netdev == netdev.name;
  // IP over InfiniBand stands on the same function, and counts ports from 0.
  return rdma.infiniband && netdev.infiniband && !rdma.bus_id.empty() && rdma.bus_id == netdev.bus_id &&
         rdma.port == netdev.port + 1;
}

void describe(const RdmaPort& rdma, NicPort& port) {
  auto& attributes = port.node.attributes;
  port.bus_id = rdma.bus_id.empty() ? port.bus_id : rdma.bus_id;
  port.numa = rdma.numa >= 0 ? rdma.numa : port.numa;
  port.node.name = rdma.device;
  attributes["rdma"] = rdma.device;
  attributes["rdma.port"] = fmt::format("{}", rdma.port);
  attributes["rdma.gids"] = fmt::format("{}", rdma.gids);
  if (!rdma.node_guid.empty()) attributes["guid"] = rdma.node_guid;
  if (!rdma.first_gid.empty()) attributes["rdma.gid0"] = rdma.first_gid;
  if (rdma.bus_id.empty()) attributes["rdma.software"] = "1";
  attributes["net.kind"] = rdma.infiniband ? "infiniband" : "roce";
  attributes["net.state"] = rdma.state;
  // RoCE runs at its netdev's speed; a software device states a rate that means nothing.
  const bool known = attributes.count("net.bandwidth_bytes_per_s") != 0;
  if (rdma.bandwidth_bytes_per_s > 0 && (rdma.infiniband || !known) && !rdma.bus_id.empty())
    attributes["net.bandwidth_bytes_per_s"] = fmt::format("{}", rdma.bandwidth_bytes_per_s);
}

void describe(const Netdev& netdev, NicPort& port) {
  auto& attributes = port.node.attributes;
  port.bus_id = netdev.bus_id;
  port.numa = netdev.numa;
  port.node.name = netdev.name;
  attributes["netdev"] = netdev.name;
  attributes["net.kind"] = netdev.infiniband ? "infiniband" : "ethernet";
  attributes["net.state"] = netdev.state;
  if (netdev.bandwidth_bytes_per_s > 0)
    attributes["net.bandwidth_bytes_per_s"] = fmt::format("{}", netdev.bandwidth_bytes_per_s);
  if (!netdev.virtual_kind.empty()) attributes["netdev.virtual"] = netdev.virtual_kind;
  if (!netdev.master.empty()) attributes["netdev.master"] = netdev.master;
  std::string members;
  for (const std::string& member : netdev.members) members += (members.empty() ? "" : ",") + member;
  if (!members.empty()) attributes["netdev.members"] = members;
}

bool is_worth_a_node(const Netdev& netdev) {
  if (netdev.virtual_kind.empty()) return true;
  return netdev.running && netdev.virtual_kind != "bridge";
}

}  // namespace

std::vector<NicPort> nic_ports(const KernelView& view) {
  std::vector<NicPort> ports;
  std::set<std::string> taken_netdevs, taken_functions;
  for (const RdmaPort& rdma : view.rdma) {
    NicPort port;
    for (const Netdev& netdev : view.netdevs)
      if (is_same_port(rdma, netdev) && taken_netdevs.insert(netdev.name).second) describe(netdev, port);
    describe(rdma, port);
    ports.push_back(std::move(port));
  }
  for (const Netdev& netdev : view.netdevs) {
    if (!is_worth_a_node(netdev) || !taken_netdevs.insert(netdev.name).second) continue;
    describe(netdev, ports.emplace_back());
  }
  for (const NicPort& port : ports) taken_functions.insert(port.bus_id);
  for (const PciFunction& function : view.pci) {
    if (!is_nic(function) || taken_functions.count(function.bus_id) != 0 ||
        !function.physical_function.empty())
      continue;
    NicPort& port = ports.emplace_back();
    port.bus_id = function.bus_id;
    port.numa = function.numa;
    port.node.name = fmt::format("{} 0x{:04x}", vendor_name(function.vendor), function.device);
    port.node.attributes["net.state"] = function.driver.empty() ? "no driver" : "no interface here";
  }
  const auto key = [](const NicPort& port) { return std::tuple(port.bus_id.empty(), port.bus_id); };
  std::stable_sort(ports.begin(), ports.end(),
                   [&](const NicPort& a, const NicPort& b) { return key(a) < key(b); });
  return ports;
}

}  // namespace comity::topology
