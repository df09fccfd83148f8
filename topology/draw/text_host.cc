// One host as text.

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <tuple>

#include "topology/draw/text_parts.h"
#include "topology/paths.h"

namespace comity::topology {
namespace {

std::string source_text(Source source) {
  std::string text(name_of(source));
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

std::string link_text(const Link& link) {
  std::string text = fmt::format("{} {}", name_of(link.kind), figure_text(link));
  if (link.latency_ns > 0) text += fmt::format(", {} ns", link.latency_ns);
  if (!link.shared.empty()) text += ", shared";
  return text + fmt::format(" ({})", source_text(link.source));
}

const std::string* told(const Node& node, const char* key) {
  const auto found = node.attributes.find(key);
  return found == node.attributes.end() || found->second.empty() ? nullptr : &found->second;
}

uint64_t number_told(const Node& node, const char* key) {
  uint64_t value = 0;
  if (const std::string* text = told(node, key); text != nullptr)
    std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

std::string bytes_text(uint64_t bytes) {
  constexpr uint64_t kGib = 1u << 30;
  if (bytes >= kGib) return fmt::format("{:.4g} GiB", static_cast<double>(bytes) / kGib);
  return fmt::format("{:.4g} MiB", static_cast<double>(bytes) / (1u << 20));
}

// "; 2 cores, CPUs 0-3, 64 GiB, L1d 48 KiB, L2 1 MiB"
std::string numa_text(const Node& node) {
  std::vector<std::string> parts;
  if (const uint64_t cores = number_told(node, "cores"); cores > 0) parts.push_back(counted(cores, "core"));
  const std::string* cpus = told(node, "cpuset");
  if (cpus == nullptr) cpus = told(node, "cpus");
  if (cpus != nullptr) parts.push_back("CPUs " + *cpus);
  if (const uint64_t memory = number_told(node, "memory_bytes"); memory > 0)
    parts.push_back(bytes_text(memory));
  if (const std::string* caches = told(node, "caches"); caches != nullptr) parts.push_back(*caches);
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "; " : ", ") + part;
  return text;
}

// "; port: infiniband 25 GB/s, active"
std::string port_text(const Node& node) {
  const std::string *kind = told(node, "net.kind"), *state = told(node, "net.state");
  const uint64_t speed = number_told(node, "net.bandwidth_bytes_per_s");
  if (kind == nullptr && state == nullptr && speed == 0) return "";
  std::string text = "; port:";
  if (kind != nullptr) text += " " + *kind;
  text += speed == 0 ? " speed unknown" : " " + bandwidth_text(speed);
  return state == nullptr ? text : text + ", " + *state;
}

// What a line of the tree says behind its link.
std::string details_text(const Node& node) {
  std::string text;
  if (node.kind == NodeKind::kNuma) text = numa_text(node);
  if (node.kind == NodeKind::kNic) text = port_text(node);
  const std::string *now = told(node, "pcie.current"), *most = told(node, "pcie.max");
  if (now != nullptr && most != nullptr && *now != *most)
    text += fmt::format("; runs at {} of {}", *now, *most);
  return text;
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

// "each pair of gpu0-gpu7", or else the pairs one by one: "gpu0:gpu3, gpu0:gpu4".
std::string pairs_text(const Pairs& pairs) {
  std::vector<std::string> ends;
  std::string text;
  for (const auto& [a, b] : pairs) {
    for (const std::string& each : {a, b}) {
      if (std::find(ends.begin(), ends.end(), each) == ends.end()) ends.push_back(each);
    }
    text += fmt::format("{}{}:{}", text.empty() ? "" : ", ", a, b);
  }
  const bool all = ends.size() > 2 && pairs.size() == ends.size() * (ends.size() - 1) / 2;
  return all ? "each pair of " + ids_text(ends) : text;
}

// A link of the tree, of either direction. Another one beside it, of another kind or other figures, is none.
using TreeLink = std::tuple<uint32_t, uint32_t, uint64_t>;

TreeLink undirected(const Link& link) {
  return {std::min(link.from, link.to), std::max(link.from, link.to), figures_of(link)};
}

std::set<TreeLink> tree_links(const Graph& graph, const HostOutline& host) {
  std::set<TreeLink> links;
  for (int64_t index : host.link) {
    if (index >= 0) links.insert(undirected(graph.links[static_cast<size_t>(index)]));
  }
  return links;
}

void add_cell(std::string& text, std::string_view cell, size_t width) {
  text += fmt::format(" {:>{}}", cell, width);
}

std::string path_cell(const PathInfo& path) {
  if (path.path_class == PathClass::kLoc) return "X";
  if (path.path_class == PathClass::kDis) return "-";
  if (path.bandwidth_bytes_per_s == 0 || path.bandwidth_bytes_per_s == UINT64_MAX)
    return std::string(name_of(path.path_class));
  return fmt::format("{} {:.4g}", name_of(path.path_class),
                     static_cast<double>(path.bandwidth_bytes_per_s) / 1e9);
}

// The number by which its own runtime or tool knows a device; -1: not told.
int64_t own_number(const Node& device) {
  for (const char* key : {"nccl.gpu.dev", "smi.name"}) {
    const std::string* text = told(device, key);
    if (text == nullptr) continue;
    const size_t digits = text->find_last_not_of("0123456789") + 1;
    if (digits < text->size() && text->size() - digits < 9) return std::stol(text->substr(digits));
  }
  return -1;
}

// A device and the NICs of the nearest class.
struct Nearest {
  int64_t number = -1;
  std::string device, text;
};

Nearest nearest_of(const Graph& graph, uint32_t device, const std::vector<uint32_t>& shown,
                   const std::vector<PathInfo>& paths) {
  PathClass best = PathClass::kDis;
  std::vector<std::string> nics;
  for (uint32_t to : shown) {
    if (graph.nodes[to].kind != NodeKind::kNic || paths[to].path_class > best) continue;
    if (paths[to].path_class < best) nics.clear();
    best = paths[to].path_class;
    if (best != PathClass::kDis) nics.push_back(short_id(graph.nodes[to]));
  }
  if (nics.empty()) return {};
  return {own_number(graph.nodes[device]), short_id(graph.nodes[device]),
          fmt::format("{} ({})", ids_text(nics), name_of(best))};
}

std::string nearest_text(std::vector<Nearest> devices) {
  std::erase_if(devices, [](const Nearest& each) { return each.device.empty(); });
  if (devices.empty()) return "";
  std::stable_sort(devices.begin(), devices.end(),
                   [](const Nearest& a, const Nearest& b) { return a.number < b.number; });
  std::string text = "  nearest NICs\n";
  for (const Nearest& each : devices) {
    const bool renumbered = each.number >= 0 && each.device != fmt::format("gpu{}", each.number);
    text += fmt::format("  {}{}: {}\n", each.device,
                        renumbered ? fmt::format(" (number {})", each.number) : "", each.text);
  }
  return text;
}

}  // namespace

// "gpu0-gpu7", "nic0, nic2": ids in order that end in consecutive numbers.
std::string ids_text(const std::vector<std::string>& ids) {
  const auto split = [](const std::string& id) {
    const size_t end = id.find_last_not_of("0123456789") + 1;
    const bool numbered = end < id.size() && id.size() - end < 9;
    return std::pair{id.substr(0, end), numbered ? std::stol(id.substr(end)) : -1L};
  };
  std::string text;
  for (size_t i = 0; i < ids.size();) {
    size_t last = i;
    const auto [stem, first] = split(ids[i]);
    while (first >= 0 && last + 1 < ids.size() &&
           split(ids[last + 1]) == std::pair{stem, first + static_cast<long>(last + 1 - i)})
      ++last;
    text += text.empty() ? "" : ", ";
    text += last == i ? ids[i] : fmt::format("{}{}{}", ids[i], last == i + 1 ? ", " : "-", ids[last]);
    i = last + 1;
  }
  return text;
}

// "3 hosts", "1 host".
std::string counted(size_t count, std::string_view one) {
  return fmt::format("{} {}{}", count, one, count == 1 ? "" : one.back() == 'h' ? "es" : "s");
}

std::string tree_text(const Graph& graph, const HostOutline& host) {
  std::string text;
  // Whether another child of the same parent follows: which bar is drawn.
  std::vector<bool> has_next(host.nodes.size(), false);
  std::map<int64_t, size_t> last_child;
  for (size_t i = 0; i < host.nodes.size(); ++i) {
    const auto [found, is_new] = last_child.emplace(host.parent[i], i);
    if (!is_new) has_next[found->second] = true;
    found->second = i;
  }
  for (size_t i = 1; i < host.nodes.size(); ++i) {
    if (host.depth[i] == 0) continue;
    std::string bars = has_next[i] ? "├─ " : "└─ ";
    for (int64_t up = host.parent[i]; up > 0; up = host.parent[static_cast<size_t>(up)])
      bars = (has_next[static_cast<size_t>(up)] ? "│  " : "   ") + bars;
    const Node& node = graph.nodes[host.nodes[i]];
    text += fmt::format("  {}{}", bars, short_id(node));
    if (!node.name.empty()) text += fmt::format("  {}", node.name);
    if (!node.bus_id.empty()) text += fmt::format("  [{}]", node.bus_id);
    if (host.link[i] >= 0)
      text += fmt::format("  {}", link_text(graph.links[static_cast<size_t>(host.link[i])]));
    text += details_text(node) + '\n';
  }
  return text;
}

// By far end (a switch) or as pairs, those of equal figures in one line.
std::string links_text(const Graph& graph, const Outline& outline, const std::vector<uint32_t>& links,
                       const HostOutline* host) {
  const std::set<TreeLink> in_tree = host == nullptr ? std::set<TreeLink>() : tree_links(graph, *host);
  std::string text;
  std::vector<std::pair<std::string, std::vector<std::string>>> lines;
  std::map<std::string, Pairs> pairs;  // by their figures
  const auto add = [&lines](const std::string& key, const std::string& id) {
    const auto found =
        std::find_if(lines.begin(), lines.end(), [&](const auto& each) { return each.first == key; });
    if (found == lines.end()) {
      lines.push_back({key, {id}});
    } else {
      found->second.push_back(id);
    }
  };
  for (uint32_t index : links) {
    const Link& link = graph.links[index];
    if (link.kind == LinkKind::kMemory || in_tree.count(undirected(link)) > 0) continue;
    const Node& from = graph.nodes[link.from];
    const Node& to = graph.nodes[outline.drawn[link.to]];
    const bool switched = to.kind == NodeKind::kVendorSwitch || to.kind == NodeKind::kNetSwitch;
    if (switched && to.host == kNoHost && from.host != kNoHost) {
      const size_t alike = outline.by_place ? outline.count_at(outline.drawn[link.to]) : 1;
      const std::string others = alike > 1 ? fmt::format(" or one of {} like it", alike - 1) : "";
      add(fmt::format("-> {}{}  {}", to.id, others, link_text(link)), short_id(from));
    } else if (switched) {
      add(fmt::format("-> {}  {}", short_id(to), link_text(link)),
          from.host == kNoHost ? from.id : short_id(from));
    } else {
      pairs[link_text(link)].emplace_back(short_id(from), short_id(to));
    }
  }
  for (const auto& [key, ids] : lines) text += fmt::format("  {} {}\n", ids_text(ids), key);
  for (const auto& [key, ends] : pairs) text += fmt::format("  {}  {}\n", pairs_text(ends), key);
  return text;
}

std::string paths_text(const Graph& graph, const HostOutline& host) {
  std::vector<uint32_t> shown;
  for (const NodeKind kind : {NodeKind::kDevice, NodeKind::kNic}) {
    const auto first = static_cast<ptrdiff_t>(shown.size());
    for (uint32_t node : host.nodes) {
      if (graph.nodes[node].kind == kind) shown.push_back(node);
    }
    std::sort(shown.begin() + first, shown.end());
  }
  if (shown.size() < 2) return "";
  std::vector<std::vector<std::string>> cells;
  std::vector<Nearest> nearest;
  size_t width = 4, head = 4;
  for (uint32_t from : shown) {
    const std::vector<PathInfo> paths = paths_from(graph, from);
    cells.emplace_back();
    if (graph.nodes[from].kind == NodeKind::kDevice) nearest.push_back(nearest_of(graph, from, shown, paths));
    for (uint32_t to : shown) {
      cells.back().push_back(path_cell(paths[to]));
      width = std::max({width, cells.back().back().size(), short_id(graph.nodes[to]).size()});
    }
    head = std::max(head, short_id(graph.nodes[from]).size());
  }
  std::string text = fmt::format("  paths (class, GB/s one way)\n  {:<{}}", "", head);
  for (uint32_t to : shown) add_cell(text, short_id(graph.nodes[to]), width);
  for (size_t i = 0; i < shown.size(); ++i) {
    text += fmt::format("\n  {:<{}}", short_id(graph.nodes[shown[i]]), head);
    for (const std::string& cell : cells[i]) add_cell(text, cell, width);
  }
  return text + '\n' + nearest_text(std::move(nearest));
}

}  // namespace comity::topology
