// Algorithm: a pure function (Topology, collective, size) -> Plan. It touches no socket, no clock, no memory.
//
// Each algorithm lives in algorithms/<collective>/<name>.cc, states its steps, its bytes on the wire, a
// diagram and its paper, and registers itself in the table of algorithms/registry.cc. A rank's part is
// generated alone, in time proportional to that part.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"
#include "src/plan/plan.h"
#include "topology/topology.h"

namespace comity::algorithms {

// What an algorithm is asked for. block_bytes is a size class's representative: a plan is valid for every
// count, the size only tunes tile_bytes and window.
struct Grouping;  // cost.h
struct Request {
  const topology::Topology* topology = nullptr;
  uint32_t root = 0;
  uint64_t block_bytes = 0;
  const Grouping* grouping = nullptr;  // the topology's, for whoever prices much: counting it takes O(ranks)
  // For types whose partial results may be rounded, to 8 or 16 bits: where there is a choice, as many
  // operands as possible are folded at once, so that few are made.
  bool narrow = false;
  // Lanes that a part may have, at least 1.
  uint32_t max_lanes = plan::kMaxLanes;
};

struct Algorithm {
  std::string_view name;
  Collective collective;
  std::string_view summary;  // one line for people: steps and bytes
  // Whether it can plan for this topology ("hierarchical" needs two hosts, "group" needs a provider's reach).
  bool (*applies)(const topology::Topology& topology);
  // Shape::any_lengths says whether it serves blocks of different lengths too; always or never.
  plan::Shape (*shape)(const Request& request);
  // Only primitive steps, or groups with definitions. `rank` < nranks.
  plan::Part (*part)(const Request& request, const plan::Shape& shape, uint32_t rank);
  // Predicted time in ns by the closed form in the algorithm's file. Integer arithmetic, equal on every rank.
  uint64_t (*cost_ns)(const Request& request);
  // Where partial results are rounded (request.narrow): how often a rank's contribution is, at most, on
  // its way to a result, the last time included; 1: the result is exact but for its own rounding. Null:
  // nothing is reduced. What plan::fold_depths() finds in the plan, in closed form.
  uint32_t (*roundings)(const Request& request) = nullptr;
  // Chosen only where partial results may be rounded, since it rounds once.
  bool for_narrow = false;
  // Whether, on this topology, every result is folded by the balanced tree over ranks (plan/balanced.h), for
  // every root, size and number of lanes. Null: on none.
  bool (*balanced)(const topology::Topology& topology) = nullptr;
  // Chosen only where that is asked for: without, another has the same steps and fewer copies.
  bool for_balanced = false;
  // Lanes that its parts have at least; how many more is up to Request::max_lanes.
  uint32_t least_lanes = 1;
  // Made of group steps: never what a forced name means when it is not this very name.
  bool uses_groups = false;
};

// All algorithms, in stable order. Static storage.
std::span<const Algorithm> all();
// Null if there is none of that name.
const Algorithm* find(Collective collective, std::string_view name);
// The names for a collective, for messages: "ring, direct, ...".
std::string names_of(Collective collective);
// The hash of the plan that this request gets, equal on all ranks; takes no other rank's part. It covers all
// that the steps are made from: algorithm, release of the library, and every field of the request.
uint64_t hash_of(const Algorithm& algorithm, const Request& request, const plan::Shape& shape);
// All parts at once, for the verifier, printers and tests. kInvalidArgument if the algorithm does not apply.
Result<plan::Plan> make_plan(const Algorithm& algorithm, const Request& request);

}  // namespace comity::algorithms
