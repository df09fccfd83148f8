// The graph of a communicator: what its ranks see of their machines, agreed on, and where the ranks are in
// it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "topology/agree.h"
#include "topology/planning.h"

namespace comity::api {

// This process's view of its machine, as topology::View's text: from COMITY_TOPO_FILE, else discovered, once
// per process and within seconds (a source that hangs is left out). Errors: of the file. Thread-safe; blocks.
Result<std::string> local_view();

// What was measured end to end by calibration.
struct Measured {
  topology::Way way = topology::Way::kNetwork;
  uint64_t latency_ns = 0;
  uint64_t bandwidth_bytes_per_s = 0;
};

// What joins ranks, of all that any of them has.
struct TransportsInUse {
  bool shm = false;
  std::string across = "tcp";  // names, joined by +
};

class Layout {
 public:
  // Views by rank; groups are ranks that share memory (all one's own where shm is not in use). Warns of
  // differences on rank 0. Errors: those of topology::agree().
  Status agree(std::span<const topology::View> views, const std::vector<uint32_t>& group_of_rank,
               const TransportsInUse& transports, uint32_t rank);
  void take(const Measured& measured);
  // What the transports' rails say of the network, until it is measured.
  void take_reported(const PathFigures& network);
  // Of these ranks alone, in this order: the same graph, with what was measured.
  Layout restricted_to(std::span<const uint32_t> ranks) const;
  Result<topology::Topology> topology() const { return topology::plan_topology(graph_, placement_); }
  const topology::Graph& graph() const { return graph_; }
  // For logs and the agreement's items.
  std::string describe() const;

 private:
  topology::Graph graph_;
  topology::Placement placement_;
};

}  // namespace comity::api
