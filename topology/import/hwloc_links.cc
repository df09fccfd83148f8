#include "topology/import/hwloc_links.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace comity::topology {

namespace {

constexpr uint64_t kMega = 1'000'000;
constexpr uint64_t kMostMegaBytesPerS = 10'000'000;  // beyond is no bandwidth of one machine's links

// One link one way by the name of the model, from data sheets; 0: unknown.
uint64_t link_bytes_per_s(LinkKind kind, const std::string& model) {
  struct Row {
    const char* model;
    LinkKind kind;
    uint64_t mega_bytes_per_s;
  };
  constexpr Row kRows[] = {
      {"P100", LinkKind::kNvlink, 20'000}, {"V100", LinkKind::kNvlink, 25'000},
      {"A100", LinkKind::kNvlink, 25'000}, {"A800", LinkKind::kNvlink, 25'000},
      {"A30", LinkKind::kNvlink, 25'000},  {"H100", LinkKind::kNvlink, 25'000},
      {"H200", LinkKind::kNvlink, 25'000}, {"H800", LinkKind::kNvlink, 25'000},
      {"H20", LinkKind::kNvlink, 25'000},  {"B100", LinkKind::kNvlink, 50'000},
      {"B200", LinkKind::kNvlink, 50'000}, {"B300", LinkKind::kNvlink, 50'000},
      {"MI50", LinkKind::kXgmi, 46'000},   {"MI60", LinkKind::kXgmi, 46'000},
      {"MI100", LinkKind::kXgmi, 46'000},  {"MI2", LinkKind::kXgmi, 50'000},
      {"MI30", LinkKind::kXgmi, 64'000},   {"MI35", LinkKind::kXgmi, 76'800},
  };
  for (const Row& row : kRows) {
    if (row.kind == kind && model.find(row.model) != std::string::npos) return row.mega_bytes_per_s * kMega;
  }
  return 0;
}

// hwloc before 2.9.3 takes NVLink 3 and 4 for 50 GB/s a link: twice what they have one way (its NEWS
// of 2.9.3).
bool doubles_nvlink(const HwlocView& view, const std::string& model) {
  const auto found = view.infos.find("hwlocVersion");
  if (found == view.infos.end() || model.find("V100") != std::string::npos ||
      model.find("P100") != std::string::npos) {
    return false;
  }
  uint32_t parts[3] = {0, 0, 0};
  const char* at = found->second.data();
  const char* const end = at + found->second.size();
  for (uint32_t& part : parts) {
    const auto [next, error] = std::from_chars(at, end, part);
    if (error != std::errc()) break;
    at = next != end && *next == '.' ? next + 1 : next;
  }
  return parts[0] < 2 || (parts[0] == 2 && (parts[1] < 9 || (parts[1] == 9 && parts[2] < 3)));
}

struct Cell {
  uint32_t from = 0, to = 0;
  LinkKind kind = LinkKind::kNvlink;
  uint64_t mega_bytes_per_s = 0;
};

void add_cell(const HwlocView& view, const Cell& cell, Graph& graph) {
  const bool from_device = graph.nodes[cell.from].kind == NodeKind::kDevice;
  const std::string& model = graph.nodes[from_device ? cell.from : cell.to].name;
  const uint64_t one = link_bytes_per_s(cell.kind, model);
  Link link;
  link.from = cell.from, link.to = cell.to;
  link.kind = cell.kind;
  uint64_t total = cell.mega_bytes_per_s * kMega;
  link.source = Source::kReported;
  if (cell.kind == LinkKind::kNvlink && one == 25'000 * kMega && doubles_nvlink(view, model)) total /= 2;
  if (cell.kind == LinkKind::kXgmi &&
      cell.mega_bytes_per_s == 100'000) {  // ROCm SMI's placeholder, not a figure
    total = one;
    link.source = one != 0 ? Source::kDataSheet : Source::kGuess;
  }
  if (cell.kind == LinkKind::kXeLink) link.source = Source::kGuess;  // its unit is in doubt
  if (total == 0) total = 50'000 * kMega;
  link.count = one != 0 && total % one == 0 && total / one <= 64 ? static_cast<uint32_t>(total / one) : 1;
  link.bandwidth_bytes_per_s = total / link.count;
  const bool to_cpu =
      graph.nodes[cell.from].kind == NodeKind::kNuma || graph.nodes[cell.to].kind == NodeKind::kNuma;
  if (to_cpu) link.kind = LinkKind::kC2c;  // NVLink to a POWER: it joins no island
  graph.add(std::move(link));
}

uint32_t vendor_switch(HwlocNodes& nodes, Graph& graph) {
  const auto known = nodes.by_serial.find(nodes.switch_serials.front());
  if (known != nodes.by_serial.end()) return known->second;
  Node node;
  node.kind = NodeKind::kVendorSwitch;
  node.name = "NVSwitch";
  node.vendor = "nvidia";
  const uint32_t index = graph.add(std::move(node));
  for (const uint64_t serial : nodes.switch_serials) nodes.by_serial.emplace(serial, index);
  return index;
}

// Sums what parts of one switch, and devices of one PCI function, have between the same two nodes.
void add_matrix(const HwlocView& view, const HwlocMatrix& matrix, LinkKind kind, const HwlocNodes& nodes,
                Graph& graph) {
  std::map<std::pair<uint32_t, uint32_t>, uint64_t> sums;
  const size_t size = matrix.objects.size();
  for (size_t row = 0; row < size; ++row) {
    const auto from = nodes.by_serial.find(matrix.objects[row]);
    for (size_t column = 0; column < size && from != nodes.by_serial.end(); ++column) {
      const auto to = nodes.by_serial.find(matrix.objects[column]);
      const uint64_t value = std::min(matrix.values[row * size + column], kMostMegaBytesPerS);
      if (to == nodes.by_serial.end() || to->second == from->second || value == 0) continue;
      uint64_t& sum = sums[{from->second, to->second}];
      sum = std::min(sum + value, kMostMegaBytesPerS);
    }
  }
  for (const auto& [ends, value] : sums) add_cell(view, {ends.first, ends.second, kind, value}, graph);
}

}  // namespace

void add_hwloc_links(const HwlocView& view, HwlocNodes& nodes, Graph& graph) {
  const auto named = [&](const char* name) {
    return std::find_if(view.matrices.begin(), view.matrices.end(),
                        [&](const HwlocMatrix& matrix) { return matrix.name == name; });
  };
  const auto nvlink = named("NVLinkBandwidth"), xgmi = named("XGMIBandwidth"),
             xelink = named("XeLinkBandwidth");
  if (nvlink != view.matrices.end()) {
    if (!nodes.switch_serials.empty()) vendor_switch(nodes, graph);
    add_matrix(view, *nvlink, LinkKind::kNvlink, nodes, graph);
  }
  if (xgmi != view.matrices.end()) add_matrix(view, *xgmi, LinkKind::kXgmi, nodes, graph);
  if (xelink != view.matrices.end()) add_matrix(view, *xelink, LinkKind::kXeLink, nodes, graph);
  const auto hops = named("XGMIHops");
  if (xgmi == view.matrices.end() && hops != view.matrices.end()) {
    HwlocMatrix direct = *hops;  // one hop: a link of an unknown bandwidth
    for (uint64_t& value : direct.values) value = value == 1 ? 100'000 : 0;
    add_matrix(view, direct, LinkKind::kXgmi, nodes, graph);
  }
}

}  // namespace comity::topology
