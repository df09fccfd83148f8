// comity topo --measure --rank R --nranks N --id-file F: latency and bandwidth between hosts, pair by pair.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "comity/plugin/result.h"
#include "topology/graph.h"

namespace comity::cli {

struct Job {
  int rank = -1, nranks = 0;
  std::string id_file;  // rank 0 writes the id there, the others wait for it
};

using RankPair = std::pair<uint32_t, uint32_t>;

// All pairs of ranks, each once, lower rank first, in turns: pairs of one turn are measured at once, and no
// host is in two of them, so that they share no NIC and no memory. Greedy; as short as can be where each rank
// has a host of its own (a round-robin tournament; T. P. Kirkman, 1847) and their number is even or odd.
std::vector<std::vector<RankPair>> turns_of(const std::vector<uint32_t>& host_of_rank);

// Called by all ranks at once, each in its own process. Measures every pair over TCP, and pairs of one host
// over shared memory too. On rank 0 the graph of all hosts, with the measured figures in the links between
// NICs and the network: a host's best, so that a slow peer counts against the peer alone; each pair is
// printed on standard error. On others an empty graph. kSystemError with the library's words; a rank that is
// lost ends all of them.
Result<topology::Graph> measure_cluster(const topology::Graph& machine, const Job& job);

}  // namespace comity::cli
