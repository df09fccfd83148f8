// Elements of NCCL's XML: tags, and devices with their links.

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "src/base/text.h"
#include "topology/export/nccl_writer.h"
#include "topology/import/pci.h"
#include "topology/import/xml_name.h"

namespace comity::topology {

namespace {

constexpr std::string_view kKept = "nccl.kept.";

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    if (c == '\0') {
      safe += '?';  // XML has no way to say it
    } else if (c == '<' || c == '>' || c == '&' || c == '"' || static_cast<unsigned char>(c) < 0x20) {
      safe += fmt::format("&#{};", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      safe += c;
    }
  }
  return safe;
}

}  // namespace

std::string attribute_of(const Node& node, std::string_view key) {
  const auto found = node.attributes.find(std::string(key));
  return found == node.attributes.end() ? std::string() : found->second;
}

std::string affinity_of(std::string_view list) {
  std::vector<uint32_t> words;
  for (const std::string_view part : split_list(list)) {
    const auto range = range_of(part);
    if (!range || range->second >= 65536) return "";
    const auto [first, last] = *range;
    words.resize(std::max<size_t>(words.size(), last / 32 + 1));
    for (uint32_t cpu = first; cpu <= last; ++cpu) words[cpu / 32] |= 1U << cpu % 32;
  }
  std::string text;
  for (auto word = words.rbegin(); word != words.rend(); ++word)
    text += fmt::format("{}{:08x}", text.empty() ? "" : ",", *word);
  return text;
}

void XmlTag::set(std::string_view key, std::string_view value) {
  if (!is_plain_xml_name(key) || !keys_.emplace(key).second) return;
  text_ += fmt::format(" {}=\"{}\"", key, escaped(value));
}

void XmlTag::copy(const Node& node, std::string_view prefix, const std::vector<std::string_view>& first) {
  for (const std::string_view key : first) {
    const auto found = node.attributes.find(std::string(prefix) + std::string(key));
    if (found != node.attributes.end()) set(key, found->second);
  }
  for (const auto& [key, value] : node.attributes) {
    if (key.substr(0, prefix.size()) == prefix) set(std::string_view(key).substr(prefix.size()), value);
  }
}

std::string XmlTag::open(int depth) const {
  return fmt::format("{:{}}<{}{}>\n", "", depth * 2, name_, text_);
}
std::string XmlTag::close(int depth) const {
  return fmt::format("{:{}}</{}>\n", "", depth * 2, name_);
}
std::string XmlTag::whole(int depth) const {
  return fmt::format("{:{}}<{}{}/>\n", "", depth * 2, name_, text_);
}

// Links that the graph could not have: see NcclReader::keep.
void NcclWriter::write_kept(const Node& node, int depth) {
  for (auto at = node.attributes.lower_bound(std::string(kKept)); at != node.attributes.end(); ++at) {
    std::string_view key = at->first;
    if (key.substr(0, kKept.size()) != kKept) break;
    key.remove_prefix(kKept.size());
    const size_t blank = key.find(' ');
    if (blank == std::string_view::npos || !is_plain_xml_name(key.substr(0, blank))) continue;
    const size_t middle = std::min(at->second.find(' '), at->second.size());
    XmlTag tag{std::string(key.substr(0, blank))};
    tag.set("target", key.substr(blank + 1));
    tag.set("count", at->second.substr(0, middle));
    if (middle + 1 < at->second.size()) tag.set("tclass", at->second.substr(middle + 1));
    text_ += tag.whole(depth);
  }
}

namespace {

std::string attribute_of(const Link& link, const char* key) {
  const auto found = link.attributes.find(key);
  return found == link.attributes.end() ? std::string() : found->second;
}

// What the reader takes a link for that tells no bandwidth.
uint64_t taken_for(std::string_view element, const std::string& gcn, int sm) {
  if (element == "nvlink")
    return nvlink_bytes_per_s(sm) != 0 ? nvlink_bytes_per_s(sm) : nvlink_bytes_per_s(70);
  if (element == "xgmi") return xgmi_bytes_per_s(gcn) != 0 ? xgmi_bytes_per_s(gcn) : xgmi_bytes_per_s("90a");
  return 0;
}

}  // namespace

