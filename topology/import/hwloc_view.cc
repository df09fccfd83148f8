#include "topology/import/hwloc_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "topology/import/hwloc_links.h"
#include "topology/import/pci.h"

namespace comity::topology {

namespace {

using Kind = HwlocObject::Kind;

std::string info(const std::map<std::string, std::string>& infos, const char* key) {
  const auto found = infos.find(key);
  return found == infos.end() ? std::string() : found->second;
}

// A processing accelerator or a 3D controller is one, whoever made it; Intel's coprocessors encrypt. A VGA
// controller is when something computes on it, or its maker builds no other: boards have graphics of their
// own (an ES1000 is AMD's), CPUs too.
bool is_device(const HwlocObject& pci) {
  if (role_of_class(pci.class_code) != PciRole::kDevice) return false;
  const uint32_t code = pci.class_code >> 8;
  if (code >> 8 == 0x12 || code == 0x0302) return true;
  if (code == 0x0b40 && pci.vendor == vendor_id("intel")) return false;
  const bool computes = std::any_of(pci.os_devices.begin(), pci.os_devices.end(),
                                    [](const HwlocObject::OsDevice& device) { return device.compute; });
  if (!makes_accelerators(pci.vendor)) return computes;
  if (code != 0x0300 || pci.vendor == vendor_id("nvidia")) return true;
  return std::any_of(pci.os_devices.begin(), pci.os_devices.end(), [&](const HwlocObject::OsDevice& device) {
    return device.compute || (device.name.substr(0, 7) == "renderD" && pci.vendor != vendor_id("intel"));
  });
}

bool is_vendor_switch(const HwlocObject& pci) {
  return pci.subtype == "NVSwitch";
}

bool is_wanted(const HwlocObject& pci) {
  return is_device(pci) || role_of_class(pci.class_code) == PciRole::kNic;
}

bool leads_to_wanted(const HwlocObject& object) {
  if (object.kind == Kind::kPci) return is_wanted(object);
  return std::any_of(object.children.begin(), object.children.end(), leads_to_wanted);
}

class Builder {
 public:
  explicit Builder(const HwlocView& view) : view_(view) {}
  Graph build();

 private:
  // Where the walk down the tree is. Below a root port, bridges come in pairs: the upstream port of a switch
  // and its downstream ports, which are one node.
  enum class Level : uint8_t { kRoot, kBelowPort, kInSwitch };
  struct Place {
    uint32_t parent = 0;
    int32_t numa = -1;
    Level level = Level::kRoot;
    uint64_t bytes_per_s = 0;  // what the port above says of its link
  };

  void add_machine();
  void walk(const HwlocObject& object, Place place);
  void add_device(const HwlocObject& pci, const Place& place);
  void add_nic(const HwlocObject& pci, const Place& place);
  Node node_of(const HwlocObject& pci, const Place& place) const;
  void join(const HwlocObject& pci, uint32_t index, const Place& place, const std::string& shared);

