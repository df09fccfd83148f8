#include "topology/discover/kernel_view.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "topology/discover/nic_ports.h"

namespace comity::topology {
namespace {

// Orders of magnitude that stand until someone measures: eight channels of memory at half their rate, and one
// socket's link to another (makers' data sheets of 2017 to 2024 give 20 to 100 GB/s).
constexpr uint64_t kGuessedMemory = 100'000'000'000;
constexpr uint64_t kGuessedCpuLink = 20'000'000'000;

// The lower of both ends; an end that does not say leaves it to the other.
PcieRate lower(const PcieRate& a, const PcieRate& b) {
  if (!a.known() || !b.known()) return a.known() ? a : b;
  return {std::min(a.mega_transfers_per_s, b.mega_transfers_per_s), std::min(a.width, b.width)};
}

class Builder {
 public:
  explicit Builder(const KernelView& view) : view_(view) {
    for (const PciFunction& function : view.pci) by_bus_id_[function.bus_id] = &function;
  }
  Graph build();

 private:
  void add_host();
  void add_numa();
  void add_devices();
  void add_nics();
  uint32_t place_of_numa(int32_t number) const;
  uint32_t host_bridge_of(const PciFunction& function);
  uint32_t switch_or_bridge(const PciFunction& function, size_t depth);
  void attach(uint32_t node, const PciFunction& function, const std::string& shared);
  void price_host_bridges();
  std::string slot_of(const PciFunction& function) const;
  int32_t numa_of(const PciFunction& function) const;

