#include "topology/discover/hwloc_source.h"

#include <fmt/core.h>

#ifdef COMITY_HAVE_HWLOC
#include <hwloc.h>

#include <memory>
#endif

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "topology/import/hwloc_graph.h"

namespace comity::topology {
namespace {

std::map<std::string, uint32_t> devices_of(const Graph& graph) {
  std::map<std::string, uint32_t> devices;
  for (const uint32_t device : graph.nodes_of(NodeKind::kDevice))
    if (!graph.nodes[device].bus_id.empty()) devices.emplace(graph.nodes[device].bus_id, device);
  return devices;
}

// Of `from`, whose kinds of links are not among `known`, to the nodes of `graph`.
std::vector<Link> links_to_add(const Graph& from, const std::set<LinkKind>& known, const Graph& graph) {
  const std::map<std::string, uint32_t> here = devices_of(graph);
  const std::vector<uint32_t> switches = graph.nodes_of(NodeKind::kVendorSwitch);
  const auto place = [&](const Node& node) -> int64_t {
    if (node.kind == NodeKind::kVendorSwitch) return switches.empty() ? -1 : switches.front();
    const auto found = here.find(node.bus_id);
    return node.kind != NodeKind::kDevice || found == here.end() ? -1 : found->second;
  };
  std::vector<Link> added;
  for (Link link : from.links) {
    if (!joins_islands(link.kind) || known.count(link.kind) != 0) continue;
    const int64_t begin = place(from.nodes[link.from]), end = place(from.nodes[link.to]);
    if (begin < 0 || end < 0) continue;
    link.from = static_cast<uint32_t>(begin), link.to = static_cast<uint32_t>(end);
    added.push_back(std::move(link));
  }
  return added;
}

// Bus ids of the first that the second lacks, for people.
std::string lacking(const std::map<std::string, uint32_t>& has,
                    const std::map<std::string, uint32_t>& lacks) {
  std::string text;
  for (const auto& [bus_id, index] : has)
    if (lacks.count(bus_id) == 0) text += fmt::format(" {}", bus_id);
  return text;
}

}  // namespace

Result<Graph> load_hwloc() {
#ifdef COMITY_HAVE_HWLOC
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0)
    return Status(Code::kSystemError, "hwloc_topology_init failed; is there memory left?");
  const std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)> topology(raw,
                                                                                    &hwloc_topology_destroy);
  for (const char* component : {"pci", "opencl", "gl"})
    hwloc_topology_set_components(raw, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, component);
  hwloc_topology_set_io_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_ALL);
  if (hwloc_topology_load(raw) != 0)
    return Status(Code::kSystemError, "hwloc_topology_load failed; look at `lstopo`");
  return graph_of_hwloc(raw, "this machine");
#else
  return Status(Code::kUnsupported, "this build has none: install libhwloc-dev and build again");
#endif
}

std::string merge_hwloc(const Graph& hwloc, Graph& graph) {
  std::set<LinkKind> known;
  for (const Link& link : graph.links) known.insert(link.kind);
  const std::vector<Link> added = links_to_add(hwloc, known, graph);
  for (const Link& link : added) graph.add(link);
  const auto ours = devices_of(graph), theirs = devices_of(hwloc);
  std::string text = fmt::format("{} NUMA domains, {} devices, {} links of vendors added",
                                 hwloc.nodes_of(NodeKind::kNuma).size(), theirs.size(), added.size());
  const std::string missing = lacking(theirs, ours), more = lacking(ours, theirs);
  if (!missing.empty()) text += "; only hwloc has devices" + missing;
  if (!more.empty()) text += "; hwloc lacks devices" + more;
  return text;
}

}  // namespace comity::topology