  const HwlocView& view_;
  Graph graph_;
  HwlocNodes nodes_;
};

void Builder::add_machine() {
  Node host;
  host.kind = NodeKind::kHost;
  host.name = info(view_.infos, "HostName");
  for (const auto& [key, name] : {std::pair{"Architecture", "arch"},
                                  {"CPUVendor", "cpu_vendor"},
                                  {"CPUModel", "cpu_model"},
                                  {"CPUFamilyNumber", "cpu_family"},
                                  {"CPUModelNumber", "cpu_model_number"}}) {
    const std::string value = info(view_.infos, key);
    if (!value.empty()) host.attributes[name] = value;
  }
  const uint64_t cpu_link =
      cpu_link_bytes_per_s(info(view_.infos, "Architecture"), info(view_.infos, "CPUVendor"));
  const uint32_t host_index = graph_.add(std::move(host));
  for (const HwlocNuma& numa : view_.numas) {
    Node node;
    node.kind = NodeKind::kNuma;
    node.numa = numa.number;
    if (!numa.cpuset.empty()) node.attributes["cpuset"] = numa.cpuset;
    const uint32_t index = graph_.add(std::move(node));
    Link link;
    link.kind = LinkKind::kMemory;
    link.from = host_index, link.to = index;
    graph_.join(link);
    link.kind = LinkKind::kCpu;
    link.bandwidth_bytes_per_s = cpu_link;
    for (const auto& [number, other] : nodes_.numas) {
      link.from = other;
      graph_.join(link);
    }
    nodes_.numas.emplace(numa.number, index);
    nodes_.by_serial.emplace(numa.serial, index);
  }
}

Node Builder::node_of(const HwlocObject& pci, const Place& place) const {
  Node node;
  node.bus_id = pci.bus_id;
  node.numa = place.numa;
  node.vendor = vendor_name(pci.vendor);
  node.attributes["pci.class"] = fmt::format("0x{:06x}", pci.class_code);
  node.attributes["pci.vendor"] = fmt::format("0x{:04x}", pci.vendor);
  node.attributes["pci.device"] = fmt::format("0x{:04x}", pci.device);
  if (pci.subsystem_vendor != 0) {
    node.attributes["pci.subsystem_vendor"] = fmt::format("0x{:04x}", pci.subsystem_vendor);
    node.attributes["pci.subsystem_device"] = fmt::format("0x{:04x}", pci.subsystem_device);
  }
  std::string names;
  for (const HwlocObject::OsDevice& device : pci.os_devices)
    names += (names.empty() ? "" : " ") + device.name;
  if (!names.empty()) node.attributes["osdev"] = names;
  return node;
}

void Builder::join(const HwlocObject& pci, uint32_t index, const Place& place, const std::string& shared) {
  const uint64_t own = pci.bytes_per_s, above = place.bytes_per_s;
  Link link;
  link.kind = LinkKind::kPcie;
  link.from = index, link.to = place.parent;
  link.bandwidth_bytes_per_s = own != 0 && above != 0 ? std::min(own, above) : std::max(own, above);
  link.source = link.bandwidth_bytes_per_s != 0 ? Source::kReported : Source::kGuess;
  if (!shared.empty()) link.shared = shared + ".up";
  graph_.add(link);
  std::swap(link.from, link.to);
  if (!shared.empty()) link.shared = shared + ".down";
  graph_.add(std::move(link));
}

void Builder::add_device(const HwlocObject& pci, const Place& place) {
  Node node = node_of(pci, place);
  node.kind = NodeKind::kDevice;
  for (const HwlocObject::OsDevice& device : pci.os_devices) {
    if (node.name.empty()) node.name = info(device.infos, "GPUModel");
  }
  if (node.name.empty()) node.name = info(pci.infos, "PCIDevice");
  const uint32_t index = graph_.add(std::move(node));
  nodes_.by_serial.emplace(pci.serial, index);
  for (const HwlocObject::OsDevice& device : pci.os_devices) nodes_.by_serial.emplace(device.serial, index);
  join(pci, index, place, "");
}

// One node per port: verbs devices tell theirs ("Port1State"), a netdev is one.
void Builder::add_nic(const HwlocObject& pci, const Place& place) {
  Node node = node_of(pci, place);
  node.kind = NodeKind::kNic;
  std::vector<std::string> ports;
  for (const HwlocObject::OsDevice& device : pci.os_devices) {
    if (device.network && !device.fabric && node.name.empty()) node.name = device.name;
    const std::string address = info(device.infos, "Address");
    if (!address.empty()) node.attributes["address"] = address;
    if (!device.fabric) continue;
    node.name = device.name;
    const std::string guid = info(device.infos, "NodeGUID");
    if (!guid.empty()) node.attributes["guid"] = guid;
    for (int port = 1; port <= 4; ++port) {
      if (device.infos.count(fmt::format("Port{}State", port)) != 0)
        ports.push_back(fmt::format("{}:{}", device.name, port));
    }
  }
  if (ports.size() < 2) ports = {node.name};
  for (const std::string& port : ports) {
    node.name = port;
    const uint32_t index = graph_.add(node);
    join(pci, index, place, ports.size() < 2 ? "" : "h0.pci." + pci.bus_id);
  }
}

void Builder::walk(const HwlocObject& object, Place place) {
  if (object.kind == Kind::kPci) {
    if (is_vendor_switch(object)) nodes_.switch_serials.push_back(object.serial);
    if (is_device(object)) {
      add_device(object, place);
    } else if (role_of_class(object.class_code) == PciRole::kNic) {
      add_nic(object, place);
    }
    return;
  }
  if (object.kind == Kind::kBridge && leads_to_wanted(object)) {
    if (place.level != Level::kInSwitch) {
      Node node = node_of(object, place);
      node.kind = place.level == Level::kRoot ? NodeKind::kPcieBridge : NodeKind::kPcieSwitch;
      const uint32_t index = graph_.add(std::move(node));
      join(object, index, place, "");
      place.parent = index;
    }
    place.level = place.level == Level::kBelowPort ? Level::kInSwitch : Level::kBelowPort;
    place.bytes_per_s = object.bytes_per_s;
  }
  if (place.level == Level::kInSwitch)
    place.bytes_per_s = 0;  // the upstream port's figure is of the link above
  for (const HwlocObject& child : object.children) walk(child, place);
}

Graph Builder::build() {
  add_machine();
  for (const HwlocIo& io : view_.io) {
    // Near several domains (a socket cut into four): below the first of them.
    Place place;
    const auto first = nodes_.numas.begin();
    const auto found = io.near.empty() ? first : nodes_.numas.find(io.near.front());
    place.parent = found == nodes_.numas.end() ? first->second : found->second;
    place.numa = graph_.nodes[place.parent].numa;
    walk(io.object, place);
  }
  for (const auto& [serial, near] : view_.normals) {
    const auto found = near.empty() ? nodes_.numas.end() : nodes_.numas.find(near.front());
    if (found != nodes_.numas.end()) nodes_.by_serial.emplace(serial, found->second);
  }
  add_hwloc_links(view_, nodes_, graph_);
  return std::move(graph_);
}

}  // namespace

Result<Graph> graph_of_view(const HwlocView& view, const std::string& origin) {
  if (view.numas.empty()) return Status(Code::kInvalidArgument, origin + ": no NUMA domain");
  Graph graph = Builder(view).build();
  graph.origin = origin + " (hwloc)";
  return graph;
}

}  // namespace comity::topology
