// Plans as JSON, for files that people and other programs read and write.
//
//   {"comity_plan": 1,
//    "shape": {"algorithm": "ring", "collective": "all_reduce", "nranks": 2, "root": 0, "weights": [1, 1],
//              "scratch_slots": 0, "window": 2, "tile_bytes": 1048576 or "whole_block",
//              "placement": "both" | "out_of_place" | "in_place", "any_lengths": false},
//    "parts": [{"rank": 0,
//               "lanes": [{"steps": [STEP, ...]}, ...],
//               "groups": [{"collective": "reduce", "members": [0, 1], "root": 0, "last": false,
//                           "definition": [STEP, ...]}, ...]}, ...]}
//   STEP = {"kind": "send" | "recv" | "copy" | "reduce" | "group", "peer": 1,
//           "src": [RUN, ...], "dst": [RUN, ...],
//           "after": [{"lane": 0, "step": 3, "in_place_only": true}, ...], "last": true,
//           "group": 0, "order": 0, "lag": 0, "extent": 0}
//   RUN = {"space": "input" | "output" | "scratch" | "received", "block": 0, "first": 0, "count": 1}
//
// What a step, `after` or part leaves out is its default (0, false, none); everything of the shape but
// any_lengths must be there.
#pragma once

#include <string>
#include <string_view>

#include "comity/plugin/result.h"
#include "src/plan/plan.h"

namespace comity::plan {

// The version written, and the only one read.
inline constexpr uint32_t kJsonVersion = 1;

// Pure. One step a line. plan_from_json() gives back an equal Plan, whatever is in it, if it is within its
// limits.
std::string to_json(const Plan& plan);

// Reads a plan from a stranger. kInvalidArgument, naming the place ("parts[2].lanes[0].steps[4].peer: 9 is
// not a rank below 4"), for text that is not JSON, another version, a field unknown, missing, twice or of the
// wrong type, a number out of range, and sizes beyond 64 MiB of text, 65536 ranks, 16 Mi steps. Never throws.
// What it returns is well-formed, not right: verify() it before it may run.
Result<Plan> plan_from_json(std::string_view text);

}  // namespace comity::plan
