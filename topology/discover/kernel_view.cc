#include "topology/discover/kernel_view.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <utility>

#include "topology/discover/nic_ports.h"
#include "topology/import/pci.h"

namespace comity::topology {
namespace {

// The lower of both ends; an end that does not say leaves it to the other.
LinkSpeed lower(const LinkSpeed& a, const LinkSpeed& b) {
  if (!a.known() || !b.known()) return a.known() ? a : b;
  return {std::min(a.mega_transfers_per_s, b.mega_transfers_per_s), std::min(a.width, b.width)};
}

class Builder {
 public:
  explicit Builder(const KernelView& view) : view_(view) {
    for (const PciFunction& function : view.pci) {
      by_bus_id_[function.bus_id] = &function;
      if (function.numa >= 0) numa_of_root_.emplace(function.root, function.numa);
    }
  }
  Graph build();

 private:
  void add_host();
  void add_numa();
  void add_devices();
  void add_nics();
  void add_virtual_nic(Node node, int32_t numa);
  uint32_t place_of_numa(int32_t number) const;
  uint32_t node_above(const PciFunction& function, size_t depth);
  Node node_of(const PciFunction& function, NodeKind kind) const;
  void attach(uint32_t node, const PciFunction& function, const std::string& shared);
  std::string slot_of(const PciFunction& function) const;
  int32_t numa_of(const PciFunction& function) const;

