// comity topo --measure: latency and bandwidth of each transport between the NUMA domains of this machine.
#pragma once

#include "comity/plugin/result.h"
#include "topology/discover/profile.h"
#include "topology/graph.h"

namespace comity::cli {

// Two ranks, threads pinned to a core of each domain (two cores of one domain for what is within), for each
// pair of domains and each transport, one pair after the other: all of them share the memory, so that two at
// once would disturb each other. Domains without a core to spare are left out and said on standard error.
// Blocks for about a second per pair. Sets COMITY_TRANSPORTS: nothing else may use the library meanwhile.
Result<topology::Profile> measure(const topology::Graph& machine);

}  // namespace comity::cli
