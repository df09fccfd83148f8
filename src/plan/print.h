// Plans for people: text in aligned columns, and drawings for Graphviz. All functions are pure and work on
// any Plan value, right or wrong, so that a refused plan can be looked at.
#pragma once

#include <string>

#include "src/plan/plan.h"

namespace comity::plan {

// "in[2:0..3]": chunks 0 to 3 of input block 2; "out", "scratch" and "recv" (what that step received)
// likewise.
std::string describe(const ChunkRun& run);
// "send in[0:0..3] -> 2", "recv out[0:1] <- 3", "reduce in[0:0] + recv[4:0] -> out[0:0], last", "group 1:
// in[0:0] -> out[0:0]". Without what it waits for.
std::string describe(const Step& step);

struct PrintOptions {
  uint32_t most_ranks = 64;  // ranks printed; what is left out is said in the last line
};
// The shape in a few lines, then per rank a table: lane, step, what it does, after which steps. A `*` marks a
// dependency that only a call in place needs.
std::string to_text(const Plan& plan, const PrintOptions& options = {});

// A directed graph in Graphviz's language: a cluster per rank, a row of nodes per lane, solid edges for
// `after`, dashed for what only a call in place needs, bold ones for messages. Groups are drawn whole, as one
// node on each member.
std::string to_dot(const Plan& plan, const PrintOptions& options = {});

}  // namespace comity::plan
