// Groups with their definitions: what a provider carries out whole, and how it is done where none can. Pure.
#pragma once

#include <vector>

#include "algorithms/algorithm.h"
#include "algorithms/members.h"
#include "algorithms/steps.h"

namespace comity::algorithms {

// A group step's operands, as plan::Group shapes them for its collective.
struct GroupRuns {
  std::vector<ChunkRun> src;
  std::vector<ChunkRun> dst;
};

// Each returns a group of `members` over `runs`. `last`: its reduction completes all ranks' contributions.
// `folding` is that of the definition, where each chunk has one owner.
// Definitions: two_shot over the run's chunks if it has one per member, else direct.
plan::Group all_reduce_group(const Members& members, const GroupRuns& runs, bool last, Folding folding);
// The root receives from all and folds; `root` is an index into members.
plan::Group reduce_group(const Members& members, uint32_t root, const GroupRuns& runs, bool last,
                         Folding folding);
// The root sends to all and copies to its own output.
plan::Group broadcast_group(const Members& members, uint32_t root, const GroupRuns& runs);
// Everyone sends to everyone; own x is copied to y[me] where they differ.
plan::Group all_gather_group(const Members& members, const GroupRuns& runs);
// Everyone sends everyone its share; each folds its own, whose length is that of `extent` where blocks have
// lengths of their own (plan/extents.h).
plan::Group reduce_scatter_group(const Members& members, const GroupRuns& runs, bool last, Folding folding,
                                 uint32_t extent = plan::kImplied);
// Everyone sends everyone its block, and copies its own.
plan::Group all_to_all_group(const Members& members, const GroupRuns& runs);
// Everyone sends to the root, which copies its own to dst[root] where they differ; `root` is an index into
// members.
plan::Group gather_group(const Members& members, uint32_t root, const GroupRuns& runs);
// The root sends everyone its block, and copies its own where they differ.
plan::Group scatter_group(const Members& members, uint32_t root, const GroupRuns& runs);
// Dissemination of a token from scratch slot 0.
plan::Group barrier_group(const Members& members);

// A part of one lane and one step: the group.
Part part_of_group(uint32_t rank, plan::Group group, GroupRuns runs);
// A provider rounds once. So does a definition that folds all at once, where each rounding costs.
inline Folding folding_of(const Request& request) {
  return request.narrow ? Folding::kAtOnce : Folding::kOnArrival;
}
// Appends the group to the part and its step to the lane.
uint32_t add_group(Part& part, Steps& steps, plan::Group group, GroupRuns runs, Steps::Turn turn,
                   std::vector<After> after);

// Whether one host's ranks reach each other's memory: where the algorithm named "group" applies.
bool reaches_all_memory(const topology::Topology& topology);
// The shape of the algorithm "group": one tile however long the block, `chunks` chunks.
Shape group_shape(Collective collective, const Request& request, uint32_t chunks);

}  // namespace comity::algorithms
