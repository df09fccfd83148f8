#include "topology/import/nccl_xml.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <pugixml.hpp>

#include "topology/import/nccl_reader.h"
#include "topology/import/pci.h"
#include "topology/import/xml_name.h"

namespace comity::topology {

namespace {

const std::vector<std::string_view> kPciAttributes = {
    "busid", "class", "vendor", "device", "subsystem_vendor", "subsystem_device", "link_speed", "link_width"};
const std::vector<std::string_view> kNetAttributes = {"name",    "dev", "speed", "port", "latency", "guid",
                                                      "maxconn", "gdr", "coll",  "rail", "plane",   "keep"};
constexpr size_t kMostNodes = 1'000'000;
constexpr size_t kMostCpus = 1024;  // of all hosts together; those of a host are joined pairwise

bool in(const std::vector<std::string_view>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

uint32_t class_of(const pugi::xml_node& pci) {
  return pci.attribute("class").as_uint(0);
}

// By what is below it and its class; nothing known below and an unknown class: kOther.
PciRole role_of(const pugi::xml_node& pci) {
  if (pci.child("gpu") || pci.child("apu")) return PciRole::kDevice;
  const PciRole by_class = role_of_class(class_of(pci));
  if (pci.child("pci")) return by_class == PciRole::kVendorSwitch ? by_class : PciRole::kBridge;
  if (by_class == PciRole::kOther && (pci.child("nic") || pci.child("net"))) return PciRole::kNic;
  return by_class;
}

bool is_known(std::string_view name) {
  constexpr std::array<std::string_view, 7> kKnown = {"cpu", "pci", "gpu", "apu", "nic", "net", "pcilink"};
  return std::find(kKnown.begin(), kKnown.end(), name) != kKnown.end();
}

}  // namespace

// Attributes of an element onto a node, under a prefix, but for those that the graph has fields for. What is
// in none of the lists is kept all the same, and noted.
void NcclReader::keep_attributes(const pugi::xml_node& element, const Attributes& attributes, Node& node) {
  for (const pugi::xml_attribute& attribute : element.attributes()) {
    const std::string_view name = attribute.name();
    if (in(attributes.fields, name)) continue;
    if (!in(attributes.known, name))
      note(element,
           fmt::format("the attribute {} of <{}> is not known; kept as it is", name, element.name()));
    if (is_plain_xml_name(name))
      node.attributes.emplace(std::string(attributes.prefix) + std::string(name), attribute.value());
  }
}

// Attributes and elements that are in no list, and so are not in the graph.
void NcclReader::note_attributes(const pugi::xml_node& element, const Names& known) {
  for (const pugi::xml_attribute& attribute : element.attributes()) {
    if (!in(known, attribute.name()))
      note(element,
           fmt::format("the attribute {} of <{}> is not known; left out", attribute.name(), element.name()));
  }
}

void NcclReader::note_elements(const pugi::xml_node& element, const Names& known) {
  for (const pugi::xml_node& child : element.children()) {
    if (child.type() == pugi::node_element && !in(known, child.name()))
      note(child, fmt::format("<{}> below <{}> is not known; left out", child.name(), element.name()));
  }
}

void NcclReader::note(const pugi::xml_node& node, std::string what) {
  if (!notes_.again(what)) notes_.add(xml_.line_of(node), std::move(what));
}

Status NcclReader::add_node(const pugi::xml_node& element, Node node, uint32_t& index) {
  if (graph_.nodes.size() >= kMostNodes) return xml_.bad(element, "more than 1,000,000 nodes");
  index = graph_.add(std::move(node));
  return {};
}

// Two devices of one host cannot have one bus id; a switch and a NIC may (files written by hand).
Status NcclReader::claim(const pugi::xml_node& pci, Node& node) {
  if (node.attributes["pci.class"].empty()) node.attributes["pci.class"] = default_pci_class(node);
  const auto key = std::make_tuple(node.host, node.kind, node.bus_id);
  if (places_.emplace(key, static_cast<uint32_t>(graph_.nodes.size())).second) return {};
  return xml_.bad(pci, fmt::format("busid {} is a {} twice", node.bus_id, name_of(node.kind)));
}

void NcclReader::join_pcie(uint32_t from, uint32_t to, const Uplink& uplink, const std::string& shared) {
  Link link;
  link.kind = LinkKind::kPcie;
  link.bandwidth_bytes_per_s = uplink.bytes_per_s;
  link.source = uplink.source;
  link.from = from, link.to = to;
  if (!shared.empty()) link.shared = shared + ".up";
  graph_.add(link);
  std::swap(link.from, link.to);
  if (!shared.empty()) link.shared = shared + ".down";
  graph_.add(link);
}

// An unknown speed or width counts as generation 3 of 16 lanes, as NCCL counts it.
Status NcclReader::read_uplink(const pugi::xml_node& pci, Uplink& uplink) const {
  int64_t width = 0;
  COMITY_RETURN_IF_ERROR(xml_.number_or(pci, "link_width", -1, 255, 0, width));
  uint64_t speed = pcie_speed_from_text(pci.attribute("link_speed").value());
  const bool known = speed > 0 && width > 0 && width <= 32;
  if (speed == 0) speed = 8000;
  if (width <= 0 || width > 32) width = 16;
  uplink.bytes_per_s = pcie_bytes_per_s(speed, static_cast<uint32_t>(width));
  uplink.source = known ? Source::kReported : Source::kGuess;
  return {};
}

Status NcclReader::read_host(const pugi::xml_node& cpu, uint32_t& host) {
  std::string hash = cpu.attribute("host_hash").value();
  if (hash == "0x0" || hash == "0") hash.clear();  // NCCL's value for none
  const auto found = hosts_.find(hash);
  if (found != hosts_.end()) {
    host = found->second;
    return {};
  }
  Node node;
  node.kind = NodeKind::kHost;
  node.host = host = static_cast<uint32_t>(hosts_.size());
  if (!hash.empty()) node.attributes["nccl.host_hash"] = hash;
  if (host == 0) {
    keep_attributes(cpu.parent(), {"nccl.system.", {}, {"version", "name"}}, node);
    node.attributes.emplace("nccl.system.version", "1");
  }
  host_nodes_.push_back(0);
  hosts_.emplace(hash, host);
  return add_node(cpu, std::move(node), host_nodes_.back());
}

Status NcclReader::read_cpu(const pugi::xml_node& cpu) {
  int64_t numaid = 0;
  COMITY_RETURN_IF_ERROR(xml_.number(cpu, "numaid", -1, 1 << 20, numaid));
  if (!*cpu.attribute("arch").value())
    note(cpu, "<cpu> has no arch: NCCL takes that of the machine it runs on; here it stays unknown");
  Place place;
  COMITY_RETURN_IF_ERROR(read_host(cpu, place.host));
  Node node;
  node.kind = NodeKind::kNuma;
  node.host = place.host;
  node.numa = place.numa = static_cast<int32_t>(numaid);
  keep_attributes(cpu,
                  {"nccl.cpu.",
                   {"numaid", "host_hash"},
                   {"affinity", "affinity_offset", "arch", "vendor", "familyid", "modelid"}},
                  node);
  // As the writer says that they are not known.
  if (node.attributes["nccl.cpu.vendor"] == "unknown") node.attributes["nccl.cpu.vendor"].clear();
  for (const char* key : {"nccl.cpu.familyid", "nccl.cpu.modelid"}) {
    if (node.attributes[key] == "0") node.attributes[key].clear();
  }
  std::erase_if(node.attributes, [](const auto& entry) { return entry.second.empty(); });
  COMITY_RETURN_IF_ERROR(add_node(cpu, std::move(node), place.parent));
  if (cpus_.size() >= kMostCpus) return xml_.bad(cpu, fmt::format("more than {} <cpu> elements", kMostCpus));
  if (!cpus_.emplace(std::make_pair(place.host, place.numa), place.parent).second) {
    return xml_.bad(cpu, fmt::format("numaid {} is there twice on one host", numaid));
  }
  Link memory;
  memory.kind = LinkKind::kMemory;
  memory.from = host_nodes_[place.host], memory.to = place.parent;
  graph_.join(memory);
  cpu_ = place.parent;
  return read_below(cpu, place);
}

// What is below a cpu or a switch.
Status NcclReader::read_below(const pugi::xml_node& element, const Place& place) {
  if (place.depth > kMostPciDepth)
    return xml_.bad(element, fmt::format("pci elements nest more than {} deep", kMostPciDepth));
  for (const pugi::xml_node& child : element.children()) {
    if (child.type() != pugi::node_element) continue;
    const std::string_view name = child.name();
    if (name == "pci") {
      COMITY_RETURN_IF_ERROR(read_pci(child, place));
    } else if (name == "nic") {  // without a PCI device: of a virtual machine, or virtual itself
      Node node;
      node.host = place.host, node.numa = place.numa;
      const size_t before = graph_.nodes.size();
      COMITY_RETURN_IF_ERROR(read_nets(child, node, place, nullptr));
      if (graph_.nodes.size() == before)
        note(child, "a <nic> with neither a PCI device nor a <net>; left out");
    } else if (name == "pcilink") {
      note_attributes(child, {"target"});
      if (!normal_bus_id(child.attribute("target").value()))
        return xml_.bad(child, "target of <pcilink> is no bus id");
      pending_.push_back({place.parent, cpu_, "pcilink", child.attribute("target").value(), "", 1, 0});
    } else if (is_known(name)) {
      return xml_.bad(child, fmt::format("<{}> directly below <{}>", name, element.name()));
    } else if (child.find_node([](const pugi::xml_node& node) { return is_known(node.name()); })) {
      return xml_.bad(child, fmt::format("the unknown element <{}> has devices below it", name));
    } else {
      note(child, fmt::format("<{}> below <{}> is not known; left out", name, element.name()));
    }
  }
  return {};
}

Status NcclReader::read_pci(const pugi::xml_node& pci, const Place& place) {
  const auto bus_id = normal_bus_id(pci.attribute("busid").value());
  if (!bus_id) {
    return xml_.bad(pci, fmt::format("busid=\"{}\" of <pci> is no bus id such as 0000:17:00.0",
                                     pci.attribute("busid").value()));
  }
  if (pci.attribute("class")) {
    int64_t code = 0;
    COMITY_RETURN_IF_ERROR(xml_.number_or(pci, "class", 0, 0xffffff, 0, code));
  }
  Node node;
  node.bus_id = *bus_id;
  node.host = place.host, node.numa = place.numa;
  keep_attributes(pci, {"pci.", {"busid"}, kPciAttributes}, node);
  if (!*pci.attribute("link_speed").value()) node.attributes.erase("pci.link_speed");
  if (pci.attribute("link_width").as_int(0) == 0) node.attributes.erase("pci.link_width");
  const uint32_t vendor = pci.attribute("vendor").as_uint(0);
  if (vendor > 0 && vendor < 0xffff) node.vendor = vendor_name(static_cast<uint16_t>(vendor));
  switch (role_of(pci)) {
    case PciRole::kDevice:
      return read_devices(pci, std::move(node), place);
    case PciRole::kNic:
      return read_nic_pci(pci, std::move(node), place);
    case PciRole::kVendorSwitch:
      node.kind = NodeKind::kVendorSwitch;
      break;
    case PciRole::kBridge:
      node.kind = NodeKind::kPcieSwitch;  // so that it stays one, whatever class it was given
      if (role_of_class(class_of(pci)) != PciRole::kBridge) node.attributes.erase("pci.class");
      break;
    case PciRole::kOther:
      return leave_out(pci, vendor);
  }
  return read_switch(pci, std::move(node), place);
}

// A disk and such: no path of interest ends there.
Status NcclReader::leave_out(const pugi::xml_node& pci, uint32_t vendor) {
  if (!pci.attribute("class"))
    return xml_.bad(pci, "<pci> has no class, and nothing below it that tells what it is");
  note_elements(pci, {});
  if (may_compute(class_of(pci), static_cast<uint16_t>(vendor))) {
    note(pci, fmt::format("a PCI device of class {} is of no kind that is known; left out",
                          pci.attribute("class").value()));
  }
  return {};
}

Status NcclReader::read_switch(const pugi::xml_node& pci, Node node, const Place& place) {
  Place below = place;
  below.depth = place.depth + 1;
  Uplink uplink;
  COMITY_RETURN_IF_ERROR(claim(pci, node));
  COMITY_RETURN_IF_ERROR(read_uplink(pci, uplink));
  COMITY_RETURN_IF_ERROR(add_node(pci, std::move(node), below.parent));
  join_pcie(below.parent, place.parent, uplink);
  return read_below(pci, below);
}

Status NcclReader::read_nic_pci(const pugi::xml_node& pci, Node node, const Place& place) {
  Uplink uplink;
  node.kind = NodeKind::kNic;
  COMITY_RETURN_IF_ERROR(claim(pci, node));
  COMITY_RETURN_IF_ERROR(read_uplink(pci, uplink));
  const size_t before = graph_.nodes.size();
  note_elements(pci, {"nic", "net"});
  for (const pugi::xml_node& nic : pci.children("nic")) {
    COMITY_RETURN_IF_ERROR(read_nets(nic, node, place, &uplink));
  }
  COMITY_RETURN_IF_ERROR(read_nets(pci, node, place, &uplink));  // a dialect without <nic>
  if (graph_.nodes.size() > before) return {};
  if (role_of_class(class_of(pci)) == PciRole::kOther && pci.attribute("class")) {
    note(pci, "a <nic> of no class that is known, and without a <net>; left out");
    return {};
  }
  uint32_t index = 0;  // a skeleton: the NIC's ports are not told
  COMITY_RETURN_IF_ERROR(add_node(pci, std::move(node), index));
  join_pcie(index, place.parent, uplink);
  return {};
}

// Newer NCCL lists a port again for what else it can do with it.
void NcclReader::note_nic(const pugi::xml_node& nic) {
  for (const pugi::xml_node& child : nic.children()) {
    const std::string_view name = child.name();
    if (child.type() != pugi::node_element || name == "net") continue;
    const char* const port = child.attribute("name").value();
    if ((name == "gin" || name == "rma") && nic.find_child_by_attribute("net", "name", port)) continue;
    note(child, fmt::format("<{}> below <nic> is not known as a port; left out", name));
  }
  note_attributes(nic, {});
}

// One node per port; the ports of one PCI device share its PCIe link.
Status NcclReader::read_nets(const pugi::xml_node& nic, const Node& node, const Place& place,
                             const Uplink* uplink) {
  if (std::string_view(nic.name()) == "nic") note_nic(nic);
  for (const pugi::xml_node& net : nic.children("net")) {
    Node port = node;
    port.kind = NodeKind::kNic;
    port.name = net.attribute("name").value();
    if (port.name.empty()) return xml_.bad(net, "<net> has no name");
    keep_attributes(net, {"nccl.net.", {"name"}, kNetAttributes}, port);
    port.attributes.emplace("nccl.net.dev", "0");
    if (uplink == nullptr) port.attributes["nccl.virtual"] = "1";
    int64_t mega_bits_per_s = 0;
    COMITY_RETURN_IF_ERROR(xml_.number_or(net, "speed", -1, int64_t{1} << 40, 0, mega_bits_per_s));
    const uint64_t rate = mega_bits_per_s > 0 ? static_cast<uint64_t>(mega_bits_per_s) * 125'000 : 0;
    if (rate > 0) port.attributes["net.bandwidth_bytes_per_s"] = std::to_string(rate);
    note_elements(net, {});
    uint32_t index = 0;
    COMITY_RETURN_IF_ERROR(add_node(net, std::move(port), index));
    const std::string shared = uplink == nullptr ? "" : fmt::format("h{}.pci.{}", place.host, node.bus_id);
    join_pcie(index, place.parent, uplink != nullptr ? *uplink : Uplink{rate, Source::kGuess}, shared);
  }
  return {};
}

Result<Imported> NcclReader::read(const pugi::xml_node& system) {
  for (const pugi::xml_node& child : system.children()) {
    if (child.type() != pugi::node_element) continue;
    if (std::string_view(child.name()) == "cpu") {
      COMITY_RETURN_IF_ERROR(read_cpu(child));
    } else if (is_known(child.name()) ||
               child.find_node([](const pugi::xml_node& node) { return is_known(node.name()); })) {
      return xml_.bad(child, fmt::format("<{}> directly below <system>", child.name()));
    } else {
      note(child, fmt::format("<{}> below <system> is not known; left out", child.name()));
    }
  }
  if (graph_.nodes.empty()) return xml_.bad(system, "<system> has no <cpu>");
  COMITY_RETURN_IF_ERROR(link_pending());
  join_cpus();
  return Imported{std::move(graph_), notes_.warnings(xml_.origin())};
}

Result<Imported> import_nccl_xml(std::string_view text, const std::string& origin) {
  const XmlText xml(text, origin);
  pugi::xml_document document;
  COMITY_RETURN_IF_ERROR(xml.load(document, "system"));
  COMITY_ASSIGN_OR_RETURN(Imported imported, NcclReader(text, origin).read(document.document_element()));
  COMITY_RETURN_IF_ERROR(validate(imported.graph).in(origin));
  canonicalize(imported.graph);
  imported.graph.origin = origin + " (NCCL)";
  return imported;
}

}  // namespace comity::topology
