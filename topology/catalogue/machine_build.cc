// A Machine into a Graph.

#include <fmt/core.h>

#include <algorithm>

#include "topology/catalogue/machine.h"

namespace comity::topology {
namespace {

// Bus numbers give the catalogue's order of devices and NICs to canonicalize(): they are made up, and ascend.
constexpr uint32_t kSwitchBus = 0x01;
constexpr uint32_t kFirstBus = 0x20;
constexpr uint32_t kBusStride = 4;

class Builder {
 public:
  Builder(const Machine& machine, const MachineVariant& variant) : machine_(machine), variant_(variant) {
    device_count_ = variant.devices.value_or(machine.devices.count);
    ports_ = ports();
  }

  Graph build() {
    graph_.origin = machine_.name;
    for (uint32_t host = 0; host < machine_.hosts; ++host) add_host(host);
    for (const MachineFabric& fabric : machine_.fabrics) {
      if (fabric.all_hosts) {
        add_switch(fabric, 0, machine_.hosts);
        continue;
      }
      for (uint32_t host = 0; host < machine_.hosts; ++host) add_fabric(fabric, host);
    }
    return std::move(graph_);
  }

  // Of the variant: which part each NIC is of, its place within it, and its speed.
  struct Port {
    const MachinePart* part = nullptr;
    uint32_t place = 0;
    uint64_t bytes_per_s = 0;
  };

 private:
  std::vector<Port> ports() const {
    std::vector<Port> all;
    for (const MachinePart& part : machine_.nics) {
      for (uint32_t i = 0; i < part.count; ++i)
        all.push_back({&part, i, part.port.bandwidth_bytes_per_s * part.port.count});
    }
    const std::vector<uint64_t>& speeds = variant_.nic_bytes_per_s;
    if (speeds.size() > 1) all.resize(std::min(all.size(), speeds.size()));
    if (variant_.nics) all.resize(std::min<size_t>(all.size(), *variant_.nics));
    for (size_t i = 0; i < all.size() && !speeds.empty(); ++i)
      all[i].bytes_per_s = speeds[speeds.size() == 1 ? 0 : i];
    return all;
  }

  Link link_of(const MachineLink& given, uint32_t from, uint32_t to) const {
    Link link;
    link.from = from;
    link.to = to;
    link.kind = given.kind;
    link.bandwidth_bytes_per_s = given.bandwidth_bytes_per_s;
    link.latency_ns = given.latency_ns;
    link.count = given.count;
    link.source = given.source;
    return link;
  }

  uint32_t add_node(NodeKind kind, uint32_t host, std::string id, std::string name, std::string vendor = "") {
    Node node;
    node.id = std::move(id);
    node.kind = kind;
    node.name = std::move(name);
    node.host = host;
    node.vendor = std::move(vendor);
    return graph_.add(std::move(node));
  }

  void add_host(uint32_t host) {
    const std::string prefix = fmt::format("h{}", host);
    const uint32_t at = add_node(NodeKind::kHost, host, prefix, machine_.title);
    graph_.nodes[at].attributes["machine"] = machine_.name;
    numas_.clear();
    switches_.clear();
    for (uint32_t i = 0; i < machine_.numa_count; ++i) {
      numas_.push_back(add_node(NodeKind::kNuma, host, fmt::format("{}.numa{}", prefix, i), machine_.cpu));
      graph_.nodes[numas_[i]].numa = static_cast<int32_t>(i);
      graph_.nodes[numas_[i]].attributes["arch"] = machine_.arch;
      graph_.join(link_of(machine_.memory, at, numas_[i]));
      for (uint32_t other = 0; other < i && machine_.cpu_link; ++other)
        graph_.join(link_of(*machine_.cpu_link, numas_[other], numas_[i]));
    }
    for (uint32_t i = 0; i < machine_.switches.count; ++i) {
      const std::string id = fmt::format("{}.switch{}", prefix, i);
      const uint32_t node = add_node(NodeKind::kPcieSwitch, host, id, machine_.switches.name);
      graph_.nodes[node].bus_id = fmt::format("0000:{:02x}:00.0", kSwitchBus + i);
      switches_.push_back(node);
      hang(node, machine_.switches.at[i], machine_.switches.link, "");
    }
    add_devices(host, prefix);
    add_nics(host, prefix);
  }

  // Joins a node to what it hangs from, and gives it that one's NUMA domain.
  void hang(uint32_t node, const MachineAnchor& at, const MachineLink& given, const std::string& shared) {
    std::vector<uint32_t> above;
    if (at.kind == NodeKind::kNuma) above = {numas_[at.index]};
    if (at.kind == NodeKind::kPcieSwitch) above = {switches_[at.index]};
    if (at.kind == NodeKind::kDevice) above = devices_.back()[std::min(at.index, device_count_ - 1)];
    graph_.nodes[node].numa = graph_.nodes[above[0]].numa;
    for (uint32_t each : above) {
      Link link = link_of(given, each, node);
      link.shared = shared;
      if (shared.empty() && above.size() > 1) link.shared = graph_.nodes[node].id + ".link";
      graph_.join(std::move(link));
    }
  }

