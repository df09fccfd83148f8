#include "topology/import/hwloc_xml_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <pugixml.hpp>

namespace comity::topology {

namespace {

constexpr size_t kMostWords = 2048;
constexpr int64_t kMostObjects = 1024;

// Blank-separated words of all children of that name, in order.
template <typename Each>
bool each_word(const pugi::xml_node& element, const char* name, Each each) {
  for (const pugi::xml_node& child : element.children(name)) {
    std::string_view text = child.child_value();
    while (true) {
      const size_t from = text.find_first_not_of(" \t\r\n");
      if (from == std::string_view::npos) break;
      text.remove_prefix(from);
      const std::string_view word = text.substr(0, text.find_first_of(" \t\r\n"));
      if (!each(word)) return false;
      text.remove_prefix(word.size());
    }
  }
  return true;
}

bool number(std::string_view text, uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

std::optional<std::set<uint32_t>> hwloc_bitmap_numbers(std::string_view text) {
  std::set<uint32_t> numbers;
  if (text.empty()) return numbers;
  const size_t words = 1 + static_cast<size_t>(std::count(text.begin(), text.end(), ','));
  if (words > kMostWords) return std::nullopt;
  for (size_t word = words; word-- > 0;) {
    std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    if (part.empty()) continue;
    if (part.substr(0, 2) == "0x") part.remove_prefix(2);
    uint32_t bits = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), bits, 16);
    if (error != std::errc() || end != part.data() + part.size()) return std::nullopt;
    for (uint32_t bit = 0; bit < 32; ++bit) {
      if ((bits >> bit & 1) != 0) numbers.insert(static_cast<uint32_t>(word) * 32 + bit);
    }
  }
  return numbers;
}

std::string list_text(const std::set<uint32_t>& numbers) {
  std::string text;
  for (auto at = numbers.begin(); at != numbers.end();) {
    const uint32_t first = *at;
    uint32_t last = first;
    while (++at != numbers.end() && *at == last + 1) last = *at;
    text += fmt::format("{}{}", text.empty() ? "" : ",", first);
    if (last != first) text += fmt::format("-{}", last);
  }
  return text;
}

bool parse_pci_type(const std::string& text, HwlocObject& object) {
  unsigned code = 0, vendor = 0, device = 0, subsystem_vendor = 0, subsystem_device = 0, revision = 0,
           interface = 0;
  const int fields = std::sscanf(text.c_str(), "%4x [%4x:%4x] [%4x:%4x] %2x %2x", &code, &vendor, &device,
                                 &subsystem_vendor, &subsystem_device, &revision, &interface);
  if (fields < 5) return false;
  object.class_code = code << 8 | interface;
  object.vendor = static_cast<uint16_t>(vendor), object.device = static_cast<uint16_t>(device);
  object.subsystem_vendor = static_cast<uint16_t>(subsystem_vendor);
  object.subsystem_device = static_cast<uint16_t>(subsystem_device);
  return true;
}

HwlocObject::OsDevice os_device_of_type(int type, int64_t version) {
  HwlocObject::OsDevice device;
  if (type < 0) return device;
  if (version >= 3) {
    device.compute = (type & 8) != 0, device.network = (type & 16) != 0, device.fabric = (type & 32) != 0;
  } else {
    device.compute = type == 5, device.network = type == 2, device.fabric = type == 3;
  }
  return device;
}

Status read_hwloc_matrix(const XmlText& xml, const pugi::xml_node& element, HwlocMatrix& matrix,
                         bool& wanted) {
  constexpr std::array<std::string_view, 4> kWanted = {"NVLinkBandwidth", "XGMIBandwidth", "XGMIHops",
                                                       "XeLinkBandwidth"};
  matrix.name = element.attribute("name").value();
  wanted = std::find(kWanted.begin(), kWanted.end(), matrix.name) != kWanted.end();
  if (!wanted) return {};
  int64_t objects = 0;
  COMITY_RETURN_IF_ERROR(xml.number(element, "nbobjs", 1, kMostObjects, objects));
  const auto size = static_cast<size_t>(objects);
  const bool read = each_word(element, "indexes", [&](std::string_view word) {
    const size_t colon = word.find(':');
    uint64_t serial = 0;
    if (!number(word.substr(colon == std::string_view::npos ? 0 : colon + 1), serial)) return false;
    matrix.objects.push_back(serial);
    return matrix.objects.size() <= size;
  });
  const bool valued = each_word(element, "u64values", [&](std::string_view word) {
    matrix.values.push_back(0);
    return number(word, matrix.values.back()) && matrix.values.size() <= size * size;
  });
  if (!read || !valued || matrix.objects.size() != size || matrix.values.size() != size * size) {
    return xml.bad(element, fmt::format("the matrix {} does not have {} objects and {} numbers", matrix.name,
                                        size, size * size));
  }
  return {};
}

}  // namespace comity::topology