  const KernelView& view_;
  Graph graph_;
  std::map<std::string, const PciFunction*> by_bus_id_;
  std::map<int32_t, uint32_t> numa_;              // number -> node
  std::map<std::string, uint32_t> host_bridges_;  // "pci0000:00" -> node
  std::map<std::string, uint32_t> switches_;      // bus id of the upstream port -> node
};

void Builder::add_host() {
  Node host;
  host.id = "host";
  host.kind = NodeKind::kHost;
  host.name = view_.names.hostname;
  if (!view_.names.boot_id.empty()) host.attributes["boot_id"] = view_.names.boot_id;
  host.attributes["hostname"] = view_.names.hostname;
  host.attributes["machine"] = view_.names.machine;
  graph_.add(std::move(host));
}

void Builder::add_numa() {
  for (const NumaDomain& domain : view_.numa) {
    Node node;
    node.id = fmt::format("numa{}", domain.number);
    node.kind = NodeKind::kNuma;
    node.name = fmt::format("NUMA {}", domain.number);
    node.numa = domain.number;
    node.attributes = {{"cpus", domain.cpus}, {"memory_bytes", fmt::format("{}", domain.memory_bytes)}};
    numa_[domain.number] = graph_.add(std::move(node));
    Link memory;
    memory.from = 0;
    memory.to = numa_[domain.number];
    memory.kind = LinkKind::kMemory;
    memory.bandwidth_bytes_per_s = kGuessedMemory;
    graph_.join(memory);
  }
  for (const NumaDomain& from : view_.numa) {
    for (size_t other = 0; other < view_.numa.size(); ++other) {
      if (view_.numa[other].number == from.number) continue;
      Link link;
      link.from = numa_[from.number];
      link.to = numa_[view_.numa[other].number];
      link.kind = LinkKind::kCpu;
      link.bandwidth_bytes_per_s = kGuessedCpuLink;
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
  return numa_.count(function.numa) != 0 ? function.numa : -1;
}

uint32_t Builder::host_bridge_of(const PciFunction& function) {
  const std::string name = function.root.empty() ? "pci" : function.root;
  const auto known = host_bridges_.find(name);
  if (known != host_bridges_.end()) return known->second;
  Node node;
  node.id = name;
  node.kind = NodeKind::kPcieBridge;
  node.name = "host bridge";
  // Not every function below it says where it is.
  for (const PciFunction& each : view_.pci)
    if (node.numa < 0 && each.root == function.root) node.numa = numa_of(each);
  node.bus_id = name.size() > 3 ? name.substr(3) : "";
  const uint32_t index = graph_.add(std::move(node));
  host_bridges_[name] = index;
  return index;
}

// The node that stands for the first `depth` bridges above a function. A path leads from the root port
// through pairs of a switch's upstream and downstream port, so that every second bridge is an upstream port:
// sysfs does not tell the kind of a port, and the configuration space only tells root.
uint32_t Builder::switch_or_bridge(const PciFunction& function, size_t depth) {
  if (depth < 2) return host_bridge_of(function);
  const std::string& bus_id = function.above[(depth - 2) / 2 * 2 + 1];
  const auto known = switches_.find(bus_id);
  if (known != switches_.end()) return known->second;
  const auto upstream = by_bus_id_.find(bus_id);
  if (upstream == by_bus_id_.end()) return host_bridge_of(function);
  Node node;
  node.id = bus_id;
  node.kind = NodeKind::kPcieSwitch;
  node.name = fmt::format("PCIe switch {:04x}:{:04x}", upstream->second->vendor, upstream->second->device);
  node.vendor = vendor_name(upstream->second->vendor);
  node.bus_id = bus_id;
  node.numa = numa_of(*upstream->second);
  const uint32_t index = graph_.add(std::move(node));
  switches_[bus_id] = index;
  attach(index, *upstream->second, "");
  return index;
}

// Joins a node with what stands above its function; `shared`: the name of what it shares its link with, or
// empty.
void Builder::attach(uint32_t node, const PciFunction& function, const std::string& shared) {
  const auto parent = function.above.empty() ? by_bus_id_.end() : by_bus_id_.find(function.above.back());
  const bool has_parent = parent != by_bus_id_.end();
  const PcieRate most = has_parent ? lower(function.most, parent->second->most) : function.most;
  const PcieRate now = has_parent ? lower(function.now, parent->second->now) : function.now;
  if (now.known()) graph_.nodes[node].attributes["pcie.current"] = to_text(now);
  if (most.known()) graph_.nodes[node].attributes["pcie.max"] = to_text(most);
  Link link;
  link.kind = LinkKind::kPcie;
  link.bandwidth_bytes_per_s = bytes_per_s(most);
  link.source = most.known() ? Source::kReported : Source::kGuess;
  link.from = node;
  link.to = switch_or_bridge(function, function.above.size());
  if (!shared.empty()) link.shared = shared + " up";
  graph_.add(link);
  std::swap(link.from, link.to);
  if (!shared.empty()) link.shared = shared + " down";
  graph_.add(link);
}

// What shares one link: the functions of one card, and the virtual functions of one of them.
std::string Builder::slot_of(const PciFunction& function) const {
  const std::string& owner =
      function.physical_function.empty() ? function.bus_id : function.physical_function;
  return "pcie " + owner.substr(0, owner.rfind('.'));
}

void Builder::add_devices() {
  for (const PciFunction& function : view_.pci) {
    const bool is_switch = is_vendor_switch(function);
    if (!is_switch && !is_accelerator(function)) continue;
    Node node;
    node.id = function.bus_id;
    node.kind = is_switch ? NodeKind::kVendorSwitch : NodeKind::kDevice;
    node.vendor = vendor_name(function.vendor);
    node.name = fmt::format("{} 0x{:04x}", node.vendor, function.device);
    node.bus_id = function.bus_id;
    node.numa = numa_of(function);
    if (!function.driver.empty()) node.attributes["driver"] = function.driver;
    node.attributes["pci.device"] = fmt::format("0x{:04x}", function.device);
    const uint32_t index = graph_.add(std::move(node));
    // Data goes through a vendor's switch by its own links alone.
    if (!is_switch) attach(index, function, "");
  }
}

void Builder::add_nics() {
  const std::vector<NicPort> ports = nic_ports(view_);
  std::map<std::string, int> in_slot;
  for (const NicPort& port : ports)
    if (const auto found = by_bus_id_.find(port.bus_id); found != by_bus_id_.end())
      ++in_slot[slot_of(*found->second)];
  for (size_t number = 0; number < ports.size(); ++number) {
    const NicPort& port = ports[number];
    Node node = port.node;
    node.id = fmt::format("nic{}", number);
    node.kind = NodeKind::kNic;
    node.bus_id = port.bus_id;
    const auto found = by_bus_id_.find(port.bus_id);
    if (found == by_bus_id_.end()) {
      node.numa = numa_.count(port.numa) != 0 ? port.numa : -1;
      const uint32_t index = graph_.add(std::move(node));
      Link link;  // software: its data goes through memory
      link.from = index;
      link.to = port.numa >= 0 ? place_of_numa(port.numa) : 0;
      link.kind = LinkKind::kMemory;
      graph_.join(link);
      continue;
    }
    const PciFunction& function = *found->second;
    node.vendor = vendor_name(function.vendor);
    node.numa = numa_of(function);
    if (!function.physical_function.empty())
      node.attributes["pci.physical_function"] = function.physical_function;
    const std::string slot = slot_of(function);
    const uint32_t index = graph_.add(std::move(node));
    attach(index, function, in_slot[slot] > 1 ? slot : "");
  }
}

// A host bridge carries what its ports carry together; nobody reports its own limit.
void Builder::price_host_bridges() {
  for (const auto& [name, index] : host_bridges_) {
    Link link;
    link.from = index;
    link.to = place_of_numa(graph_.nodes[index].numa);
    std::map<std::string, uint64_t> ports;
    for (size_t at = 0; at < graph_.links.size(); ++at) {
      const Link& child = graph_.links[at];
      if (child.to == index)
        ports[child.shared.empty() ? fmt::format("{}", at) : child.shared] = child.bandwidth_bytes_per_s;
    }
    const bool all_known =
        std::all_of(ports.begin(), ports.end(), [](const auto& port) { return port.second != 0; });
    for (const auto& [port, bandwidth] : ports) link.bandwidth_bytes_per_s += all_known ? bandwidth : 0;
    graph_.join(link);
  }
}

Graph Builder::build() {
  graph_.origin = "this machine";
  add_host();
  add_numa();
  add_devices();
  add_nics();
  price_host_bridges();
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
