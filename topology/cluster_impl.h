// What a Cluster holds; shared by the files that implement it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "topology/cluster.h"

namespace comity::topology {

// One way between a node of a host and a switch outside hosts, one direction.
struct WayOut {
  uint32_t node = 0;     // of the host's shape
  uint32_t outside = 0;  // of the switches
  uint32_t figure = 0;   // of figures
  bool leaves = true;    // from the host
  auto operator<=>(const WayOut&) const = default;
};

// The widest way from one switch to another through the network.
struct Crossing {
  uint64_t width = 0;  // 0: none; UINT64_MAX: itself, or all unknown
  uint32_t hops = 0;
  uint64_t latency_ns = 0;
};

struct Shape {
  Graph graph;                      // canonical, one host
  std::vector<uint32_t> island_of;  // by node: number of what vendors' links join in here, or kNone
  uint32_t islands = 0;
};

inline constexpr uint32_t kNone = UINT32_MAX;

struct Cluster::Impl {
  // A host as it was listed, and what became of it: equal listings are looked up, not made canonical again.
  struct Listing {
    Graph listed;
    uint32_t shape = 0;
    std::vector<uint32_t> place;  // in the shape, by place in the listing
  };
  struct Host {
    uint32_t shape = 0;
    uint32_t first_way = 0;  // its ways are [first_way, that of the next host)
  };
  using SwitchKey =
      std::tuple<NodeKind, std::string, uint32_t>;  // bus id or name, and its number among equals

  std::vector<Shape> shapes;
  std::unordered_multimap<uint64_t, uint32_t> shape_by_hash;
  std::vector<Listing> listings;
  std::unordered_multimap<uint64_t, uint32_t> listing_by_hash;
  std::vector<Host> hosts;
  std::vector<WayOut> ways;
  std::vector<Link> figures;  // links without their ends
  std::map<Link, uint32_t> figure_index;
  Graph outside;  // switches that belong to no host, and links among them
  std::map<SwitchKey, uint32_t> outside_index;
  std::set<Link> outside_links;

  // What path() computed: graphs of two hosts and their switches, by what they are made of.
  struct Pair {
    Graph graph;
    std::map<uint32_t, std::vector<PathInfo>> from;
  };
  std::map<std::vector<uint32_t>, Pair> pairs;
  std::map<uint32_t, std::vector<Crossing>> crossings;

  std::pair<uint32_t, uint32_t> ways_of(uint32_t host) const {
    const auto end = host + 1 < hosts.size() ? hosts[host + 1].first_way : static_cast<uint32_t>(ways.size());
    return {hosts[host].first_way, end};
  }
  const Graph& graph_of(uint32_t host) const { return shapes[hosts[host].shape].graph; }
  const std::vector<Crossing>& crossings_from(uint32_t switch_node);
  Graph graph_of_pair(uint32_t a, uint32_t b);
};

}  // namespace comity::topology
