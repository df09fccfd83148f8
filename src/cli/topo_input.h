// Where `comity topo` gets a topology from: a file of any kind that we read, a notation, or this machine.
#pragma once

#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "topology/graph.h"

namespace comity::cli {

// What --from takes: "auto" and the kinds.
std::vector<std::string> topology_kinds();

struct TopologyInput {
  std::string text;  // a file's name, "-" for standard input, a notation; empty: this machine
  std::string kind = "auto";
};

// The graph, canonical and valid; what of a file was not understood is said on standard error, a line each.
// kInvalidArgument: the file or the notation is malformed, with file, line and reason; kSystemError: the file
// cannot be read. Blocks for reading, and for discovery up to its deadline.
Result<topology::Graph> read_topology(const TopologyInput& input);

}  // namespace comity::cli
