#include "topology/graph.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>
#include <utility>

namespace comity::topology {
namespace {

constexpr std::array<std::pair<NodeKind, std::string_view>, 8> kNodeKinds = {{
    {NodeKind::kHost, "host"},
    {NodeKind::kNuma, "numa"},
    {NodeKind::kPcieBridge, "pcie_bridge"},
    {NodeKind::kPcieSwitch, "pcie_switch"},
    {NodeKind::kDevice, "device"},
    {NodeKind::kNic, "nic"},
    {NodeKind::kNetSwitch, "net_switch"},
    {NodeKind::kVendorSwitch, "vendor_switch"},
}};

constexpr std::array<std::pair<LinkKind, std::string_view>, 20> kLinkKinds = {{
    {LinkKind::kMemory, "memory"},   {LinkKind::kCpu, "cpu"},
    {LinkKind::kPcie, "pcie"},       {LinkKind::kC2c, "c2c"},
    {LinkKind::kNvlink, "nvlink"},   {LinkKind::kXgmi, "xgmi"},
    {LinkKind::kHccs, "hccs"},       {LinkKind::kUb, "ub"},
    {LinkKind::kMluLink, "mlulink"}, {LinkKind::kMtLink, "mtlink"},
    {LinkKind::kBlink, "blink"},     {LinkKind::kGcuLare, "gcu_lare"},
    {LinkKind::kXpuLink, "xpulink"}, {LinkKind::kXeLink, "xelink"},
    {LinkKind::kUalink, "ualink"},   {LinkKind::kGaudiRoce, "gaudi_roce"},
    {LinkKind::kVendor, "vendor"},   {LinkKind::kInfiniband, "infiniband"},
    {LinkKind::kRoce, "roce"},       {LinkKind::kEthernet, "ethernet"},
}};

constexpr std::array<std::pair<Source, std::string_view>, 4> kSources = {{
    {Source::kGuess, "guess"},
    {Source::kDataSheet, "data_sheet"},
    {Source::kReported, "reported"},
    {Source::kMeasured, "measured"},
}};

template <typename Table, typename Value>
std::string_view name_in(const Table& table, Value value) {
  for (const auto& [entry, name] : table) {
    if (entry == value) return name;
  }
  return "?";
}

template <typename Table, typename Value>
bool parse_in(const Table& table, std::string_view text, Value& value) {
  for (const auto& [entry, name] : table) {
    if (name != text) continue;
    value = entry;
    return true;
  }
  return false;
}

std::string describe(const Graph& graph, uint32_t index) {
  const Node& node = graph.nodes[index];
  if (!node.id.empty()) return fmt::format("node {} (\"{}\")", index, node.id);
  return fmt::format("node {} ({} \"{}\")", index, name_of(node.kind), node.name);
}

Status wrong(std::string text) {
  return Status(Code::kInvalidArgument, "the topology is not valid: " + std::move(text));
}

Status validate_nodes(const Graph& graph) {
  std::set<uint32_t> hosts;
  std::set<std::string_view> ids;
  for (uint32_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (node.kind == NodeKind::kHost) {
      if (node.host == kNoHost) return wrong(describe(graph, i) + " is a host without a number");
      if (!hosts.insert(node.host).second)
        return wrong(fmt::format("{} is a second node for host {}", describe(graph, i), node.host));
    }
    if (!node.id.empty() && !ids.insert(node.id).second)
      return wrong(fmt::format("the id \"{}\" is used twice", node.id));
  }
  for (uint32_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const bool may_stand_alone = node.kind == NodeKind::kNetSwitch || node.kind == NodeKind::kVendorSwitch;
    if (node.host == kNoHost && !may_stand_alone)
      return wrong(fmt::format("{} is a {} without a host", describe(graph, i), name_of(node.kind)));
    if (node.host != kNoHost && !hosts.contains(node.host))
      return wrong(fmt::format("{} is on host {}, which has no node", describe(graph, i), node.host));
  }
  return {};
}

}  // namespace

std::string_view name_of(NodeKind kind) {
  return name_in(kNodeKinds, kind);
}
std::string_view name_of(LinkKind kind) {
  return name_in(kLinkKinds, kind);
}
std::string_view name_of(Source source) {
  return name_in(kSources, source);
}
bool parse(std::string_view text, NodeKind& kind) {
  return parse_in(kNodeKinds, text, kind);
}
bool parse(std::string_view text, LinkKind& kind) {
  return parse_in(kLinkKinds, text, kind);
}
bool parse(std::string_view text, Source& source) {
  return parse_in(kSources, text, source);
}

bool joins_islands(LinkKind kind) {
  return kind >= LinkKind::kNvlink && kind <= LinkKind::kVendor;
}

bool is_network(LinkKind kind) {
  return kind >= LinkKind::kInfiniband;
}

uint32_t Graph::add(Node node) {
  nodes.push_back(std::move(node));
  return static_cast<uint32_t>(nodes.size() - 1);
}

void Graph::add(Link link) {
  links.push_back(std::move(link));
}

void Graph::join(Link link) {
  Link back = link;
  std::swap(back.from, back.to);
  links.push_back(std::move(link));
  links.push_back(std::move(back));
}

int64_t Graph::find(std::string_view id) const {
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].id == id) return static_cast<int64_t>(i);
  }
  return -1;
}

std::vector<uint32_t> Graph::nodes_of(NodeKind kind) const {
  std::vector<uint32_t> found;
  for (uint32_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].kind == kind) found.push_back(i);
  }
  return found;
}

uint32_t Graph::host_count() const {
  return static_cast<uint32_t>(std::count_if(nodes.begin(), nodes.end(),
                                             [](const Node& node) { return node.kind == NodeKind::kHost; }));
}

std::string shared_on_host(std::string_view shared, uint32_t host) {
  if (!shared.starts_with("h0.")) return std::string(shared);
  return fmt::format("h{}.{}", host, shared.substr(3));
}

std::vector<std::vector<uint32_t>> links_out_of(const Graph& graph) {
  std::vector<std::vector<uint32_t>> out(graph.nodes.size());
  for (uint32_t i = 0; i < graph.links.size(); ++i) out[graph.links[i].from].push_back(i);
  return out;
}

Status validate(const Graph& graph) {
  if (graph.nodes.empty()) return wrong("it has no nodes");
  COMITY_RETURN_IF_ERROR(validate_nodes(graph));
  for (size_t i = 0; i < graph.links.size(); ++i) {
    const Link& link = graph.links[i];
    if (link.from >= graph.nodes.size() || link.to >= graph.nodes.size()) {
      return wrong(fmt::format("link {} goes from node {} to node {}, and there are {}", i, link.from,
                               link.to, graph.nodes.size()));
    }
    if (link.from == link.to)
      return wrong(fmt::format("link {} goes from {} to itself", i, describe(graph, link.from)));
    if (link.count == 0) {
      return wrong(fmt::format("link {}, from {} to {}, has count 0", i, describe(graph, link.from),
                               describe(graph, link.to)));
    }
    if (link.bandwidth_bytes_per_s > UINT64_MAX / link.count) {
      return wrong(fmt::format("link {}, from {} to {}: {} times {} bytes/s is beyond 64 bits", i,
                               describe(graph, link.from), describe(graph, link.to), link.count,
                               link.bandwidth_bytes_per_s));
    }
  }
  return {};
}

}  // namespace comity::topology
