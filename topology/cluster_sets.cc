// Islands and rails of a cluster, over hosts' shapes and ways out: the same sets as islands.cc finds in the
// expanded graph.
#include <algorithm>
#include <numeric>

#include "topology/cluster.h"
#include "topology/cluster_impl.h"

namespace comity::topology {
namespace {

class Sets {
 public:
  explicit Sets(size_t n) : parent_(n) { std::iota(parent_.begin(), parent_.end(), 0u); }
  uint32_t of(uint32_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(uint32_t a, uint32_t b) {
    a = of(a), b = of(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<uint32_t> parent_;
};

template <typename Key>
std::vector<std::vector<Place>> sorted(std::map<Key, std::vector<Place>>& by_key, size_t least) {
  std::vector<std::vector<Place>> all;
  for (auto& [key, places] : by_key) {
    if (places.size() < least) continue;
    std::sort(places.begin(), places.end());
    all.push_back(std::move(places));
  }
  std::sort(all.begin(), all.end());
  return all;
}

// A NIC and the switches that it leads to.
struct Port {
  Place place;
  std::vector<uint32_t> switches;
};

std::vector<Port> ports_of(const Cluster::Impl& impl) {
  std::vector<Port> ports;
  for (uint32_t host = 0; host < impl.hosts.size(); ++host) {
    const Graph& graph = impl.graph_of(host);
    const auto [begin, end] = impl.ways_of(host);
    for (uint32_t node = 0; node < graph.nodes.size(); ++node) {
      if (graph.nodes[node].kind != NodeKind::kNic) continue;
      Port port{{host, node}, {}};
      for (uint32_t i = begin; i < end; ++i) {
        const WayOut& way = impl.ways[i];
        if (way.node == node && is_network(impl.figures[way.figure].kind))
          port.switches.push_back(way.outside);
      }
      std::sort(port.switches.begin(), port.switches.end());
      port.switches.erase(std::unique(port.switches.begin(), port.switches.end()), port.switches.end());
      ports.push_back(std::move(port));
    }
  }
  return ports;
}

// Networks in which a switch holds two NICs of one host: no planes there.
std::set<uint32_t> unplaned(const std::vector<Port>& ports, Sets& networks) {
  std::set<uint32_t> flat;
  std::set<uint32_t> seen;  // switches of the host at hand
  uint32_t host = kNone;
  for (const Port& port : ports) {
    if (port.place.host != host) seen.clear();
    host = port.place.host;
    for (uint32_t each : port.switches) {
      if (!seen.insert(each).second) flat.insert(networks.of(each));
    }
  }
  return flat;
}

}  // namespace

std::vector<std::vector<Place>> Cluster::islands() const {
  std::vector<uint32_t> first(impl_->hosts.size() + 1, 0);  // by host, number of its first part
  for (uint32_t host = 0; host < impl_->hosts.size(); ++host)
    first[host + 1] = first[host] + impl_->shapes[impl_->hosts[host].shape].islands;
  Sets sets(first.back() + impl_->outside.nodes.size());
  for (const Link& link : impl_->outside.links) {
    if (joins_islands(link.kind)) sets.join(first.back() + link.from, first.back() + link.to);
  }
  for (uint32_t host = 0; host < impl_->hosts.size(); ++host) {
    const Shape& shape = impl_->shapes[impl_->hosts[host].shape];
    const auto [begin, end] = impl_->ways_of(host);
    for (uint32_t i = begin; i < end; ++i) {
      const WayOut& way = impl_->ways[i];
      if (joins_islands(impl_->figures[way.figure].kind) && shape.island_of[way.node] != kNone)
        sets.join(first[host] + shape.island_of[way.node], first.back() + way.outside);
    }
  }
  std::map<uint32_t, std::vector<Place>> by_set;
  for (uint32_t host = 0; host < impl_->hosts.size(); ++host) {
    const Shape& shape = impl_->shapes[impl_->hosts[host].shape];
    for (uint32_t node = 0; node < shape.graph.nodes.size(); ++node) {
      if (shape.graph.nodes[node].kind == NodeKind::kDevice)
        by_set[sets.of(first[host] + shape.island_of[node])].push_back({host, node});
    }
  }
  return sorted(by_set, 2);
}

std::vector<std::vector<Place>> Cluster::rails() const {
  const std::vector<Port> ports = ports_of(*impl_);
  Sets networks(impl_->outside.nodes.size()), leaves(impl_->outside.nodes.size());
  for (const Link& link : impl_->outside.links) {
    if (is_network(link.kind)) networks.join(link.from, link.to);
  }
  for (const Port& port : ports) {
    for (uint32_t each : port.switches) {
      networks.join(port.switches.front(), each);
      leaves.join(port.switches.front(), each);
    }
  }
  const std::set<uint32_t> flat = unplaned(ports, networks);
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> next;  // host, network: NICs so far
  std::map<uint32_t, uint32_t> plane_of_leaf;
  std::map<std::pair<uint32_t, uint32_t>, std::vector<Place>> by_rail;
  for (const Port& port : ports) {
    const uint32_t network = port.switches.empty() ? kNone : networks.of(port.switches.front());
    uint32_t plane = next[{port.place.host, network}]++;
    if (network != kNone)
      plane = flat.contains(network)
                  ? 0
                  : plane_of_leaf.emplace(leaves.of(port.switches.front()), plane).first->second;
    by_rail[{network, plane}].push_back(port.place);
  }
  return sorted(by_rail, 1);
}

}  // namespace comity::topology
