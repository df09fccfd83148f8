#include "topology/cluster.h"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "src/base/hash.h"
#include "topology/cluster_impl.h"

namespace comity::topology {
namespace {

// Numbers of what vendors' links join inside a host, by node.
void number_islands(Shape& shape) {
  const Graph& graph = shape.graph;
  std::vector<uint32_t> parent(graph.nodes.size());
  std::iota(parent.begin(), parent.end(), 0u);
  const auto root = [&](uint32_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
  };
  for (const Link& link : graph.links) {
    if (joins_islands(link.kind)) parent[root(link.from)] = root(link.to);
  }
  shape.island_of.assign(graph.nodes.size(), kNone);
  std::map<uint32_t, uint32_t> number;
  for (uint32_t i = 0; i < graph.nodes.size(); ++i) {
    const NodeKind kind = graph.nodes[i].kind;
    if (kind != NodeKind::kDevice && kind != NodeKind::kVendorSwitch) continue;
    shape.island_of[i] = number.emplace(root(i), static_cast<uint32_t>(number.size())).first->second;
  }
  shape.islands = static_cast<uint32_t>(number.size());
}

// Takes one graph apart into hosts, ways out and switches.
class Adding {
 public:
  Adding(Cluster::Impl& impl, const Graph& graph) : impl_(impl), graph_(graph), place_(graph.nodes.size()) {}

  Status run() {
    COMITY_RETURN_IF_ERROR(validate(graph_));
    for (const Link& link : graph_.links) {
      const uint32_t a = graph_.nodes[link.from].host, b = graph_.nodes[link.to].host;
      if (a != kNoHost && b != kNoHost && a != b) {
        return Status(
            Code::kInvalidArgument,
            fmt::format("a link joins host {} and host {} without a switch between: add the switch", a, b));
      }
    }
    add_switches();
    add_hosts();
    return {};
  }

 private:
  void add_switches() {
    std::map<std::pair<NodeKind, std::string>, uint32_t> seen;
    for (uint32_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      if (node.host != kNoHost) continue;
      const std::string& name = node.bus_id.empty() ? node.name : node.bus_id;
      const uint32_t number = seen[{node.kind, name}]++;
      const auto next = static_cast<uint32_t>(impl_.outside.nodes.size());
      const auto [at, fresh] = impl_.outside_index.emplace(std::tuple(node.kind, name, number), next);
      if (fresh) {
        impl_.outside.add(node);
        impl_.outside.nodes.back().id.clear();
      }
      place_[i] = at->second;
    }
    for (const Link& link : graph_.links) {
      if (graph_.nodes[link.from].host != kNoHost || graph_.nodes[link.to].host != kNoHost) continue;
      Link moved = link;
      moved.from = place_[link.from];
      moved.to = place_[link.to];
      if (impl_.outside_links.insert(moved).second) impl_.outside.add(std::move(moved));
    }
  }

  void add_hosts() {
    std::map<uint32_t, Graph> listed;
    for (uint32_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      if (node.host == kNoHost) continue;
      place_[i] = listed[node.host].add(node);
      Node& copy = listed[node.host].nodes.back();
      copy.host = 0;
      copy.id.clear();
      if (copy.kind == NodeKind::kHost) copy.name.clear();
    }
    std::map<uint32_t, std::vector<const Link*>> out;
    for (const Link& link : graph_.links) {
      const uint32_t a = graph_.nodes[link.from].host, b = graph_.nodes[link.to].host;
      if (a == b && a != kNoHost) {
        Link moved = link;
        moved.from = place_[link.from];
        moved.to = place_[link.to];
        listed[a].add(std::move(moved));
      } else if (a != b) {
        out[a != kNoHost ? a : b].push_back(&link);
      }
    }
    for (auto& [host, graph] : listed) add_host(std::move(graph), out[host]);
  }

  void add_host(Graph listed, const std::vector<const Link*>& out) {
    const Cluster::Impl::Listing& listing = look_up(std::move(listed));
    impl_.hosts.push_back({listing.shape, static_cast<uint32_t>(impl_.ways.size())});
    for (const Link* link : out) {
      const bool leaves = graph_.nodes[link->from].host != kNoHost;
      Link figure = *link;
      figure.from = figure.to = 0;
      const auto next = static_cast<uint32_t>(impl_.figures.size());
      const auto [at, fresh] = impl_.figure_index.emplace(figure, next);
      if (fresh) impl_.figures.push_back(figure);
      const uint32_t inner = leaves ? link->from : link->to, outer = leaves ? link->to : link->from;
      impl_.ways.push_back({listing.place[place_[inner]], place_[outer], at->second, leaves});
    }
    std::sort(impl_.ways.begin() + impl_.hosts.back().first_way, impl_.ways.end());
  }