  void add_devices(uint32_t host, const std::string& prefix) {
    devices_.emplace_back();
    if (device_count_ == 0) return;
    const uint32_t slices = variant_.slices;
    for (uint32_t i = 0; i < device_count_; ++i) {
      devices_.back().emplace_back();
      const std::string shared = slices > 1 ? fmt::format("{}.device{}.pcie", prefix, i) : "";
      for (uint32_t slice = 0; slice < slices; ++slice) {
        const std::string id = fmt::format("{}.gpu{}", prefix, i * slices + slice);
        const std::string name =
            slices == 1 ? machine_.devices.name
                        : fmt::format("{} slice {}/{}", machine_.devices.name, slice + 1, slices);
        const uint32_t node = add_node(NodeKind::kDevice, host, id, name, machine_.devices.vendor);
        graph_.nodes[node].bus_id =
            fmt::format("0000:{:02x}:{:02x}.{}", kFirstBus + kBusStride * i, slice / 8, slice % 8);
        if (slices > 1) graph_.nodes[node].attributes["slice"] = fmt::format("{}/{}", slice + 1, slices);
        devices_.back().back().push_back(node);
        hang(node, machine_.devices.at[i], machine_.devices.link, shared);
      }
    }
  }

  void add_nics(uint32_t host, const std::string& prefix) {
    for (uint32_t i = 0; i < ports_.size(); ++i) {
      const Port& port = ports_[i];
      const uint32_t node = add_node(NodeKind::kNic, host, fmt::format("{}.nic{}", prefix, i),
                                     port.part->name, port.part->vendor);
      graph_.nodes[node].bus_id = fmt::format("0000:{:02x}:00.0", kFirstBus + kBusStride * i + 1);
      graph_.nodes[node].attributes["net.bandwidth_bytes_per_s"] = fmt::format("{}", port.bytes_per_s);
      graph_.nodes[node].attributes["net.kind"] = name_of(port.part->port.kind);
      MachineAnchor at = port.part->at[port.place];
      if (at.kind == NodeKind::kDevice && device_count_ == 0) at = {NodeKind::kNuma, 0};
      hang(node, at, port.part->link, "");
    }
  }

  // Slices of one device share each of its links; slices of both ends share the link between them.
  void join_devices(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b, const MachineLink& given,
                    uint32_t count, const std::string& shared) {
    for (uint32_t from : a) {
      for (uint32_t to : b) {
        Link link = link_of(given, from, to);
        link.count = count;
        if (a.size() * b.size() > 1) link.shared = shared;
        graph_.join(std::move(link));
      }
    }
  }

  void add_switch(const MachineFabric& fabric, uint32_t first_host, uint32_t hosts) {
    const bool alone = hosts == 1 && !fabric.all_hosts;
    const std::string id = alone ? fmt::format("h{}.vswitch{}", first_host, vendor_switches_)
                                 : fmt::format("net.vswitch{}", vendor_switches_);
    ++vendor_switches_;
    const uint32_t node =
        add_node(NodeKind::kVendorSwitch, alone ? first_host : kNoHost, id, fabric.name, fabric.vendor);
    for (uint32_t host = first_host; host < first_host + hosts; ++host) {
      for (uint32_t i = 0; i < devices_[host].size(); ++i) {
        join_devices(devices_[host][i], {node}, fabric.link, fabric.link.count,
                     fmt::format("h{}.device{}.{}", host, i, name_of(fabric.link.kind)));
      }
    }
  }

  void add_pair(const MachineFabric& fabric, uint32_t host, uint32_t a, uint32_t b, uint32_t count) {
    join_devices(devices_[host][a], devices_[host][b], fabric.link, count,
                 fmt::format("h{}.device{}-device{}.{}", host, a, b, name_of(fabric.link.kind)));
  }

  void add_fabric(const MachineFabric& fabric, uint32_t host) {
    const auto count = static_cast<uint32_t>(devices_[host].size());
    if (count == 0) return;
    if (fabric.shape == MachineFabric::Shape::kSwitch) {
      vendor_switches_ = 0;
      return add_switch(fabric, host, 1);
    }
    if (fabric.shape == MachineFabric::Shape::kList) {
      for (const MachineFabric::Pair& pair : fabric.pairs) {
        if (pair.a < count && pair.b < count) add_pair(fabric, host, pair.a, pair.b, pair.count);
      }
      return;
    }
    const uint32_t group = fabric.group == 0 ? count : fabric.group;
    for (uint32_t a = 0; a < count; ++a) {
      for (uint32_t b = a + 1; b < count && b / group == a / group; ++b)
        add_pair(fabric, host, a, b, fabric.link.count);
    }
  }

  const Machine& machine_;
  const MachineVariant& variant_;
  Graph graph_;
  uint32_t device_count_ = 0;
  uint32_t vendor_switches_ = 0;
  std::vector<Port> ports_;
  std::vector<uint32_t> numas_, switches_;                   // of the host being added
  std::vector<std::vector<std::vector<uint32_t>>> devices_;  // nodes by host, device and slice
};

}  // namespace

Result<Graph> build_machine(const Machine& machine, const MachineVariant& variant) {
  uint32_t nics = 0;
  for (const MachinePart& part : machine.nics) nics += part.count;
  const auto refuse = [&machine](uint64_t asked, uint32_t there, std::string_view what) {
    return Status(Code::kInvalidArgument,
                  fmt::format("{} {} asked of {}, which has {}", asked, what, machine.name, there));
  };
  if (variant.devices.value_or(0) > machine.devices.count)
    return refuse(*variant.devices, machine.devices.count, "devices");
  if (variant.nics.value_or(0) > nics) return refuse(*variant.nics, nics, "NICs");
  if (variant.nic_bytes_per_s.size() > std::max(nics, 1u))
    return refuse(variant.nic_bytes_per_s.size(), nics, "NICs");
  if (variant.slices == 0 || variant.slices > kMostSlices)
    return Status(Code::kInvalidArgument,
                  fmt::format("{} slices: there are 1 to {}", variant.slices, kMostSlices));
  return Builder(machine, variant).build();
}

}  // namespace comity::topology
