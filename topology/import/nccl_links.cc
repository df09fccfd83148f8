// The second pass: elements that name their other end by bus id.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "topology/import/nccl_reader.h"
#include "topology/import/pci.h"

namespace comity::topology {

namespace {

// What NCCL calls a target that it cannot see from within a virtual machine: an NVSwitch.
constexpr std::string_view kUnseenSwitch = "fffffff:ffff:ff";

LinkKind kind_of(const std::string& element) {
  LinkKind kind = LinkKind::kVendor;
  if (!parse(element, kind) || !joins_islands(kind)) kind = LinkKind::kVendor;
  return element == "c2c" ? LinkKind::kC2c : kind;
}

std::string text_of(const Node& node, const char* key) {
  const auto found = node.attributes.find(key);
  return found == node.attributes.end() ? std::string() : found->second;
}

uint64_t cpu_bytes_per_s(const Node& cpu) {
  return cpu_link_bytes_per_s(text_of(cpu, "nccl.cpu.arch"), text_of(cpu, "nccl.cpu.vendor"));
}

uint32_t number_in(const std::string& text) {
  uint32_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

Link NcclReader::priced(const Pending& pending, LinkKind kind) const {
  Link link;
  link.kind = kind;
  if (kind == LinkKind::kVendor) link.attributes["nccl.element"] = pending.element;  // of a name of its own
  link.from = pending.from;
  link.count = static_cast<uint32_t>(pending.count);
  if (pending.mega_bytes_per_s > 0) {
    link.bandwidth_bytes_per_s = static_cast<uint64_t>(pending.mega_bytes_per_s) * 1'000'000;
    link.source = Source::kReported;
    return link;
  }
  const Node& device = graph_.nodes[pending.from];
  link.source = Source::kDataSheet;
  if (kind == LinkKind::kNvlink)
    link.bandwidth_bytes_per_s =
        nvlink_bytes_per_s(static_cast<int>(number_in(text_of(device, "nccl.gpu.sm"))));
  if (kind == LinkKind::kXgmi) link.bandwidth_bytes_per_s = xgmi_bytes_per_s(text_of(device, "nccl.gpu.gcn"));
  if (link.bandwidth_bytes_per_s > 0) return link;
  link.source = Source::kGuess;
  if (kind == LinkKind::kNvlink) link.bandwidth_bytes_per_s = nvlink_bytes_per_s(70);
  if (kind == LinkKind::kXgmi) link.bandwidth_bytes_per_s = xgmi_bytes_per_s("90a");
  return link;
}

Status NcclReader::gather(const Pending& pending, Link link) {
  const auto key =
      std::make_tuple(link.from, link.to, link.kind, link.bandwidth_bytes_per_s, pending.element);
  const auto [found, fresh] = gathered_.emplace(key, graph_.links.size());
  if (fresh) {
    graph_.add(std::move(link));
    return {};
  }
  Link& there = graph_.links[found->second];
  if (link.count > (1U << 20) - std::min(there.count, 1U << 20)) {
    return {Code::kInvalidArgument, fmt::format("more than 1,048,576 links of {} to {}",
                                                graph_.nodes[pending.from].bus_id, pending.target)};
  }
  there.count += link.count;
  const auto targets = link.attributes.find("nccl.targets");
  if (targets != link.attributes.end()) there.attributes["nccl.targets"] += " " + targets->second;
  return {};
}

// A link that the graph cannot have (to itself, or to a device that is not there) stays as an attribute, so
// that it is written again: "nccl.kept.nvlink 0001:00:00.0" = "12 0x030200".
void NcclReader::keep(const Pending& pending) {
  std::string& kept =
      graph_.nodes[pending.from].attributes[fmt::format("nccl.kept.{} {}", pending.element, pending.target)];
  const int64_t before = pending.element == "pcilink" ? 0 : number_in(kept);  // of which there is one
  kept = fmt::format("{} {}", before + pending.count, pending.target_class);
}

Status NcclReader::link_to_switch(const Pending& pending, LinkKind kind) {
  const uint32_t host = graph_.nodes[pending.from].host;
  const auto [found, fresh] = switches_.emplace(std::make_pair(host, kind), 0);
  if (fresh) {
    Node node;
    node.kind = NodeKind::kVendorSwitch;
    node.host = host;
    node.vendor = kind == LinkKind::kNvlink ? "nvidia" : kind == LinkKind::kXgmi ? "amd" : "";
    node.name = kind == LinkKind::kNvlink ? "NVSwitch" : "switch";
    found->second = graph_.add(std::move(node));
  }
  Link link = priced(pending, kind);
  link.to = found->second;
  link.shared = shared_by_parts(pending, link);
  link.attributes["nccl.targets"] = fmt::format("{}={}", pending.target, pending.count);
  COMITY_RETURN_IF_ERROR(gather(pending, link));
  std::swap(link.from, link.to);
  link.shared = shared_by_parts(pending, link);
  link.attributes.erase("nccl.targets");
  return gather(pending, std::move(link));
}

Status NcclReader::link_devices(const Pending& pending, LinkKind kind) {
  const auto bus_id = normal_bus_id(pending.target);
  const uint32_t host = graph_.nodes[pending.from].host;
  const auto found = bus_id ? places_.find(std::make_tuple(host, NodeKind::kDevice, *bus_id)) : places_.end();
  if (found == places_.end() || graph_.nodes[pending.from].bus_id == *bus_id) {
    keep(pending);
    return {};
  }
  const auto parts = parts_.find(found->second);
  const uint32_t end = found->second + (parts == parts_.end() ? 1 : parts->second);
  for (uint32_t to = found->second; to < end; ++to) {
    Link link = priced(pending, kind);
    link.to = to;
    link.shared = shared_by_parts(pending, link);
    const auto& target = graph_.nodes[link.to].attributes;
    const auto known = target.find("pci.class");
    if (!pending.target_class.empty() && (known == target.end() || known->second != pending.target_class))
      link.attributes["nccl.tclass"] = pending.target_class;
    COMITY_RETURN_IF_ERROR(gather(pending, std::move(link)));
  }
  return {};
}

Status NcclReader::link_pending() {
  for (const Pending& pending : pending_) {
    const LinkKind kind = kind_of(pending.element);
    const std::string_view target_class = pending.target_class;
    if (pending.element == "pcilink") {
      const auto bus_id = normal_bus_id(pending.target);
      const auto key =
          std::make_tuple(graph_.nodes[pending.from].host, NodeKind::kPcieSwitch, bus_id.value_or(""));
      const auto found = places_.find(key);
      if (graph_.nodes[pending.from].kind != NodeKind::kPcieSwitch || found == places_.end() ||
          found->second == pending.from) {
        keep(pending);
        continue;
      }
      Link link;
      link.kind = LinkKind::kPcie;
      link.from = pending.from, link.to = found->second;
      link.attributes["nccl.pcilink"] = "1";
      const auto ends = std::make_tuple(link.from, link.to, link.kind, uint64_t{0}, pending.element);
      if (gathered_.emplace(ends, graph_.links.size()).second) graph_.add(std::move(link));
    } else if (kind == LinkKind::kC2c || target_class == "0x068001") {
      Link link = priced(pending, kind);
      link.kind = LinkKind::kC2c;  // also NVLink to a POWER9: it joins no island
      link.to = pending.cpu;
      if (kind != LinkKind::kC2c) {
        link.attributes["nccl.targets"] = fmt::format("{}={}", pending.target, pending.count);
        link.attributes["nccl.element"] = pending.element;
      }
      link.shared = shared_by_parts(pending, link);
      COMITY_RETURN_IF_ERROR(gather(pending, link));
      std::swap(link.from, link.to);
      link.shared = shared_by_parts(pending, link);
      link.attributes.erase("nccl.targets");
      COMITY_RETURN_IF_ERROR(gather(pending, std::move(link)));
    } else if (target_class.substr(0, 6) == "0x0680" || pending.target == kUnseenSwitch) {
      COMITY_RETURN_IF_ERROR(link_to_switch(pending, kind));
    } else {
      COMITY_RETURN_IF_ERROR(link_devices(pending, kind));
    }
  }
  return {};
}

// All domains of a host pairwise, as NCCL does: the file does not tell.
void NcclReader::join_cpus() {
  for (auto one = cpus_.begin(); one != cpus_.end(); ++one) {
    for (auto other = std::next(one); other != cpus_.end() && other->first.first == one->first.first;
         ++other) {
      Link link;
      link.kind = LinkKind::kCpu;
      link.from = one->second, link.to = other->second;
      link.bandwidth_bytes_per_s =
          std::min(cpu_bytes_per_s(graph_.nodes[link.from]), cpu_bytes_per_s(graph_.nodes[link.to]));
      graph_.join(std::move(link));
    }
  }
}

}  // namespace comity::topology
