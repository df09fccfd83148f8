#include "topology/import/hwloc_xml.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <pugixml.hpp>
#include <set>

#include "topology/import/hwloc_view.h"
#include "topology/import/hwloc_xml_parts.h"
#include "topology/import/pci.h"
#include "topology/import/xml.h"

namespace comity::topology {

namespace {

constexpr int kMostDepth = 64;
constexpr size_t kMostIo = 100'000;
constexpr size_t kMostNumas = 1024;

std::string_view type_of(const pugi::xml_node& object) {
  return object.attribute("type").value();
}

std::map<std::string, std::string> infos_of(const pugi::xml_node& object) {
  std::map<std::string, std::string> infos;
  for (const pugi::xml_node& info : object.children("info")) {
    infos.emplace(info.attribute("name").value(), info.attribute("value").value());
  }
  return infos;
}

uint64_t serial_of(const pugi::xml_node& object) {
  return object.attribute("gp_index").as_ullong(0);
}

bool has_io(const pugi::xml_node& object) {
  return object.find_child(
      [](const pugi::xml_node& child) { return type_of(child) == "Bridge" || type_of(child) == "PCIDev"; });
}

class Reader {
 public:
  Reader(std::string_view text, const std::string& origin) : xml_(text, origin) {}
  Result<HwlocView> read(const pugi::xml_node& topology);
  const Notes& notes() const { return notes_; }

 private:
  Status read_object(const pugi::xml_node& object, const std::vector<int32_t>& near, int depth);
  Status read_numa(const pugi::xml_node& object);
  Status read_io(const pugi::xml_node& object, int depth, HwlocObject& made);
  Status read_pci(const pugi::xml_node& object, HwlocObject& made);
  Status near_of(const pugi::xml_node& object, const std::vector<int32_t>& above,
                 std::vector<int32_t>& near) const;

  void note(const pugi::xml_node& node, std::string what) {
    if (!notes_.again(what)) notes_.add(xml_.line_of(node), std::move(what));
  }

