// Paths of a cluster: found in a small graph of the two hosts and the switches that they lead to, between
// which the widest ways of the network stand as single links. Hosts of equal shapes at equal switches share
// one such graph.
#include <algorithm>
#include <functional>
#include <queue>

#include "topology/cluster.h"
#include "topology/cluster_impl.h"

namespace comity::topology {
namespace {

constexpr size_t kMostPairs = 4096;           // graphs kept; then all are dropped
constexpr size_t kMostCrossings = 4'000'000;  // figures of the network kept

uint64_t width_of(const Link& link) {
  return link.bandwidth_bytes_per_s == 0 ? UINT64_MAX : link.total_bytes_per_s();
}

}  // namespace

const std::vector<Crossing>& Cluster::Impl::crossings_from(uint32_t switch_node) {
  const auto found = crossings.find(switch_node);
  if (found != crossings.end()) return found->second;
  if (crossings.size() * outside.nodes.size() > kMostCrossings) crossings.clear();
  std::vector<Crossing>& best = crossings[switch_node];
  best.resize(outside.nodes.size());
  const auto out = links_out_of(outside);
  using Entry = std::tuple<uint64_t, uint32_t, uint32_t>;  // UINT64_MAX - width, hops, switch
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
  best[switch_node] = {UINT64_MAX, 0, 0};
  queue.emplace(0, 0, switch_node);
  while (!queue.empty()) {
    const auto [narrowness, hops, at] = queue.top();
    queue.pop();
    const Crossing here = best[at];
    if (here.width != UINT64_MAX - narrowness || here.hops != hops) continue;
    for (uint32_t number : out[at]) {
      const Link& link = outside.links[number];
      if (!is_network(link.kind)) continue;
      const uint64_t width = std::min(here.width, width_of(link));
      Crossing& there = best[link.to];
      if (there.width > width || (there.width == width && there.hops <= hops + 1)) continue;
      there = {width, hops + 1, here.latency_ns + link.latency_ns};
      queue.emplace(UINT64_MAX - width, hops + 1, link.to);
    }
  }
  return best;
}

Graph Cluster::Impl::graph_of_pair(uint32_t a, uint32_t b) {
  Graph pair;
  std::map<uint32_t, uint32_t> place;  // of switches
  for (uint32_t side = 0; side < (a == b ? 1u : 2u); ++side) {
    const uint32_t host = side == 0 ? a : b;
    const auto base = static_cast<uint32_t>(pair.nodes.size());
    const Graph& shape = graph_of(host);
    for (const Node& node : shape.nodes) {
      pair.add(node);
      pair.nodes.back().host = side;
    }
    for (Link link : shape.links) {
      link.from += base;
      link.to += base;
      pair.add(std::move(link));
    }
  }
  for (uint32_t side = 0; side < (a == b ? 1u : 2u); ++side) {
    const auto base = side == 0 ? 0 : static_cast<uint32_t>(graph_of(a).nodes.size());
    const auto [begin, end] = ways_of(side == 0 ? a : b);
    for (uint32_t i = begin; i < end; ++i) {
      const WayOut& way = ways[i];
      if (!place.contains(way.outside)) place[way.outside] = pair.add(outside.nodes[way.outside]);
      Link link = figures[way.figure];
      link.from = way.leaves ? base + way.node : place[way.outside];
      link.to = way.leaves ? place[way.outside] : base + way.node;
      pair.add(std::move(link));
    }
  }
  for (const auto& [from, here] : place) {
    if (outside.nodes[from].kind != NodeKind::kNetSwitch) continue;
    const std::vector<Crossing>& to = crossings_from(from);
    for (const auto& [other, there] : place) {
      const Crossing& crossing = to[other];
      if (other == from || crossing.width == 0 || outside.nodes[other].kind != NodeKind::kNetSwitch) continue;
      pair.add({.from = here,
                .to = there,
                .kind = LinkKind::kEthernet,
                .bandwidth_bytes_per_s = crossing.width == UINT64_MAX ? 0 : crossing.width,
                .latency_ns = crossing.latency_ns,
                .attributes = {{"hops", std::to_string(crossing.hops)}}});
    }
  }
  for (const Link& link : outside.links) {  // vendors' switches that are joined
    if (!joins_islands(link.kind) || !place.contains(link.from) || !place.contains(link.to)) continue;
    pair.add(link);
    pair.links.back().from = place[link.from];
    pair.links.back().to = place[link.to];
  }
  return pair;
}

PathInfo Cluster::path(Place from, Place to) {
  Impl& impl = *impl_;
  std::vector<uint32_t> key;
  for (uint32_t host : {from.host, to.host}) {
    key.push_back(impl.hosts[host].shape);
    const auto [begin, end] = impl.ways_of(host);
    for (uint32_t i = begin; i < end; ++i) {
      const WayOut& way = impl.ways[i];
      key.insert(key.end(), {way.node, way.outside, way.figure, way.leaves ? 1u : 0u});
    }
    if (from.host == to.host) break;
  }
  auto found = impl.pairs.find(key);
  if (found == impl.pairs.end()) {
    if (impl.pairs.size() >= kMostPairs) impl.pairs.clear();
    found = impl.pairs.emplace(std::move(key), Impl::Pair{impl.graph_of_pair(from.host, to.host), {}}).first;
  }
  Impl::Pair& pair = found->second;
  auto paths = pair.from.find(from.node);
  if (paths == pair.from.end()) paths = pair.from.emplace(from.node, paths_from(pair.graph, from.node)).first;
  const uint32_t base =
      from.host == to.host ? 0 : static_cast<uint32_t>(impl.graph_of(from.host).nodes.size());
  PathInfo path = paths->second[base + to.node];
  for (uint32_t number : path.links) {
    const auto hops = pair.graph.links[number].attributes.find("hops");
    if (hops != pair.graph.links[number].attributes.end())
      path.hops += static_cast<uint32_t>(std::stoul(hops->second)) - 1;
  }
  path.links.clear();
  return path;
}

}  // namespace comity::topology
