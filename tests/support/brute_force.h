// A brute-force interpreter of Plans, the verifier's rival: it executes a plan on concrete memory, steps
// beginning and ending as separate events, in every order that a runtime may choose, and reports the first
// fault that shows.
//
// A fault is: two steps at work on one place of memory at once, one of them writing; a wrong or unfinished
// output in any final state; bits that differ between ranks; a state from which nothing moves; memory that no
// step may touch; a barrier that somebody leaves before everybody entered. Content is written out as
// expressions, so that no two different results look alike.
//
// How all orders are covered: enabling never ends (what may begin or end now may do so whatever else happens
// first). So for what can happen *on one rank* it is enough to try all orders of that rank's events while the
// others run ahead as far as they can; each rank is watched in turn. Small plans are explored in all orders
// of all ranks besides, and a test asserts that both ways agree. States are memoised with the memory they
// hold.
//
// It shares no code with the verifier; groups are executed by their definitions.
#pragma once

#include <cstdint>
#include <string>

#include "src/plan/plan.h"

namespace comity::test {

struct BruteForceOptions {
  uint32_t tiles = 1;
  // Explore all ranks' events together instead of one rank's at a time; exponential in all steps.
  bool all_ranks_at_once = false;
  // States per exploration; one that needs more is given up.
  uint64_t most_states = 200000;
};

struct BruteForceResult {
  bool fault = false;
  bool gave_up = false;  // an exploration outgrew most_states; no fault was found in what was seen
  std::string what;      // one sentence, if fault
  uint64_t states = 0;
};

// Never crashes on any Plan value whose sizes are small. Tries every placement that the shape allows.
BruteForceResult brute_force(const plan::Plan& plan, const BruteForceOptions& options = {});

}  // namespace comity::test
