#include "topology/discover/vendor.h"

#include <fmt/core.h>

#include <utility>

namespace comity::topology {
namespace {

class Merger {
 public:
  explicit Merger(Graph& graph) : graph_(graph) {
    for (uint32_t index = 0; index < graph.nodes.size(); ++index) {
      const Node& node = graph.nodes[index];
      if (node.kind == NodeKind::kDevice || node.kind == NodeKind::kVendorSwitch)
        by_bus_id_[node.bus_id] = index;
    }
  }
  void add_device(const VendorDevice& device);
  void add_links(const VendorDevice& device);

 private:
  uint32_t end_of(const VendorDevice& device, const VendorLink& link);
  void add_or_widen(Link link);

  Graph& graph_;
  std::map<std::string, uint32_t> by_bus_id_;  // devices
  std::map<std::string, uint32_t> switches_;   // by vendor
};

void Merger::add_device(const VendorDevice& device) {
  const auto [found, is_new] = by_bus_id_.try_emplace(device.bus_id, 0);
  if (is_new) {
    // The kernel hides it here (a container without its own sysfs): it hangs off the host, by a link unknown.
    Node node;
    node.id = device.bus_id.empty() ? fmt::format("device{}", graph_.nodes.size()) : device.bus_id;
    node.kind = NodeKind::kDevice;
    node.bus_id = device.bus_id;
    found->second = graph_.add(std::move(node));
    Link link;
    link.from = found->second;
    link.to = 0;
    graph_.join(link);
  }
  Node& node = graph_.nodes[found->second];
  if (!device.name.empty()) node.name = device.name;
  if (!device.vendor.empty()) node.vendor = device.vendor;
  for (const auto& [key, value] : device.attributes) node.attributes[key] = value;
}

// The node at a link's other end. All switches of a vendor are one plane and one node.
uint32_t Merger::end_of(const VendorDevice& device, const VendorLink& link) {
  if (!link.to_switch) return by_bus_id_.at(link.to_bus_id);
  const auto [found, is_new] = switches_.try_emplace(device.vendor, 0);
  if (is_new) {
    Node node;
    node.id = "switch of " + device.vendor;
    node.kind = NodeKind::kVendorSwitch;
    node.name = link.kind == LinkKind::kNvlink ? "NVSwitch" : device.vendor + " switch";
    node.vendor = device.vendor;
    found->second = graph_.add(std::move(node));
  }
  return found->second;
}

void Merger::add_or_widen(Link link) {
  for (Link& known : graph_.links) {
    if (known.from != link.from || known.to != link.to || known.kind != link.kind) continue;
    if (known.bandwidth_bytes_per_s != link.bandwidth_bytes_per_s) continue;
    known.count += link.count;
    return;
  }
  graph_.add(std::move(link));
}

void Merger::add_links(const VendorDevice& device) {
  for (const VendorLink& each : device.links) {
    // A device that is not in the report (another guest's, or lost) is left out; a switch is made.
    if (!each.to_switch && by_bus_id_.count(each.to_bus_id) == 0) continue;
    Link link;
    link.from = by_bus_id_.at(device.bus_id);
    link.to = end_of(device, each);
    if (link.from == link.to) continue;
    link.kind = each.kind;
    link.count = each.count;
    link.bandwidth_bytes_per_s = each.bandwidth_bytes_per_s;
    link.source = each.source;
    add_or_widen(link);
    // A device tells of its own direction; a switch tells nothing.
    std::swap(link.from, link.to);
    if (each.to_switch) add_or_widen(link);
  }
}

}  // namespace

void merge_into(Graph& graph, const VendorReport& report) {
  Merger merger(graph);
  for (const VendorDevice& device : report.devices) merger.add_device(device);
  for (const VendorDevice& device : report.devices) merger.add_links(device);
}

}  // namespace comity::topology
