// What all drawings share: the tree of each host (what hangs from what), and which hosts and switches are
// alike, so that they are drawn once with a count. Nothing here blocks; no function is bound to a thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "topology/draw/folding.h"
#include "topology/graph.h"

namespace comity::topology {

// A host's tree by memory, PCIe and C2C links from the host's node down.
struct HostOutline {
  uint32_t host_node = 0;
  // Of the host: the tree's nodes in depth-first order, then those out of the tree.
  std::vector<uint32_t> nodes;
  std::vector<uint32_t> depth;  // of each of `nodes`: 0 of the host and of what is out of the tree
  std::vector<int64_t> parent;  // of each of `nodes`, an index of `nodes`; -1: none
  std::vector<int64_t> link;    // of each of `nodes`, the index of the graph's link from its parent; -1: none
};

struct Outline {
  std::vector<HostOutline> hosts;  // of the first host of each of `host_groups`
  std::vector<Alike> host_groups;
  std::vector<Alike> switches;  // outside of hosts
  bool by_place = false;        // hosts and switches are alike by rail and leaf only: see folding.h
  std::vector<uint32_t> drawn;  // by node: the node that is drawn for it; UINT32_MAX: not drawn
  // By host group: drawn links within it and out of it, of one direction.
  std::vector<std::vector<uint32_t>> links;
  std::vector<uint32_t> switch_links;  // drawn links between switches outside of hosts, of one direction

  // How many switches a drawn node outside of hosts stands for.
  size_t count_at(uint32_t node) const;
};

// Of a valid graph. O((nodes + links) log). Hosts are alike if they have the same parts, links and figures
// and are joined to the same switches; where that leaves more than `most_groups`, as folding.h says.
Outline outline_of(const Graph& graph, uint32_t most_groups = 4);

// "h0", "h0-h3", "h0, h2, h4-h7"; after 6 ranges "...".
std::string range_text(const Graph& graph, const std::vector<uint32_t>& host_nodes);
// "450 GB/s", "31.5 GB/s", "125 MB/s"; "unknown" of 0.
std::string bandwidth_text(uint64_t bytes_per_s);
// "18 x 25 GB/s", "63 GB/s".
std::string figure_text(const Link& link);
// The id without its host: "gpu3" of "h0.gpu3".
std::string short_id(const Node& node);
// "8 x NVIDIA H100-SXM5, 8 x ConnectX-7": the host's devices and NICs by name, in order.
std::string contents_text(const Graph& graph, const HostOutline& host);

}  // namespace comity::topology
