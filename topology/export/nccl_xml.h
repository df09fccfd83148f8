// A graph as NCCL's topology XML, which NCCL_TOPO_FILE takes and import_nccl_xml reads back equal.
//
// What NCCL's XML has no place for is not in it: network switches and links between hosts, root ports (NCCL
// skips them too), figures between CPU domains, latencies, where figures came from. So a graph that came from
// elsewhere equals its export only in what NCCL looks at; reading and writing that again changes nothing
// more. By NCCL's rules: host_hash, numaid, affinity and arch on each cpu; bus ids in full and lower case
// (made up where none is known); link_speed and link_width on each pci; vendors' links other than NVLink,
// xGMI and C2C as elements that NCCL skips, named as in our JSON.
#pragma once

#include <string>

#include "comity/plugin/result.h"
#include "topology/graph.h"

namespace comity::topology {

// kInvalidArgument when the graph is not valid (graph.h) or has no host. Pure; linear time but for sorting.
Result<std::string> export_nccl_xml(const Graph& graph);

}  // namespace comity::topology
