// Plans written by hand, small enough to be checked with a pencil: what the tests of plans start from.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "src/plan/plan.h"

namespace comity::test {

plan::ChunkRun in(uint32_t block = 0, uint32_t first = 0, uint32_t count = 1);
plan::ChunkRun out(uint32_t block = 0, uint32_t first = 0, uint32_t count = 1);
plan::ChunkRun slot(uint32_t index, uint32_t first = 0, uint32_t count = 1);
plan::ChunkRun landed(uint32_t step, uint32_t first = 0, uint32_t count = 1);
plan::After on(uint32_t step, uint32_t lane = 0);
plan::After in_place(uint32_t step, uint32_t lane = 0);

plan::Step send(uint32_t peer, plan::ChunkRun from, std::vector<plan::After> after = {});
plan::Step recv(uint32_t peer, plan::ChunkRun into, std::vector<plan::After> after = {});
plan::Step copy(plan::ChunkRun from, plan::ChunkRun into, std::vector<plan::After> after = {});
plan::Step reduce(std::vector<plan::ChunkRun> from, plan::ChunkRun into, std::vector<plan::After> after = {},
                  bool last = false);
// Its order is its index.
plan::Step group(uint32_t index, std::vector<plan::ChunkRun> from, std::vector<plan::ChunkRun> into,
                 std::vector<plan::After> after = {});

// A plan of one lane per rank.
plan::Plan one_lane(Collective collective, std::vector<std::vector<plan::Step>> steps_of_rank);

// p = 2: exchange, then both fold, the lower rank's operand first.
plan::Plan one_shot_pair();
// p = 3 all-reduce on a ring, three chunks, one in each lane.
plan::Plan ring_of_three();
// 0 -> 1 -> 2.
plan::Plan chain_broadcast();
// p = 3 in two rounds.
plan::Plan dissemination_barrier();
// p = 2 all-gather by exchange.
plan::Plan all_gather_pair();
// p = 2 reduce-scatter by exchange.
plan::Plan reduce_scatter_pair();
// p = 3: rank 0 gathers and folds.
plan::Plan reduce_to_root();
// p = 4: groups {0, 1} and {2, 3} reduce to their first, those two all-reduce, then broadcasts.
plan::Plan groups_of_four();
// All of the above.
std::vector<plan::Plan> hand_plans();

}  // namespace comity::test
