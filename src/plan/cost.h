// The price of a Plan: how long it would take on paths of given figures, by simulating its events.
//
// The model: a rank sends one message at a time and receives one at a time (full duplex), and copies and
// reduces one thing at a time. A message occupies both ends for its length over the path's bandwidth, and
// arrives a latency after it left. Steps issue as a runtime issues them; sends are complete when they have
// left. Links that ranks share are not modelled. Groups are priced by their definitions. Integer arithmetic:
// equal on every machine.
//
// The plan should be verified: groups are expanded without a limit, and a plan that stalls has no price.
// Closed forms of algorithms are checked against this; it needs O(steps * window * log) time whatever the
// count: a block of more tiles than that is simulated until it runs evenly, then extrapolated.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "comity/plugin/result.h"
#include "src/plan/plan.h"

namespace comity::plan {

struct PathFigures {
  uint64_t latency_ns = 0;
  uint64_t bandwidth_bytes_per_s = 0;  // 0: infinite
};

struct CostInput {
  std::function<PathFigures(uint32_t from, uint32_t to)> path;
  uint64_t reduce_bytes_per_s = 0;  // of each source after the first; 0: infinite
  uint64_t copy_bytes_per_s = 0;    // 0: infinite
  uint64_t block_bytes = 0;         // a barrier's is kBarrierBytes whatever is given
  bool in_place = false;
};

struct Cost {
  uint64_t time_ns = 0;              // until the last rank ends; saturates
  std::vector<uint64_t> end_ns;      // by rank, of the simulated tiles
  std::vector<uint64_t> sent_bytes;  // by rank, of all tiles
  uint64_t messages = 0;             // of one tile, all ranks
  uint64_t tiles = 0;
  uint64_t tiles_simulated = 0;  // the rest is extrapolated
};

// kInvalidArgument for a plan whose parts are out of bounds, whose sends and receives do not match, or that
// stalls.
Result<Cost> price(const Plan& plan, const CostInput& input);

}  // namespace comity::plan
