#include "topology/planning.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "topology/paths.h"

namespace comity::topology {
namespace {

constexpr const char* kLoopbackName = "loopback";
constexpr const char* kNetworkName = "network";

// Figures to plan with where nothing is known: orders of magnitude.
struct Guess {
  uint64_t latency_ns;
  uint64_t bandwidth_bytes_per_s;
};
constexpr Guess guess_of(Way way) {
  switch (way) {
    case Way::kMemory:
      return {300, 10'000'000'000};
    case Way::kLoopback:
      return {10'000, 3'000'000'000};
    case Way::kNetwork:
      return {10'000, 3'000'000'000};
    case Way::kIsland:
      return {2'000, 25'000'000'000};
  }
  return {300, 10'000'000'000};
}

std::set<uint32_t> hosts_of(const Graph& graph, const std::vector<uint32_t>& nodes) {
  std::set<uint32_t> hosts;
  for (uint32_t node : nodes) hosts.insert(graph.nodes[node].host);
  return hosts;
}

bool is_loopback(const Node& node) {
  return node.kind == NodeKind::kNetSwitch && node.host != kNoHost && node.name == kLoopbackName;
}

// Whether a link belongs to a way, and if so the number of the host that its figure counts for.
std::optional<uint32_t> host_on(const Graph& graph, Way way, const Link& link) {
  const Node& from = graph.nodes[link.from];
  const Node& to = graph.nodes[link.to];
  switch (way) {
    case Way::kMemory:
      if (link.kind != LinkKind::kMemory && link.kind != LinkKind::kCpu) return std::nullopt;
      return from.host;
    case Way::kLoopback:
      if (!is_loopback(from) && !is_loopback(to)) return std::nullopt;
      return from.host;
    case Way::kNetwork: {
      if (!is_network(link.kind) || is_loopback(from) || is_loopback(to)) return std::nullopt;
      if (from.kind == NodeKind::kNic) return from.host;
      if (to.kind == NodeKind::kNic) return to.host;
      return std::nullopt;
    }
    case Way::kIsland:
      if (!joins_islands(link.kind)) return std::nullopt;
      return from.host != kNoHost ? from.host : to.host;
  }
  return std::nullopt;
}

// The fewest NICs by which one of the hosts leads into the network.
uint32_t fewest_rails(const Graph& graph, const std::vector<uint32_t>& nodes,
                      const std::vector<uint32_t>& links) {
  std::map<uint32_t, std::set<uint32_t>> nics;
  for (uint32_t host : hosts_of(graph, nodes)) nics[host];
  for (uint32_t index : links) {
    const Link& link = graph.links[index];
    if (graph.nodes[link.from].kind == NodeKind::kNic) nics[graph.nodes[link.from].host].insert(link.from);
  }
  uint32_t fewest = UINT32_MAX;
  for (const auto& [host, ports] : nics) fewest = std::min(fewest, static_cast<uint32_t>(ports.size()));
  return fewest == UINT32_MAX ? 1 : std::max<uint32_t>(fewest, 1);
}

void join_to(Graph& graph, uint32_t a, uint32_t b, LinkKind kind, uint64_t bandwidth_bytes_per_s = 0) {
  Link link{.from = a, .to = b, .kind = kind, .bandwidth_bytes_per_s = bandwidth_bytes_per_s};
  if (bandwidth_bytes_per_s != 0) link.source = Source::kReported;
  graph.join(std::move(link));
}

// What a port says it can do, one way; 0: it does not say.
uint64_t reported(const Node& nic) {
  const auto found = nic.attributes.find("net.bandwidth_bytes_per_s");
  uint64_t value = 0;
  if (found == nic.attributes.end()) return 0;
  std::from_chars(found->second.data(), found->second.data() + found->second.size(), value);
  return value;
}

uint32_t add_switch(Graph& graph, uint32_t host, const char* name) {
  return graph.add({.kind = NodeKind::kNetSwitch, .name = name, .host = host});
}

// What complete_for_planning() finds there already.
struct Present {
  std::map<uint32_t, uint32_t> host_node, loopback;  // by host
  std::map<uint32_t, std::vector<uint32_t>> nics, numas;
  std::vector<bool> led_out, remembered;  // by node: a NIC with a network link, a host with a memory link
  std::optional<uint32_t> network;
};

Present look(const Graph& graph) {
  Present present;
  present.led_out.assign(graph.nodes.size(), false);
  present.remembered.assign(graph.nodes.size(), false);
  for (uint32_t index = 0; index < graph.nodes.size(); ++index) {
    const Node& node = graph.nodes[index];
    if (node.kind == NodeKind::kHost) present.host_node[node.host] = index;
    if (node.kind == NodeKind::kNuma) present.numas[node.host].push_back(index);
    if (node.kind == NodeKind::kNic) present.nics[node.host].push_back(index);
    if (is_loopback(node)) present.loopback[node.host] = index;
    if (node.kind == NodeKind::kNetSwitch && node.host == kNoHost && node.name == kNetworkName)
      present.network = index;
  }
  for (const Link& link : graph.links) {
    if (is_network(link.kind)) present.led_out[link.from] = true;
    if (link.kind == LinkKind::kMemory || link.kind == LinkKind::kCpu) present.remembered[link.from] = true;
  }
  return present;
}

void complete_host(Graph& graph, const Present& present, uint32_t host, const Placement& placement) {
  const uint32_t node = present.host_node.at(host);
  if (placement.inside == Way::kLoopback && !present.loopback.contains(host)) {
    join_to(graph, node, add_switch(graph, host, kLoopbackName), LinkKind::kEthernet);
  }
  if (!present.remembered[node]) {
    const auto found = present.numas.find(host);
    const uint32_t numa = found != present.numas.end()
                              ? found->second.front()
                              : graph.add({.kind = NodeKind::kNuma, .host = host, .numa = 0});
    join_to(graph, node, numa, LinkKind::kMemory);
  }
}

void complete_network(Graph& graph, const Present& present, const std::set<uint32_t>& hosts) {
  std::vector<uint32_t> loose;
  for (uint32_t host : hosts) {
    const auto found = present.nics.find(host);
    if (found == present.nics.end()) {
      const uint32_t nic = graph.add({.kind = NodeKind::kNic, .name = "sockets", .host = host});
      join_to(graph, present.host_node.at(host), nic, LinkKind::kPcie);
      loose.push_back(nic);
      continue;
    }
    for (uint32_t nic : found->second) {
      if (!present.led_out[nic]) loose.push_back(nic);
    }
  }
  if (loose.empty()) return;
  const uint32_t network = present.network ? *present.network : add_switch(graph, kNoHost, kNetworkName);
  for (uint32_t nic : loose) join_to(graph, nic, network, LinkKind::kEthernet, reported(graph.nodes[nic]));
}

// By rank the island its device is on, where all are on islands of several ranks; else empty.
std::vector<uint32_t> islands_of_ranks(const Graph& graph, const std::vector<uint32_t>& node_of_rank) {
  for (uint32_t node : node_of_rank) {
    if (graph.nodes[node].kind != NodeKind::kDevice) return {};
  }
  std::map<uint32_t, uint32_t> island_of_node;
  const auto all = islands(graph);
  for (uint32_t island = 0; island < all.size(); ++island) {
    for (uint32_t node : all[island]) island_of_node[node] = island;
  }
  std::vector<uint32_t> by_rank;
  std::map<uint32_t, uint32_t> ranks_on;
  for (uint32_t node : node_of_rank) {
    const auto found = island_of_node.find(node);
    if (found == island_of_node.end()) return {};
    by_rank.push_back(found->second);
    ++ranks_on[found->second];
  }
  const bool shared =
      std::all_of(ranks_on.begin(), ranks_on.end(), [](const auto& entry) { return entry.second > 1; });
  return shared ? by_rank : std::vector<uint32_t>{};
}

Status check(const Graph& graph, const Placement& placement) {
  if (placement.node_of_rank.empty()) {
    return Status(Code::kInvalidArgument,
                  "a plan needs at least one rank; place each rank on a node of the graph");
  }
  for (uint32_t rank = 0; rank < placement.node_of_rank.size(); ++rank) {
    const uint32_t node = placement.node_of_rank[rank];
    if (node >= graph.nodes.size() || graph.nodes[node].host == kNoHost) {
      return Status(Code::kInvalidArgument,
                    fmt::format("rank {} is placed on node {}, which is {}", rank, node,
                                node < graph.nodes.size() ? "on no host" : "not in the graph"));
    }
  }
  return {};
}

}  // namespace

std::vector<uint32_t> links_of(const Graph& graph, Way way, const std::vector<uint32_t>& nodes) {
  const std::set<uint32_t> hosts = hosts_of(graph, nodes);
  std::vector<uint32_t> links;
  for (uint32_t index = 0; index < graph.links.size(); ++index) {
    const auto host = host_on(graph, way, graph.links[index]);
    if (host && (*host == kNoHost || hosts.contains(*host))) links.push_back(index);
  }
  return links;
}

Path path_of(const Graph& graph, Way way, const std::vector<uint32_t>& nodes) {
  const std::vector<uint32_t> links = links_of(graph, way, nodes);
  uint64_t narrowest = UINT64_MAX, slowest_ns = 0;
  for (uint32_t index : links) {
    const Link& link = graph.links[index];
    if (link.bandwidth_bytes_per_s != 0) narrowest = std::min(narrowest, link.total_bytes_per_s());
    slowest_ns = std::max(slowest_ns, link.latency_ns);
  }
  const Guess guess = guess_of(way);
  Path path;
  path.latency_ns = slowest_ns == 0 ? guess.latency_ns : 2 * slowest_ns;
  path.bandwidth_bytes_per_s = narrowest == UINT64_MAX ? guess.bandwidth_bytes_per_s : narrowest;
  path.rails = way == Way::kNetwork ? fewest_rails(graph, nodes, links) : 1;
  return path;
}

void set_figures(Graph& graph, Way way, const std::vector<uint32_t>& nodes, uint64_t latency_ns,
                 uint64_t bandwidth_bytes_per_s, Source source) {
  const std::vector<uint32_t> links = links_of(graph, way, nodes);
  const uint32_t rails = way == Way::kNetwork ? fewest_rails(graph, nodes, links) : 1;
  for (uint32_t index : links) {
    Link& link = graph.links[index];
    const bool known = link.bandwidth_bytes_per_s != 0;
    if (known && link.source > source) continue;
    link.latency_ns = std::max<uint64_t>((latency_ns + 1) / 2, 1);
    link.bandwidth_bytes_per_s = std::max<uint64_t>(bandwidth_bytes_per_s / rails / link.count, 1);
    link.source = source;
  }
}

void complete_for_planning(Graph& graph, const Placement& placement) {
  const std::set<uint32_t> hosts = hosts_of(graph, placement.node_of_rank);
  // One look serves all: what is added to a host is of no interest to another, and no NIC is among it.
  const Present present = look(graph);
  for (uint32_t host : hosts) complete_host(graph, present, host, placement);
  if (hosts.size() > 1) complete_network(graph, present, hosts);
}

Result<Topology> plan_topology(const Graph& graph, const Placement& placement) {
  COMITY_RETURN_IF_ERROR(check(graph, placement));
  const std::vector<uint32_t>& nodes = placement.node_of_rank;
  const std::vector<uint32_t> by_island = islands_of_ranks(graph, nodes);
  std::map<uint32_t, uint32_t> number_of;
  Topology topology;
  for (uint32_t rank = 0; rank < nodes.size(); ++rank) {
    const uint32_t key = by_island.empty() ? graph.nodes[nodes[rank]].host : by_island[rank];
    const auto next = static_cast<uint32_t>(number_of.size());
    topology.group_of_rank.push_back(number_of.emplace(key, next).first->second);
  }
  const Way inside = by_island.empty() ? placement.inside : Way::kIsland;
  const Way across = hosts_of(graph, nodes).size() > 1 ? Way::kNetwork : placement.inside;
  topology.inside = path_of(graph, inside, nodes);
  topology.inside.direct = placement.direct && by_island.empty();
  topology.inside.transport = placement.inside_transport;
  topology.across = path_of(graph, across, nodes);
  topology.across.transport = placement.across_transport;
  return topology;
}

}  // namespace comity::topology
