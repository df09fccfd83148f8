// Devices of NCCL's XML: a <pci> with a <gpu>, or with several, which are parts of one PCI device.

#include <fmt/format.h>

#include <pugixml.hpp>

#include "topology/import/nccl_reader.h"
#include "topology/import/pci.h"
#include "topology/import/xml_name.h"

namespace comity::topology {

namespace {

constexpr int64_t kMostCount = 1 << 20;  // of links in parallel; NVLink 5 has 18

bool is_device(const pugi::xml_node& element) {
  const std::string_view name = element.name();
  return name == "gpu" || name == "apu";
}

std::vector<pugi::xml_node> devices_of(const pugi::xml_node& pci) {
  std::vector<pugi::xml_node> devices;
  for (const pugi::xml_node& child : pci.children()) {
    if (is_device(child)) devices.push_back(child);
  }
  return devices;
}

bool has_elements(const pugi::xml_node& gpu) {
  return gpu.find_child([](const pugi::xml_node& node) { return node.type() == pugi::node_element; });
}

// The first of those that tells links: NCCL writes them once where several ranks use one device.
pugi::xml_node linked_of(const std::vector<pugi::xml_node>& devices) {
  for (const pugi::xml_node& gpu : devices) {
    if (has_elements(gpu)) return gpu;
  }
  return {};
}

}  // namespace

// Parts share the PCIe link, and each vendors' link that they name (src/graph/topo.cc of NCCL splits it by
// their number, at both ends).
Status NcclReader::read_devices(const pugi::xml_node& pci, Node node, const Place& place) {
  if (const pugi::xml_node below = pci.child("pci"))
    return xml_.bad(below, "<pci> below the <pci> of a device");
  if (pci.child("nic") || pci.child("net")) return xml_.bad(pci, "<pci> of a device has a <nic> below it");
  for (const pugi::xml_node& child : pci.children()) {
    if (child.type() == pugi::node_element && !is_device(child))
      note(child, fmt::format("<{}> below the <pci> of a device is not known; left out", child.name()));
  }
  std::vector<pugi::xml_node> devices = devices_of(pci);
  const pugi::xml_node linked = linked_of(devices);
  if (devices.empty()) devices.emplace_back();  // a skeleton
  node.kind = NodeKind::kDevice;
  Uplink uplink;
  COMITY_RETURN_IF_ERROR(read_uplink(pci, uplink));
  COMITY_RETURN_IF_ERROR(claim(pci, node));
  const auto first = static_cast<uint32_t>(graph_.nodes.size());
  const std::string shared = devices.size() > 1 ? fmt::format("h{}.pci.{}", place.host, node.bus_id) : "";
  for (const pugi::xml_node& gpu : devices) {
    uint32_t device = 0;
    COMITY_RETURN_IF_ERROR(read_device(gpu, has_elements(gpu) ? gpu : linked, node, device));
    join_pcie(device, place.parent, uplink, shared);
  }
  if (devices.size() < 2) return {};
  parts_[first] = static_cast<uint32_t>(devices.size());
  is_part_.resize(graph_.nodes.size());
  std::fill(is_part_.begin() + first, is_part_.end(), true);
  return {};
}

Status NcclReader::read_device(const pugi::xml_node& gpu, const pugi::xml_node& linked, Node node,
                               uint32_t& device) {
  const size_t before = node.attributes.size();
  keep_attributes(
      gpu, {"nccl.gpu.", {}, {"dev", "sm", "gcn", "arch", "rank", "gdr", "mlopart", "vendor", "keep"}}, node);
  if (gpu && node.attributes.size() == before)
    return xml_.bad(gpu, fmt::format("<{}> has no dev", gpu.name()));
  if (std::string_view(gpu.name()) == "apu") node.attributes["nccl.tag"] = "apu";
  int64_t capability = 0;
  COMITY_RETURN_IF_ERROR(xml_.number_or(gpu, "sm", 0, 100'000, 0, capability));
  const std::string gcn = gpu.attribute("gcn").value(), sm = gpu.attribute("sm").value();
  if (!gcn.empty()) {
    node.name = gcn.substr(0, 3) == "gfx" ? gcn : gcn == "910" ? "gfx90a" : "gfx" + gcn;
  } else if (!sm.empty()) {
    node.name = "sm_" + sm;
  }
  if (node.vendor.empty() && !gcn.empty()) node.vendor = "amd";
  if (node.vendor.empty() && linked.child("nvlink") && std::string_view(gpu.name()) == "gpu")
    node.vendor = "nvidia";
  COMITY_RETURN_IF_ERROR(add_node(gpu, std::move(node), device));
  return read_gpu_links(linked, device);
}

Status NcclReader::read_gpu_links(const pugi::xml_node& gpu, uint32_t device) {
  for (const pugi::xml_node& link : gpu.children()) {
    if (link.type() != pugi::node_element) continue;
    const std::string element = link.name();
    if (!is_plain_xml_name(element)) return xml_.bad(link, fmt::format("<{}> is no name of a link", element));
    const bool c2c = element == "c2c";
    if (!c2c && !link.attribute("target")) {
      if (element == "nvlink" || element == "xgmi")
        return xml_.bad(link, fmt::format("<{}> has no target", element));
      note(link, fmt::format("<{}> below <{}> names no target; left out", element, gpu.name()));
      continue;
    }
    const std::string_view target = link.attribute("target").value();
    if (!c2c &&
        (target.empty() || target.find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos)) {
      return xml_.bad(link, fmt::format("target=\"{}\" of <{}> is no bus id", target, element));
    }
    note_attributes(link, {"target", "count", "tclass", "bw"});
    note_elements(link, {});
    Pending pending{device, cpu_, element, link.attribute("target").value(), link.attribute("tclass").value(),
                    1,      0};
    COMITY_RETURN_IF_ERROR(xml_.number_or(link, "count", 1, kMostCount, 1, pending.count));
    COMITY_RETURN_IF_ERROR(xml_.number_or(link, "bw", 0, 10'000'000, 0, pending.mega_bytes_per_s));
    pending_.push_back(std::move(pending));
  }
  return {};
}

std::string NcclReader::shared_by_parts(const Pending& pending, const Link& link) const {
  const auto part = [&](uint32_t node) { return node < is_part_.size() && is_part_[node]; };
  if (!part(link.from) && !part(link.to)) return {};
  const auto text = [&](uint32_t node) {
    const Node& end = graph_.nodes[node];
    if (end.kind == NodeKind::kDevice) return end.bus_id;
    return end.kind == NodeKind::kNuma ? fmt::format("numa{}", end.numa) : std::string("switch");
  };
  return fmt::format("h{}.parts.{}.{}-{}", graph_.nodes[link.from].host, pending.element, text(link.from),
                     text(link.to));
}

}  // namespace comity::topology
