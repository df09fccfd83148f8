// Many hosts, each described once where they are alike: for clusters of thousands.
//
// A host's own graph is kept once per shape (what canonicalize() makes equal); of each host only its shape
// and its ways out are kept: links from its nodes to switches that belong to no host. Those switches (of the
// network, or of a vendor's link that spans hosts) are one graph of their own. Memory: O(shapes + ways out +
// switches). Not thread-safe: path() keeps what it computed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "comity/plugin/result.h"
#include "topology/graph.h"
#include "topology/paths.h"

namespace comity::topology {

// A node of a host: its index in shape_of(host).
struct Place {
  uint32_t host = 0, node = 0;
  auto operator<=>(const Place&) const = default;
};

class Cluster {
 public:
  Cluster();
  ~Cluster();
  Cluster(Cluster&&) noexcept;
  Cluster& operator=(Cluster&&) noexcept;

  // Adds hosts and switches of a graph: merging is adding one graph after the other. Hosts are numbered on,
  // in the graph's order; a switch outside hosts that was added before, by bus id or else by name, is that
  // switch, and links between such switches are added once. Names of hosts are dropped. kInvalidArgument:
  // what validate() says; a link from one host's node to another's. O(graph log graph).
  Status add(const Graph& graph);

  uint32_t host_count() const;
  uint32_t shape_count() const;
  // A canonical graph of one host. The reference holds until the next add().
  const Graph& shape_of(uint32_t host) const;
  const Graph& switches() const;

  uint64_t hash() const;  // equal for clusters that were added alike
  // As the functions of paths.h, over all hosts. Each set ascending, and they by their first.
  std::vector<std::vector<Place>> islands() const;
  std::vector<std::vector<Place>> rails() const;
  // As paths_from(expand(), from)[to], without its links; of paths through the network hops are those of the
  // widest way among switches. Blocks for about a millisecond where hosts of these shapes at these switches
  // are new.
  PathInfo path(Place from, Place to);

  // The whole graph, canonical. kInvalidArgument: more than `most_hosts`.
  Result<Graph> expand(uint32_t most_hosts = 4096) const;

  struct Impl;  // of the implementation

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace comity::topology
