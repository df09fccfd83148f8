#include "topology/export/nccl_xml.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "topology/export/nccl_writer.h"
#include "topology/import/pci.h"

namespace comity::topology {

NcclWriter::NcclWriter(const Graph& graph)
    : graph_(graph),
      out_(links_out_of(graph)),
      parent_(graph.nodes.size(), -1),
      uplink_(graph.nodes.size(), -1),
      depth_(graph.nodes.size(), 0),
      children_(graph.nodes.size()),
      bus_ids_(graph.nodes.size()) {
  const auto numas = graph.nodes_of(NodeKind::kNuma);
  for (const uint32_t numa : numas) first_cpu_.emplace(graph.nodes[numa].host, numa);
  for (const uint32_t host : graph.nodes_of(NodeKind::kHost))
    first_cpu_.emplace(graph.nodes[host].host, host);
  for (const uint32_t numa : numas) place_below(numa);
  for (const uint32_t host : graph.nodes_of(NodeKind::kHost)) place_below(host);
  place_rest();
  give_bus_ids();
  give_host_hashes();
}

// One host without a hash has 0, which is NCCL's word for that; of several, each has one of its own.
void NcclWriter::give_host_hashes() {
  std::set<std::string> used;
  std::vector<uint32_t> without;
  for (const uint32_t host : graph_.nodes_of(NodeKind::kHost)) {
    host_hashes_[host] = attribute_of(graph_.nodes[host], "nccl.host_hash");
    if (host_hashes_[host].empty()) without.push_back(host);
    used.insert(host_hashes_[host]);
  }
  uint32_t number = 0;
  for (const uint32_t host : without) {
    do {
      host_hashes_[host] = without.size() == 1 ? "0x0" : fmt::format("0x{:x}", ++number);
    } while (!used.insert(host_hashes_[host]).second && without.size() > 1);
  }
}

// Breadth-first down the PCIe links from a CPU domain; what another domain reached first stays there.
void NcclWriter::place_below(uint32_t top) {
  std::deque<uint32_t> queue{top};
  while (!queue.empty()) {
    const uint32_t at = queue.front();
    queue.pop_front();
    const NodeKind kind = graph_.nodes[at].kind;
    uint32_t parent = kind == NodeKind::kHost ? first_cpu_.at(graph_.nodes[at].host) : at;
    // NCCL has nothing below a device: what hangs off one stands beside it.
    if (kind == NodeKind::kDevice || kind == NodeKind::kNic) parent = static_cast<uint32_t>(parent_[at]);
    for (const uint32_t index : out_[at]) {
      const Link& link = graph_.links[index];
      const Node& to = graph_.nodes[link.to];
      const bool fixed =
          to.kind == NodeKind::kHost || to.kind == NodeKind::kNuma || to.host != graph_.nodes[at].host;
      if (link.kind != LinkKind::kPcie || fixed || parent_[link.to] >= 0 ||
          link.attributes.count("nccl.pcilink") != 0)
        continue;
      parent_[link.to] = parent;
      uplink_[link.to] = index;
      depth_[link.to] = depth_[parent] + (to.kind == NodeKind::kPcieBridge ? 0 : 1);
      children_[parent].push_back(link.to);
      queue.push_back(link.to);
    }
  }
}

// Devices and NICs that no PCIe link leads to: below the domain that they name, or the host's first.
void NcclWriter::place_rest() {
  for (uint32_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    if ((node.kind != NodeKind::kDevice && node.kind != NodeKind::kNic) || parent_[i] >= 0) continue;
    uint32_t cpu = first_cpu_.at(node.host);
    for (const uint32_t numa : graph_.nodes_of(NodeKind::kNuma)) {
      if (graph_.nodes[numa].host == node.host && graph_.nodes[numa].numa == node.numa) cpu = numa;
    }
    parent_[i] = cpu;
    children_[cpu].push_back(i);
  }
}

void NcclWriter::give_bus_ids() {
  std::set<std::pair<uint32_t, std::string>> used;
  for (const Node& node : graph_.nodes) used.emplace(node.host, node.bus_id);
  std::map<std::tuple<uint32_t, NodeKind, std::string>, int64_t> taken;  // and below what
  std::map<uint32_t, uint32_t> next;
  for (uint32_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    if (parent_[i] < 0) continue;
    bus_ids_[i] = normal_bus_id(node.bus_id).value_or("");
    if (!bus_ids_[i].empty()) {
      const auto [found, fresh] =
          taken.emplace(std::make_tuple(node.host, node.kind, bus_ids_[i]), parent_[i]);
      // Ports of one NIC, or parts of one device.
      const bool end = node.kind == NodeKind::kNic || node.kind == NodeKind::kDevice;
      if (fresh || (end && found->second == parent_[i])) continue;
    }
    if (is_virtual(i)) continue;
    do {
      const uint32_t number = ++next[node.host];
      bus_ids_[i] = fmt::format("{:04x}:{:02x}:00.0", number >> 8, number & 0xff);
    } while (!used.emplace(node.host, bus_ids_[i]).second);
  }
}

// Elements nest as switches do: no deeper than a reader takes.
Status NcclWriter::check_depth() const {
  for (uint32_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    if (depth_[i] <= kMostPciDepth || node.kind == NodeKind::kDevice || node.kind == NodeKind::kNic) continue;
    return Status(
        Code::kInvalidArgument,
        fmt::format("cannot be written as NCCL's XML: {} is more than {} PCIe switches below its CPU",
                    node.id, kMostPciDepth));
  }
  return {};
}

// A NIC that NCCL's XML had without a PCI device.
bool NcclWriter::is_virtual(uint32_t index) const {
  const Node& node = graph_.nodes[index];
  return node.kind == NodeKind::kNic && node.bus_id.empty() && came_without_pci(node) &&
         node.attributes.count("nccl.virtual") != 0;
}

// What is written below a node: root ports stand aside for what is below them.
std::vector<uint32_t> NcclWriter::below(uint32_t node) const {
  std::vector<uint32_t> found;
  std::vector<uint32_t> stack(children_[node].rbegin(), children_[node].rend());
  while (!stack.empty()) {
    const uint32_t at = stack.back();
    stack.pop_back();
    if (graph_.nodes[at].kind == NodeKind::kPcieBridge) {
      stack.insert(stack.end(), children_[at].begin(), children_[at].end());
    } else {
      found.push_back(at);
    }
  }
  std::stable_sort(found.begin(), found.end(), [&](uint32_t a, uint32_t b) {
    return std::tie(bus_ids_[a], a) < std::tie(bus_ids_[b], b);
  });
  return found;
}

XmlTag NcclWriter::pci(uint32_t index) const {
  const Node& node = graph_.nodes[index];
  XmlTag tag("pci");
  tag.set("busid", bus_ids_[index]);
  const std::string known_class = attribute_of(node, "pci.class");
  tag.set("class", known_class.empty() ? default_pci_class(node) : known_class);
  if (came_without_pci(node) && attribute_of(node, "pci.vendor").empty() && vendor_id(node.vendor) != 0) {
    tag.set("vendor", fmt::format("0x{:04x}", vendor_id(node.vendor)));
  }
  tag.copy(node, "pci.",
           {"vendor", "device", "subsystem_vendor", "subsystem_device", "link_speed", "link_width"});
  if (!tag.has("link_speed") && !tag.has("link_width")) {
    const Link* link = uplink_[index] < 0 ? nullptr : &graph_.links[static_cast<size_t>(uplink_[index])];
    const bool guess = link == nullptr || link->bandwidth_bytes_per_s == 0 ||
                       (link->source == Source::kGuess && !came_without_pci(node));
    const PcieSpeed speed = pcie_speed_of(guess ? 0 : link->bandwidth_bytes_per_s);
    tag.set("link_speed", guess ? "" : pcie_speed_text(speed.mega_transfers_per_s));
    tag.set("link_width", guess ? "0" : fmt::format("{}", speed.width));
  }
  if (!tag.has("link_speed")) tag.set("link_speed", "");
  if (!tag.has("link_width")) tag.set("link_width", "0");
  return tag;
}

XmlTag NcclWriter::net(uint32_t index) {
  const Node& node = graph_.nodes[index];
  XmlTag tag("net");
  tag.set("name", node.name);
  const bool came_so = std::any_of(node.attributes.begin(), node.attributes.end(),
                                   [](const auto& entry) { return entry.first.substr(0, 9) == "nccl.net."; });
  tag.copy(node, "nccl.net.", {"dev", "speed", "port", "latency", "guid", "maxconn", "gdr"});
  const uint32_t number = nets_++;
  if (came_so) return tag;
  uint64_t rate = 0;
  for (const char* key : {"net.bandwidth_bytes_per_s", "port_bytes_per_s"}) {
    if (rate == 0) rate = std::strtoull(attribute_of(node, key).c_str(), nullptr, 10);
  }
  for (const uint32_t link : out_[index]) {
    if (rate == 0 && is_network(graph_.links[link].kind)) rate = graph_.links[link].total_bytes_per_s();
  }
  tag.set("dev", std::to_string(number));
  tag.set("speed", std::to_string(rate / 125'000));
  tag.set("port", "1");
  tag.set("latency", "0.000000");
  tag.set("guid", fmt::format("0x{:x}", number));
  tag.set("maxconn", "65536");
  tag.set("gdr", "0");
  return tag;
}

// Ports of one PCI device; a skeleton's NIC has no name and is a pci alone.
void NcclWriter::write_nics(const std::vector<uint32_t>& nics, int depth) {
  const bool without_pci = is_virtual(nics.front());
  const XmlTag tag = pci(nics.front());
  const XmlTag nic("nic");
  std::string ports;
  for (const uint32_t port : nics) {
    if (!graph_.nodes[port].name.empty()) ports += net(port).whole(depth + (without_pci ? 1 : 2));
  }
  if (without_pci) {
    text_ += nic.open(depth) + ports + nic.close(depth);
  } else if (ports.empty()) {
    text_ += tag.whole(depth);
  } else {
    text_ += tag.open(depth) + nic.open(depth + 1) + ports + nic.close(depth + 1) + tag.close(depth);
  }
}

// Whether two that stand side by side are of one PCI device.
bool NcclWriter::is_part_of(uint32_t node, uint32_t other) const {
  return graph_.nodes[node].kind == graph_.nodes[other].kind && bus_ids_[node] == bus_ids_[other];
}

void NcclWriter::write_children(uint32_t node, int depth) {
  const std::vector<uint32_t> all = below(node);
  for (size_t i = 0; i < all.size(); ++i) {
    const uint32_t at = all[i];
    if (graph_.nodes[at].kind == NodeKind::kDevice) {
      const size_t first = i;
      while (i + 1 < all.size() && is_part_of(all[i + 1], at)) ++i;
      write_devices(
          {all.begin() + static_cast<ptrdiff_t>(first), all.begin() + static_cast<ptrdiff_t>(i) + 1}, depth);
    } else if (graph_.nodes[at].kind == NodeKind::kNic) {
      std::vector<uint32_t> ports{at};
      while (i + 1 < all.size() && is_part_of(all[i + 1], at)) ports.push_back(all[++i]);
      write_nics(ports, depth);
    } else {
      const XmlTag tag = pci(at);
      const size_t before = text_.size();
      text_ += tag.open(depth);
      const size_t opened = text_.size();
      write_children(at, depth + 1);
      write_kept(graph_.nodes[at], depth + 1);
      for (const uint32_t link : out_[at]) {
        if (graph_.links[link].attributes.count("nccl.pcilink") == 0) continue;
        XmlTag other("pcilink");
        other.set("target", bus_ids_[graph_.links[link].to]);
        text_ += other.whole(depth + 1);
      }
      if (text_.size() == opened) {
        text_.resize(before);
        text_ += tag.whole(depth);
      } else {
        text_ += tag.close(depth);
      }
    }
  }
}

void NcclWriter::write_cpu(uint32_t host, uint32_t cpu, int depth) {
  const Node& node = graph_.nodes[cpu];
  const Node& owner = graph_.nodes[host];
  const auto known = [&](const char* key) {
    return attribute_of(node, key).empty() ? attribute_of(owner, key) : attribute_of(node, key);
  };
  XmlTag tag("cpu");
  tag.set("host_hash", host_hashes_.at(host));
  tag.set("numaid", std::to_string(node.kind == NodeKind::kNuma ? node.numa : 0));
  const std::string affinity = attribute_of(node, "nccl.cpu.affinity");
  tag.set("affinity", affinity.empty() ? affinity_of(attribute_of(node, "cpuset")) : affinity);
  tag.copy(node, "nccl.cpu.", {"arch", "vendor", "familyid", "modelid"});
  std::string arch = known("arch").empty() ? known("machine") : known("arch");
  // Of a machine that is not known NCCL fills these in.
  const bool unknown = !tag.has("arch") && arch.empty();
  if (!tag.has("arch") && !unknown) {
    if (arch == "aarch64") arch = "arm64";
    if (arch == "ppc64le") arch = "ppc64";
    if (arch != "arm64" && arch != "ppc64") arch = "x86_64";
    tag.set("arch", arch);
    const std::string vendor = known("cpu_vendor");
    if (!vendor.empty()) tag.set("vendor", vendor);
    if (!known("cpu_family").empty()) tag.set("familyid", known("cpu_family"));
    if (!known("cpu_model_number").empty()) tag.set("modelid", known("cpu_model_number"));
  }
  if (!unknown) {
    tag.set("vendor", "unknown");  // where there is none
    tag.set("familyid", "0");
    tag.set("modelid", "0");
  }
  text_ += tag.open(depth);
  write_children(cpu, depth + 1);
  write_kept(node, depth + 1);
  text_ += tag.close(depth);
}

Result<std::string> NcclWriter::write() {
  COMITY_RETURN_IF_ERROR(check_depth());
  const auto hosts = graph_.nodes_of(NodeKind::kHost);
  XmlTag system("system");
  system.copy(graph_.nodes[hosts.front()], "nccl.system.", {"version", "name"});
  if (!system.has("version")) system.set("version", "1");
  text_ = system.open(0);
  const auto numas = graph_.nodes_of(NodeKind::kNuma);
  for (const uint32_t host : hosts) {
    if (first_cpu_.at(graph_.nodes[host].host) == host) write_cpu(host, host, 1);
    for (const uint32_t numa : numas) {
      if (graph_.nodes[numa].host == graph_.nodes[host].host) write_cpu(host, numa, 1);
    }
  }
  return text_ + system.close(0);
}

Result<std::string> export_nccl_xml(const Graph& graph) {
  COMITY_RETURN_IF_ERROR(validate(graph).in("cannot be written as NCCL's XML"));
  if (graph.nodes_of(NodeKind::kHost).empty()) {
    return Status(Code::kInvalidArgument, "cannot be written as NCCL's XML: the topology has no host");
  }
  return NcclWriter(graph).write();
}

}  // namespace comity::topology