void NcclWriter::write_link(const Link& link, const std::string& gcn, int sm, int depth) {
  const Node& to = graph_.nodes[link.to];
  std::string element = attribute_of(link, "nccl.element");
  if (!is_plain_xml_name(element))
    element = link.kind == LinkKind::kC2c ? "c2c" : std::string(name_of(link.kind));
  const bool c2c = element == "c2c";
  const bool priced =
      link.bandwidth_bytes_per_s != 0 &&
      (link.source == Source::kReported || link.bandwidth_bytes_per_s != taken_for(element, gcn, sm));
  // In MB/s, and no more than the reader takes.
  const std::string bandwidth =
      std::to_string(std::min<uint64_t>(link.bandwidth_bytes_per_s / 1'000'000, 10'000'000));
  const auto write = [&](std::string_view target, std::string_view count, std::string_view target_class) {
    XmlTag tag(element);
    if (!c2c) tag.set("target", target);
    if (c2c) tag.set("bw", bandwidth);
    tag.set("count", count);
    if (!c2c) tag.set("tclass", target_class);
    if (priced) tag.set("bw", bandwidth);
    text_ += tag.whole(depth);
  };
  const std::string count = std::to_string(std::min(link.count, 1U << 20));
  if (to.kind == NodeKind::kDevice) {
    std::string target_class = attribute_of(link, "nccl.tclass");
    if (target_class.empty()) target_class = attribute_of(to, "pci.class");
    if (target_class.empty()) target_class = default_pci_class(to);
    // A device of a switch's class would be read back as a switch.
    if (target_class.starts_with("0x0680")) target_class.clear();
    return write(bus_ids_[link.to], count, target_class);
  }
  const bool to_switch = to.kind == NodeKind::kVendorSwitch;
  std::string targets = attribute_of(link, "nccl.targets");  // "0000:c4:00.0=2 0000:c5:00.0=2"
  if (targets.empty()) targets = fmt::format("{}={}", to_switch ? "fffffff:ffff:ff" : "0000:00:00.0", count);
  for (std::string_view rest = targets; !rest.empty();) {
    const std::string_view part = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    const size_t sign = std::min(part.rfind('='), part.size());
    write(part.substr(0, sign), part.substr(std::min(part.size(), sign + 1)),
          to_switch ? "0x068000" : "0x068001");
  }
}

void NcclWriter::write_device_links(uint32_t index, const std::string& gcn, int sm, int depth) {
  for (const uint32_t number : out_[index]) {
    const Link& link = graph_.links[number];
    const Node& to = graph_.nodes[link.to];
    const bool near = to.host == graph_.nodes[index].host || to.kind == NodeKind::kVendorSwitch;
    const bool end =
        to.kind == NodeKind::kDevice || to.kind == NodeKind::kVendorSwitch || to.kind == NodeKind::kNuma;
    if (near && end && (joins_islands(link.kind) || link.kind == LinkKind::kC2c) &&
        !written_with_first_part(link))
      write_link(link, gcn, sm, depth);
  }
  write_kept(graph_.nodes[index], depth);
}

// A target is a bus id: a link to one part of a device is one to all of them.
bool NcclWriter::written_with_first_part(const Link& link) const {
  return std::any_of(out_[link.from].begin(), out_[link.from].end(), [&](uint32_t number) {
    const Link& other = graph_.links[number];
    return other.to < link.to && other.kind == link.kind && graph_.nodes[link.to].kind == NodeKind::kDevice &&
           graph_.nodes[other.to].host == graph_.nodes[link.to].host && is_part_of(other.to, link.to) &&
           parent_[other.to] == parent_[link.to] &&
           attribute_of(other, "nccl.element") == attribute_of(link, "nccl.element") &&
           other.bandwidth_bytes_per_s == link.bandwidth_bytes_per_s;
  });
}

void NcclWriter::write_devices(const std::vector<uint32_t>& parts, int depth) {
  const XmlTag outer = pci(parts.front());
  const size_t before = text_.size();
  text_ += outer.open(depth);
  bool written = false;
  for (const uint32_t part : parts) written = write_device(part, parts.size() == 1, depth + 1) || written;
  if (written) {
    text_ += outer.close(depth);
    return;
  }
  text_.resize(before);
  text_ += outer.whole(depth);
}

bool NcclWriter::write_device(uint32_t index, bool alone, int depth) {
  const Node& node = graph_.nodes[index];
  const std::string tag_name =
      attribute_of(node, "nccl.tag").empty() ? "gpu" : attribute_of(node, "nccl.tag");
  XmlTag gpu(is_plain_xml_name(tag_name) ? tag_name : "gpu");
  gpu.copy(node, "nccl.gpu.", {"dev", "sm", "gcn", "arch", "rank", "gdr"});
  const bool came_so = !gpu.empty();
  const uint32_t number = devices_++;
  std::string gcn = attribute_of(node, "nccl.gpu.gcn");
  int sm = std::atoi(attribute_of(node, came_so ? "nccl.gpu.sm" : "sm").c_str());
  if (!came_so) {
    for (const uint32_t link : out_[index]) {  // the generation whose links have this figure
      const uint64_t bandwidth = graph_.links[link].bandwidth_bytes_per_s;
      if (graph_.links[link].kind == LinkKind::kNvlink && sm == 0)
        sm = bandwidth == nvlink_bytes_per_s(60) ? 60 : bandwidth == nvlink_bytes_per_s(100) ? 100 : 80;
      for (const char* known : {"gfx908", "gfx90a", "gfx942", "gfx950"}) {
        if (graph_.links[link].kind == LinkKind::kXgmi && bandwidth == xgmi_bytes_per_s(known)) gcn = known;
      }
    }
    gpu.set("dev", std::to_string(number));
    gpu.set("sm", std::to_string(sm));
    if (!gcn.empty()) gpu.set("gcn", gcn);
    gpu.set("rank", std::to_string(number));
    gpu.set("gdr", "1");
  }
  const size_t before = text_.size();
  text_ += gpu.open(depth);
  const size_t opened = text_.size();
  write_device_links(index, gcn, sm, depth + 1);
  if (text_.size() > opened) {
    text_ += gpu.close(depth);
    return true;
  }
  text_.resize(before);
  if (alone && !came_so && !came_without_pci(node)) return false;  // NCCL fills it in on the machine
  text_ += gpu.whole(depth);
  return true;
}

}  // namespace comity::topology
