// comity topo --measure --rank R --nranks N --id-file F: latency and bandwidth between hosts, pair by pair.
#pragma once

#include <string>

#include "comity/plugin/result.h"
#include "topology/graph.h"

namespace comity::cli {

struct Job {
  int rank = -1, nranks = 0;
  std::string id_file;  // rank 0 writes the id there, the others wait for it
};

// Called by all ranks at once, each in its own process. Measures every pair over TCP, and pairs of one host
// over shared memory too. On rank 0 the graph of all hosts, with the measured figures in the links between
// NICs and the network: a host's best, so that a slow peer counts against the peer alone; each pair is
// printed on standard error. On others an empty graph. kSystemError with the library's words; a rank that is
// lost ends all of them.
Result<topology::Graph> measure_cluster(const topology::Graph& machine, const Job& job);

}  // namespace comity::cli