  // Found among listings by equality; else made canonical and found among shapes or added to them.
  const Cluster::Impl::Listing& look_up(Graph listed) {
    const uint64_t key = topology::hash(listed);
    const auto [begin, end] = impl_.listing_by_hash.equal_range(key);
    for (auto at = begin; at != end; ++at) {
      if (impl_.listings[at->second].listed == listed) return impl_.listings[at->second];
    }
    Shape shape{listed, {}, 0};
    shape.graph.origin.clear();
    std::vector<uint32_t> place = canonicalize(shape.graph);
    impl_.listing_by_hash.emplace(key, static_cast<uint32_t>(impl_.listings.size()));
    impl_.listings.push_back({std::move(listed), shape_number(std::move(shape)), std::move(place)});
    return impl_.listings.back();
  }

  uint32_t shape_number(Shape shape) {
    const uint64_t key = topology::hash(shape.graph);
    const auto [begin, end] = impl_.shape_by_hash.equal_range(key);
    for (auto at = begin; at != end; ++at) {
      if (impl_.shapes[at->second].graph == shape.graph) return at->second;
    }
    number_islands(shape);
    const auto number = static_cast<uint32_t>(impl_.shapes.size());
    impl_.shape_by_hash.emplace(key, number);
    impl_.shapes.push_back(std::move(shape));
    return number;
  }

  Cluster::Impl& impl_;
  const Graph& graph_;
  std::vector<uint32_t> place_;  // by node of the graph: in its host's listing, or among the switches
};

}  // namespace

Cluster::Cluster() : impl_(std::make_unique<Impl>()) {}
Cluster::~Cluster() = default;
Cluster::Cluster(Cluster&&) noexcept = default;
Cluster& Cluster::operator=(Cluster&&) noexcept = default;

Status Cluster::add(const Graph& graph) {
  impl_->pairs.clear();
  impl_->crossings.clear();
  return Adding(*impl_, graph).run();
}

uint32_t Cluster::host_count() const {
  return static_cast<uint32_t>(impl_->hosts.size());
}
uint32_t Cluster::shape_count() const {
  return static_cast<uint32_t>(impl_->shapes.size());
}
const Graph& Cluster::shape_of(uint32_t host) const {
  return impl_->graph_of(host);
}
const Graph& Cluster::switches() const {
  return impl_->outside;
}

uint64_t Cluster::hash() const {
  uint64_t value = topology::hash(impl_->outside);
  for (const Shape& shape : impl_->shapes) value = mix(value, topology::hash(shape.graph));
  Graph figures;
  figures.links = impl_->figures;
  value = mix(value, topology::hash(figures));
  for (const Impl::Host& host : impl_->hosts) value = mix(mix(value, host.shape), host.first_way);
  for (const WayOut& way : impl_->ways)
    value = mix(mix(mix(mix(value, way.node), way.outside), way.figure), way.leaves ? 1 : 0);
  return value;
}

Result<Graph> Cluster::expand(uint32_t most_hosts) const {
  if (impl_->hosts.size() > most_hosts) {
    return Status(Code::kInvalidArgument,
                  fmt::format("{} hosts are more than the {} that may be drawn one by one",
                              impl_->hosts.size(), most_hosts));
  }
  Graph whole = impl_->outside;
  for (uint32_t host = 0; host < impl_->hosts.size(); ++host) {
    const Graph& shape = impl_->graph_of(host);
    const auto base = static_cast<uint32_t>(whole.nodes.size());
    for (const Node& node : shape.nodes) {
      whole.add(node);
      whole.nodes.back().host = host;
      whole.nodes.back().id.clear();
    }
    for (Link link : shape.links) {
      link.from += base;
      link.to += base;
      link.shared = shared_on_host(link.shared, host);
      whole.add(std::move(link));
    }
    const auto [begin, end] = impl_->ways_of(host);
    for (uint32_t i = begin; i < end; ++i) {
      const WayOut& way = impl_->ways[i];
      Link link = impl_->figures[way.figure];
      link.from = way.leaves ? base + way.node : way.outside;
      link.to = way.leaves ? way.outside : base + way.node;
      whole.add(std::move(link));
    }
  }
  canonicalize(whole);
  return whole;
}

}  // namespace comity::topology
