#include "topology/import/hwloc_graph.h"

#include <hwloc.h>
#include <hwloc/distances.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include <fmt/format.h>

#include "topology/import/hwloc_view.h"
#include "topology/import/pci.h"

namespace comity::topology {

namespace {

constexpr int kMostDepth = 64;

std::map<std::string, std::string> infos_of(hwloc_obj_t object) {
  std::map<std::string, std::string> infos;
  for (unsigned i = 0; i < object->infos_count; ++i)
    infos.emplace(object->infos[i].name, object->infos[i].value);
  return infos;
}

std::string list_of(hwloc_const_bitmap_t bitmap) {
  char* text = nullptr;
  if (bitmap == nullptr || hwloc_bitmap_list_asprintf(&text, bitmap) < 0) return "";
  const std::unique_ptr<char, decltype(&std::free)> owner(text, &std::free);
  return text;
}

void fill_pci(const hwloc_obj_attr_u::hwloc_pcidev_attr_s& from, HwlocObject& to) {
  to.bus_id = fmt::format("{:04x}:{:02x}:{:02x}.{:x}", from.domain, from.bus, from.dev, from.func);
  to.class_code = static_cast<uint32_t>(from.class_id) << 8;
  to.vendor = from.vendor_id, to.device = from.device_id;
  to.subsystem_vendor = from.subvendor_id, to.subsystem_device = from.subdevice_id;
  if (std::isfinite(from.linkspeed) && from.linkspeed > 0) {
    to.bytes_per_s = static_cast<uint64_t>(std::llround(static_cast<double>(from.linkspeed) * 1e6)) * 1000;
  }
}

HwlocObject::OsDevice os_device_of(hwloc_obj_t object) {
  HwlocObject::OsDevice device;
  device.name = object->name != nullptr ? object->name : "";
  device.compute = object->attr->osdev.type == HWLOC_OBJ_OSDEV_COPROC;
  device.network = object->attr->osdev.type == HWLOC_OBJ_OSDEV_NETWORK;
  device.fabric = object->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS;
  // Vendors' libraries as GPUs: "nvml0", "rsmi0", "ze0".
  const std::string subtype = object->subtype != nullptr ? object->subtype : "";
  device.compute = device.compute || subtype == "NVML" || subtype == "RSMI" || subtype == "LevelZero";
  device.infos = infos_of(object);
  device.serial = object->gp_index;
  return device;
}

HwlocObject io_of(hwloc_obj_t object, int depth) {
  HwlocObject made;
  made.serial = object->gp_index;
  made.infos = infos_of(object);
  if (object->subtype != nullptr) made.subtype = object->subtype;
  if (object->type == HWLOC_OBJ_PCI_DEVICE) {
    fill_pci(object->attr->pcidev, made);
  } else if (object->attr->bridge.upstream_type == HWLOC_OBJ_BRIDGE_PCI) {
    made.kind = HwlocObject::Kind::kBridge;
    fill_pci(object->attr->bridge.upstream.pci, made);
  } else {
    made.kind = HwlocObject::Kind::kHostBridge;
  }
  for (hwloc_obj_t child = object->io_first_child; child != nullptr && depth < kMostDepth;
       child = child->next_sibling) {
    if (child->type == HWLOC_OBJ_OS_DEVICE) {
      made.os_devices.push_back(os_device_of(child));
    } else {
      made.children.push_back(io_of(child, depth + 1));
    }
  }
  return made;
}

std::vector<int32_t> near(hwloc_obj_t object) {
  std::vector<int32_t> numbers;
  if (object->nodeset == nullptr || hwloc_bitmap_weight(object->nodeset) < 0) return numbers;
  for (int at = hwloc_bitmap_first(object->nodeset); at >= 0; at = hwloc_bitmap_next(object->nodeset, at)) {
    numbers.push_back(at);
  }
  return numbers;
}

void add_normal(hwloc_obj_t object, HwlocView& view) {
  view.normals[object->gp_index] = near(object);
  for (hwloc_obj_t child = object->io_first_child; child != nullptr; child = child->next_sibling) {
    if (child->type == HWLOC_OBJ_OS_DEVICE || child->type == HWLOC_OBJ_MISC) continue;
    view.io.push_back({near(object), io_of(child, 0)});
  }
  for (unsigned i = 0; i < object->arity; ++i) add_normal(object->children[i], view);
}

void add_matrices(hwloc_topology_t topology, HwlocView& view) {
  for (const char* name : {"NVLinkBandwidth", "XGMIBandwidth", "XGMIHops", "XeLinkBandwidth"}) {
    std::array<hwloc_distances_s*, 1> found{};
    unsigned count = found.size();
    if (hwloc_distances_get_by_name(topology, name, &count, found.data(), 0) != 0 || count == 0) continue;
    HwlocMatrix matrix;
    matrix.name = name;
    const size_t size = found[0]->nbobjs;
    for (size_t i = 0; i < size; ++i) matrix.objects.push_back(found[0]->objs[i]->gp_index);
    matrix.values.assign(found[0]->values, found[0]->values + size * size);
    hwloc_distances_release(topology, found[0]);
    view.matrices.push_back(std::move(matrix));
  }
}

}  // namespace

bool has_hwloc() {
  return true;
}

Result<Graph> graph_of_hwloc(hwloc_topology* topology, const std::string& origin) {
  HwlocView view;
  const hwloc_obj_t root = hwloc_get_root_obj(topology);
  view.infos = infos_of(root);
  if (const hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0))
    view.infos.merge(infos_of(package));
  for (hwloc_obj_t numa = nullptr;
       (numa = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, numa)) != nullptr;) {
    view.numas.push_back({static_cast<int32_t>(numa->os_index), list_of(numa->cpuset), numa->gp_index});
  }
  add_normal(root, view);
  add_matrices(topology, view);
  return graph_of_view(view, origin);
}

}  // namespace comity::topology
