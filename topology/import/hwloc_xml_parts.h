// Notations within hwloc's XML. Internal to its importer.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "topology/import/hwloc_view.h"
#include "topology/import/xml.h"

namespace comity::topology {

// "0x00000303,,0x1": words of 32 bits, the highest first, an empty one being 0. nullopt: not such, of more
// than 65,536 bits, or infinite ("0xf...f").
std::optional<std::set<uint32_t>> hwloc_bitmap_numbers(std::string_view text);
// "0-15,32-47".
std::string list_text(const std::set<uint32_t>& numbers);
// Class, ids and subsystem ids from pci_type.
bool parse_pci_type(const std::string& text, HwlocObject& object);
// Numbers of version 2 are an enumeration, those of version 3 a mask.
HwlocObject::OsDevice os_device_of_type(int type, int64_t version);
// `wanted` becomes whether it is one that the graph is made from.
Status read_hwloc_matrix(const XmlText& xml, const pugi::xml_node& element, HwlocMatrix& matrix,
                         bool& wanted);

}  // namespace comity::topology
