// One graph out of what all ranks see: each rank describes its machine, and where ranks of one host differ,
// what not all of them see is left out and named. A pure function of what was gathered: all ranks get the
// same.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "topology/graph.h"

namespace comity::topology {

// A machine without what is its own alone: names and ids of the host, serial numbers, attributes but those
// that planning reads. Machines of one make have equal ones.
Graph anonymous(const Graph& graph);

// What one rank sees.
struct View {
  uint64_t digest = 0;  // of the text
  std::string text;  // to_json() of an anonymous graph of one host; empty where a lower rank has the digest
};
uint64_t digest_of(const std::string& text);
// Whether the rank is the lowest with its digest, and so the one that sends the text.
bool sends_text(std::span<const uint64_t> digest_of_rank, uint32_t rank);

struct Agreed {
  Graph graph;                           // one host per group, numbered as the groups
  std::vector<uint32_t> host_node;       // by group, index of its host's node
  std::vector<std::string> differences;  // for people: what a rank of a group does not see and others do
};

// Views by rank, and the group (ranks that share a machine's memory) of each, 0..m-1. Errors, naming the
// rank: a text that cannot be read (another version, damaged: digest and text differ), one of several hosts,
// or none of a digest. kInvalidUsage where ranks of a group see nothing in common. O(size of the distinct
// views + groups times a host's graph).
Result<Agreed> agree(std::span<const View> views, const std::vector<uint32_t>& group_of_rank);

}  // namespace comity::topology