  const KernelView& view_;
  Graph graph_;
  std::map<std::string, const PciFunction*> by_bus_id_;
  std::map<std::string, int32_t>
      numa_of_root_;                         // host bridge -> NUMA domain, where one of its functions tells
  std::map<int32_t, uint32_t> numa_;         // number -> node
  std::map<std::string, uint32_t> bridges_;  // bus id of a root port or of a switch's upstream port -> node
};

void Builder::add_host() {
  Node host;
  host.id = "host";
  host.kind = NodeKind::kHost;
  host.name = view_.names.hostname;
  if (!view_.names.boot_id.empty()) host.attributes["boot_id"] = view_.names.boot_id;
  host.attributes["hostname"] = view_.names.hostname;
  for (const auto& [key, value] : {std::pair{"arch", view_.names.arch},
                                   {"cpu_vendor", view_.names.cpu_vendor},
                                   {"cpu_model", view_.names.cpu_model},
                                   {"cpu_family", view_.names.cpu_family},
                                   {"cpu_model_number", view_.names.cpu_model_number}})
    if (!value.empty()) host.attributes[key] = value;
  graph_.add(std::move(host));
}

void Builder::add_numa() {
  for (const NumaDomain& domain : view_.numa) {
    Node node;
    node.id = fmt::format("numa{}", domain.number);
    node.kind = NodeKind::kNuma;
    node.name = fmt::format("NUMA {}", domain.number);
    node.numa = domain.number;
    node.attributes = {{"cpuset", domain.cpus}, {"memory_bytes", fmt::format("{}", domain.memory_bytes)}};
    if (domain.cores > 0) node.attributes["cores"] = fmt::format("{}", domain.cores);
    if (!domain.caches.empty()) node.attributes["caches"] = domain.caches;
    numa_[domain.number] = graph_.add(std::move(node));
    Link memory;
    memory.from = 0;
    memory.to = numa_[domain.number];
    memory.kind = LinkKind::kMemory;
    graph_.join(memory);
  }
  for (const NumaDomain& from : view_.numa) {
    for (size_t other = 0; other < view_.numa.size(); ++other) {
      if (view_.numa[other].number == from.number) continue;
      Link link;
      link.from = numa_[from.number];
      link.to = numa_[view_.numa[other].number];
      link.kind = LinkKind::kCpu;
      link.bandwidth_bytes_per_s = cpu_link_bytes_per_s(view_.names.arch, view_.names.cpu_vendor);
      if (other < from.distances.size())
        link.attributes["numa.distance"] = fmt::format("{}", from.distances[other]);
      graph_.add(link);
    }
  }
}

// Firmware that names no domain: the only one, if there is only one; else the host.
uint32_t Builder::place_of_numa(int32_t number) const {
  if (numa_.size() == 1) return numa_.begin()->second;
  const auto found = numa_.find(number);
  return found == numa_.end() ? 0 : found->second;
}

int32_t Builder::numa_of(const PciFunction& function) const {
  if (numa_.size() == 1) return numa_.begin()->first;
  const auto of_root = numa_of_root_.find(function.root);
  const int32_t number =
      function.numa < 0 && of_root != numa_of_root_.end() ? of_root->second : function.numa;
  return numa_.count(number) != 0 ? number : -1;
}

Node Builder::node_of(const PciFunction& function, NodeKind kind) const {
  Node node;
  node.id = function.bus_id;
  node.kind = kind;
  node.bus_id = function.bus_id;
  node.vendor = vendor_name(function.vendor);
  node.numa = numa_of(function);
  node.attributes["pci.class"] = fmt::format("0x{:06x}", function.class_code);
  node.attributes["pci.vendor"] = fmt::format("0x{:04x}", function.vendor);
  node.attributes["pci.device"] = fmt::format("0x{:04x}", function.device);
  if (function.subsystem_vendor != 0) {
    node.attributes["pci.subsystem_vendor"] = fmt::format("0x{:04x}", function.subsystem_vendor);
    node.attributes["pci.subsystem_device"] = fmt::format("0x{:04x}", function.subsystem_device);
  }
  if (!function.driver.empty()) node.attributes["driver"] = function.driver;
  return node;
}

// The node that stands for the first `depth` bridges above a function: its NUMA domain, a root port, or a
// switch. A path leads from the root port through pairs of a switch's upstream and downstream port, so that
// every second bridge below the root port is an upstream port: sysfs does not tell the kind of a port, and
// the configuration space only tells root.
uint32_t Builder::node_above(const PciFunction& function, size_t depth) {
  if (depth == 0) return place_of_numa(numa_of(function));
  const size_t at = depth == 1 ? 0 : depth / 2 * 2 - 1;
  const std::string& bus_id = function.above[at];
  const auto known = bridges_.find(bus_id);
  if (known != bridges_.end()) return known->second;
  const auto bridge = by_bus_id_.find(bus_id);
  if (bridge == by_bus_id_.end()) return node_above(function, at);
  Node node = node_of(*bridge->second, at == 0 ? NodeKind::kPcieBridge : NodeKind::kPcieSwitch);
  node.name = at == 0
                  ? "root port"
                  : fmt::format("PCIe switch {:04x}:{:04x}", bridge->second->vendor, bridge->second->device);
  const uint32_t index = graph_.add(std::move(node));
  bridges_[bus_id] = index;
  attach(index, *bridge->second, "");
  return index;
}

// Joins a node with what stands above its function; `shared`: the name of what it shares its link with, or
// empty.
void Builder::attach(uint32_t node, const PciFunction& function, const std::string& shared) {
  const auto parent = function.above.empty() ? by_bus_id_.end() : by_bus_id_.find(function.above.back());
  const bool has_parent = parent != by_bus_id_.end();
  const LinkSpeed most = has_parent ? lower(function.most, parent->second->most) : function.most;
  const LinkSpeed now = has_parent ? lower(function.now, parent->second->now) : function.now;
  if (now.known()) graph_.nodes[node].attributes["pcie.current"] = to_text(now);
  if (most.known()) graph_.nodes[node].attributes["pcie.max"] = to_text(most);
  Link link;
  link.kind = LinkKind::kPcie;
  link.bandwidth_bytes_per_s = bytes_per_s(most);
  link.source = most.known() ? Source::kReported : Source::kGuess;
  link.from = node;
  link.to = node_above(function, function.above.size());
  if (!shared.empty()) link.shared = shared + ".up";
  graph_.add(link);
  std::swap(link.from, link.to);
  if (!shared.empty()) link.shared = shared + ".down";
  graph_.add(link);
}

// What shares one link: the functions of one card, and the virtual functions of one of them.
std::string Builder::slot_of(const PciFunction& function) const {
  const std::string& owner =
      function.physical_function.empty() ? function.bus_id : function.physical_function;
  return "h0.pci." + owner.substr(0, owner.rfind('.'));
}

void Builder::add_devices() {
  int switches = 0;
  for (const PciFunction& function : view_.pci) {
    switches += is_vendor_switch(function) ? 1 : 0;
    if (!is_accelerator(function)) continue;
    Node node = node_of(function, NodeKind::kDevice);
    node.name = fmt::format("{} 0x{:04x}", node.vendor, function.device);
    const uint32_t index = graph_.add(std::move(node));
    attach(index, function, "");
  }
  if (switches == 0) return;
  // All that a machine has are one plane, joined by a vendor's links alone: PCIe only manages them.
  Node node;
  node.id = "NVSwitch";
  node.kind = NodeKind::kVendorSwitch;
  node.name = "NVSwitch";
  node.vendor = "nvidia";
  node.attributes["switches"] = fmt::format("{}", switches);
  graph_.add(std::move(node));
}

// Software: its data goes through memory.
void Builder::add_virtual_nic(Node node, int32_t numa) {
  node.numa = numa_.count(numa) != 0 ? numa : -1;
  Link link;
  link.from = graph_.add(std::move(node));
  link.to = numa >= 0 ? place_of_numa(numa) : 0;
  link.kind = LinkKind::kMemory;
  graph_.join(link);
}

void Builder::add_nics() {
  const std::vector<NicPort> ports = nic_ports(view_);
  std::map<std::string, int> in_slot;
  for (const NicPort& port : ports)
    if (const auto found = by_bus_id_.find(port.bus_id); found != by_bus_id_.end())
      ++in_slot[slot_of(*found->second)];
  for (size_t number = 0; number < ports.size(); ++number) {
    const NicPort& port = ports[number];
    const auto found = by_bus_id_.find(port.bus_id);
    Node node = port.node;
    if (found != by_bus_id_.end()) {
      node = node_of(*found->second, NodeKind::kNic);
      node.name = port.node.name;
      node.attributes.insert(port.node.attributes.begin(), port.node.attributes.end());
    }
    node.id = fmt::format("nic{}", number);
    node.kind = NodeKind::kNic;
    node.bus_id = port.bus_id;
    if (found == by_bus_id_.end()) {
      add_virtual_nic(std::move(node), port.numa);
      continue;
    }
    const PciFunction& function = *found->second;
    if (!function.physical_function.empty())
      node.attributes["sriov.physical_function"] = function.physical_function;
    const std::string slot = slot_of(function);
    const uint32_t index = graph_.add(std::move(node));
    attach(index, function, in_slot[slot] > 1 ? slot : "");
  }
}

Graph Builder::build() {
  graph_.origin = "this machine";
  add_host();
  add_numa();
  add_devices();
  add_nics();
  return std::move(graph_);
}

}  // namespace

KernelView read_kernel_view(const std::string& sysfs, const std::string& procfs) {
  return {read_host_names(procfs), scan_numa(sysfs), scan_pci(sysfs), scan_netdevs(sysfs), scan_rdma(sysfs)};
}

Graph graph_of(const KernelView& view) {
  return Builder(view).build();
}

}  // namespace comity::topology
