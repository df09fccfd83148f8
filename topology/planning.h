// What planning reads of a graph: which ranks are near each other, and what the ways among them can do. The
// selector, the two-level plan and the calibration know machines through this and nothing else.
//
// Pure; owned values; no function is bound to a thread. All ranks hold an equal graph, so they plan alike.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "topology/graph.h"
#include "topology/topology.h"

namespace comity::topology {

// A kind of way between ranks, by the links that carry it.
enum class Way : uint8_t {
  kMemory,    // of one host: its memory links, host to NUMA domain
  kLoopback,  // of one host, over its own sockets: links between the host and its switch "loopback"
  kNetwork,   // between hosts: links between a host's NICs and the network's switches
  kIsland,    // links of a vendor between devices
};

// Where ranks are and what carries their data.
struct Placement {
  std::vector<uint32_t> node_of_rank;  // indices of nodes: a device, a NUMA domain or a host
  Way inside = Way::kMemory;           // between ranks of one host
  bool direct = false;                 // a provider reaches peers' memory inside
  std::string inside_transport, across_transport;
};

// The links that carry `way` in the hosts that hold a node of `nodes` (indices, in the graph's order).
// O(links).
std::vector<uint32_t> links_of(const Graph& graph, Way way, const std::vector<uint32_t>& nodes);

// What one way can do, from rank to rank, at its worst: the narrowest link, and the latency of a link in and
// a link out. Where no link of the way has a figure, a guess stands in. `rails`: the fewest NICs of a host.
Path path_of(const Graph& graph, Way way, const std::vector<uint32_t>& nodes);

// Writes a figure that was got end to end into the links of a way, so that path_of() gives it back: half of
// the latency to each link, and of a network its part of the bandwidth to each rail. Links with a figure of a
// better source keep it.
void set_figures(Graph& graph, Way way, const std::vector<uint32_t>& nodes, uint64_t latency_ns,
                 uint64_t bandwidth_bytes_per_s, Source source);

// Adds what a communicator uses and no discovery sees: to each host with ranks its NUMA-less memory link, its
// loopback switch, a NIC where it has none; and one switch "network" that the NICs which lead nowhere are
// joined to. Idempotent. O((nodes + links) log hosts).
void complete_for_planning(Graph& graph, const Placement& placement);

// Groups and figures. Ranks form groups by islands, where each of them sits on a device of an island and each
// island of more than one rank; else by hosts. kInvalidArgument: no ranks, a node that is not there or has no
// host.
Result<Topology> plan_topology(const Graph& graph, const Placement& placement);

}  // namespace comity::topology