  XmlText xml_;
  Notes notes_;
  HwlocView view_;
  int64_t version_ = 2;
  size_t io_ = 0;
  std::set<uint64_t> serials_;  // of all that a matrix may name
  std::set<std::pair<PciRole, std::string>> seen_;
};

Status Reader::near_of(const pugi::xml_node& object, const std::vector<int32_t>& above,
                       std::vector<int32_t>& near) const {
  near = above;
  const pugi::xml_attribute nodeset = object.attribute("nodeset");
  if (!nodeset) return {};
  const auto numbers = hwloc_bitmap_numbers(nodeset.value());
  if (!numbers)
    return xml_.bad(object, fmt::format("nodeset=\"{}\" is no bitmap of hwloc's", nodeset.value()));
  near.assign(numbers->begin(), numbers->end());
  return {};
}

Status Reader::read_numa(const pugi::xml_node& object) {
  int64_t number = 0;
  COMITY_RETURN_IF_ERROR(xml_.number_or(object, "os_index", 0, 1 << 20, 0, number));
  if (view_.numas.size() >= kMostNumas)
    return xml_.bad(object, fmt::format("more than {} NUMA domains", kMostNumas));
  for (const HwlocNuma& numa : view_.numas) {
    if (numa.number == number) return xml_.bad(object, fmt::format("NUMANode {} is there twice", number));
  }
  const auto cpus = hwloc_bitmap_numbers(object.attribute("cpuset").value());
  if (!cpus)
    return xml_.bad(object,
                    fmt::format("cpuset=\"{}\" is no bitmap of hwloc's", object.attribute("cpuset").value()));
  view_.numas.push_back({static_cast<int32_t>(number), list_text(*cpus), serial_of(object)});
  return {};
}

Status Reader::read_pci(const pugi::xml_node& object, HwlocObject& made) {
  const auto bus_id = normal_bus_id(object.attribute("pci_busid").value());
  if (!bus_id) {
    return xml_.bad(object, fmt::format("pci_busid=\"{}\" is no bus id such as 0000:17:00.0",
                                        object.attribute("pci_busid").value()));
  }
  made.bus_id = *bus_id;
  // "0302 [10de:15f9] [10de:116b] a1 00": class, device, subsystem, revision, programming interface.
  if (!parse_pci_type(object.attribute("pci_type").value(), made)) {
    return xml_.bad(object, fmt::format("pci_type=\"{}\" is not as in \"0302 [10de:15f9] [10de:116b] a1\"",
                                        object.attribute("pci_type").value()));
  }
  // Another kind of device may have the id (files changed by hand).
  const auto role =
      made.kind == HwlocObject::Kind::kBridge ? PciRole::kBridge : role_of_class(made.class_code);
  if (role != PciRole::kOther && !seen_.emplace(role, made.bus_id).second) {
    return xml_.bad(object, fmt::format("pci_busid {} is there twice", made.bus_id));
  }
  if (made.kind == HwlocObject::Kind::kPci && role == PciRole::kOther &&
      may_compute(made.class_code, made.vendor)) {
    note(object, fmt::format("a PCI device of class {:04x} is of no kind that is known; left out",
                             made.class_code >> 8));
  }
  const double giga_bytes_per_s = object.attribute("pci_link_speed").as_double(0);
  if (giga_bytes_per_s > 0 && giga_bytes_per_s < 1e4) {
    made.bytes_per_s = static_cast<uint64_t>(std::llround(giga_bytes_per_s * 1e6)) * 1000;
  }
  return {};
}

Status Reader::read_io(const pugi::xml_node& object, int depth, HwlocObject& made) {
  if (depth > kMostDepth) return xml_.bad(object, "objects nest more than 64 deep");
  if (++io_ > kMostIo) return xml_.bad(object, "more than 100,000 I/O objects");
  made.serial = serial_of(object);
  serials_.insert(made.serial);
  made.subtype = object.attribute("subtype").value();
  made.infos = infos_of(object);
  if (type_of(object) == "Bridge") {
    const bool of_host = object.attribute("bridge_type").value()[0] == '0';
    made.kind = of_host ? HwlocObject::Kind::kHostBridge : HwlocObject::Kind::kBridge;
  }
  if (made.kind != HwlocObject::Kind::kHostBridge) COMITY_RETURN_IF_ERROR(read_pci(object, made));
  for (const pugi::xml_node& child : object.children("object")) {
    if (type_of(child) == "OSDev") {
      HwlocObject::OsDevice device = os_device_of_type(child.attribute("osdev_type").as_int(-1), version_);
      device.name = child.attribute("name").value();
      const std::string_view subtype = child.attribute("subtype").value();
      device.compute = device.compute || subtype == "NVML" || subtype == "RSMI" || subtype == "LevelZero";
      device.infos = infos_of(child);
      device.serial = serial_of(child);
      serials_.insert(device.serial);
      made.os_devices.push_back(std::move(device));
    } else if (type_of(child) == "Bridge" || type_of(child) == "PCIDev") {
      made.children.emplace_back();
      COMITY_RETURN_IF_ERROR(read_io(child, depth + 1, made.children.back()));
    } else if (type_of(child) != "Misc") {
      note(child, fmt::format("an object {} below an I/O object is not known; left out", type_of(child)));
    }
  }
  return {};
}

Status Reader::read_object(const pugi::xml_node& object, const std::vector<int32_t>& above, int depth) {
  if (depth > kMostDepth) return xml_.bad(object, "objects nest more than 64 deep");
  if (!object.attribute("type")) return xml_.bad(object, "<object> has no type");
  std::vector<int32_t> near;
  COMITY_RETURN_IF_ERROR(near_of(object, above, near));
  if (type_of(object) == "NUMANode" || type_of(object) == "Node") COMITY_RETURN_IF_ERROR(read_numa(object));
  if (type_of(object) == "Package" || type_of(object) == "Socket") {
    if (view_.infos.count("CPUVendor") == 0) view_.infos.merge(infos_of(object));
  }
  if (type_of(object) == "PU" || (type_of(object) == "Core" && !has_io(object))) return {};
  serials_.insert(serial_of(object));
  if (serial_of(object) != 0) view_.normals[serial_of(object)] = near;
  for (const pugi::xml_node& child : object.children("object")) {
    if (type_of(child) == "Bridge" || type_of(child) == "PCIDev") {
      HwlocIo io{near, {}};
      COMITY_RETURN_IF_ERROR(read_io(child, 0, io.object));
      view_.io.push_back(std::move(io));
    } else if (type_of(child) == "OSDev") {
      const auto device = os_device_of_type(child.attribute("osdev_type").as_int(-1), version_);
      if (device.compute || device.network || device.fabric) {
        note(child, fmt::format("{} has no PCI device above it; left out", child.attribute("name").value()));
      }
    } else if (type_of(child) != "Misc") {
      COMITY_RETURN_IF_ERROR(read_object(child, near, depth + 1));
    }
  }
  return {};
}

Result<HwlocView> Reader::read(const pugi::xml_node& topology) {
  const std::string_view version = topology.attribute("version").value();
  version_ = 1;
  if (!version.empty()) {
    const auto [end, error] = std::from_chars(version.data(), version.data() + version.size(), version_);
    if (error != std::errc() || version_ < 1 || version_ > 3) {
      return xml_.bad(topology, fmt::format("version \"{}\" of hwloc's XML; 1 to 3 are known", version));
    }
  }
  const pugi::xml_node root = topology.child("object");
  if (!root) return xml_.bad(topology, "<topology> has no <object>");
  view_.infos = infos_of(root);
  view_.infos.merge(infos_of(topology));  // where version 3 has them
  COMITY_RETURN_IF_ERROR(read_object(root, {}, 0));
  if (view_.numas.empty()) view_.numas.push_back({0, "", 0});  // version 1 of a machine with one
  for (const pugi::xml_node& child : topology.children()) {
    const std::string_view name = child.name();
    if (name != "distances2" && name != "distances2hetero") continue;
    HwlocMatrix matrix;
    bool wanted = false;
    COMITY_RETURN_IF_ERROR(read_hwloc_matrix(xml_, child, matrix, wanted));
    if (!wanted) {
      if (matrix.name != "NUMALatency" && !matrix.name.empty())
        note(child, fmt::format("the matrix {} is not known; left out", matrix.name));
      continue;
    }
    for (const uint64_t serial : matrix.objects) {
      if (serials_.count(serial) == 0)
        note(child, fmt::format("the matrix {} names objects that are not there; left out", matrix.name));
    }
    view_.matrices.push_back(std::move(matrix));
  }
  return std::move(view_);
}

}  // namespace

Result<Imported> import_hwloc_xml(std::string_view text, const std::string& origin) {
  const XmlText xml(text, origin);
  pugi::xml_document document;
  COMITY_RETURN_IF_ERROR(xml.load(document, "topology"));
  Reader reader(text, origin);
  COMITY_ASSIGN_OR_RETURN(const HwlocView view, reader.read(document.document_element()));
  COMITY_ASSIGN_OR_RETURN(Graph graph, graph_of_view(view, origin));
  COMITY_RETURN_IF_ERROR(validate(graph).in(origin));
  canonicalize(graph);
  return Imported{std::move(graph), reader.notes().warnings(origin)};
}

}  // namespace comity::topology
