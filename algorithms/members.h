// Sub-collectives among an ordered set of ranks as primitive steps, every member exchanging with every other:
// the bodies of `direct` and `two_shot`, and the definitions of groups.
//
//   reduce-scatter, 3 members          all-gather
//   0: x1 -> 1, x2 -> 2                0: x -> 1, 2
//   1: x0 -> 0, x2 -> 2                1: x -> 0, 2
//   2: x0 -> 0, x1 -> 1                2: x -> 0, 1
//   then each folds its own x
//
// Members talk to their successors first (me + 1, me + 2, ...), so that no member is everyone's first peer.
// Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "algorithms/steps.h"
#include "comity/plugin/types.h"

namespace comity::algorithms {

struct Members {
  std::vector<uint32_t> ranks;  // in the order that folds and blocks follow
  uint32_t me = 0;              // index into ranks
  std::vector<bool> partial{};  // by index: what it contributes is a partial result; empty: none is

  uint32_t size() const { return static_cast<uint32_t>(ranks.size()); }
  // The index `distance` after mine, and before.
  uint32_t after(uint32_t distance) const { return (me + distance) % size(); }
  uint32_t before(uint32_t distance) const { return (me + size() - distance) % size(); }
  bool is_partial(uint32_t index) const { return !partial.empty() && partial[index]; }
};
// All ranks of a communicator.
Members everyone(uint32_t nranks, uint32_t rank);

// How a member folds what others send it.
enum class Folding {
  kAtOnce,  // one reduce of all sources in members' order: one rounding, equal bits wherever it is computed
  kOnArrival,  // pair by pair as they arrive, own first: no landing outlives its segment; for one owner per
               // chunk
  kBalanced,  // by the balanced tree over members (plan/balanced.h), two by two, inner nodes in scratch slots from
              // 0 on: equal bits wherever it is computed, by whichever algorithm
};
// Scratch slots that the balanced tree over so many takes.
uint32_t balanced_slots(uint32_t members);

// Sends x[j] to member j for every other j once `ready` is complete, receives all others' x[me] and folds
// them into `into`. Only with kAtOnce and kBalanced may there be something to be ready.
struct ReduceScatterSteps {
  std::vector<uint32_t> sends;  // by member; unused at [me]
  uint32_t reduced = 0;         // the step that completes `into`
};
ReduceScatterSteps add_reduce_scatter(Steps& steps, const Members& members, std::span<const ChunkRun> x,
                                      const ChunkRun& into, bool last, Folding folding,
                                      const std::vector<After>& ready = {});

// Sends `own` to everyone once `ready` is complete, and receives y[j] from member j; y[me] is `own`, or is
// not touched. `cleared`, by member, is waited for before y[j] is overwritten; empty: nothing to wait for.
// Returns the sends.
std::vector<uint32_t> add_all_gather(Steps& steps, const Members& members, const ChunkRun& own,
                                     std::span<const ChunkRun> y, const std::vector<After>& ready,
                                     const std::vector<After>& cleared);

// Receives from all others and folds pair by pair: into = own op next op ... Returns the last reduce.
uint32_t add_fold_on_arrival(Steps& steps, const Members& members, const ChunkRun& own, const ChunkRun& into,
                             bool last);
// The same with one reduce of all, in members' order. `in_place`: what else it waits for.
uint32_t add_fold_at_once(Steps& steps, const Members& members, const ChunkRun& own, const ChunkRun& into,
                          bool last, const std::vector<After>& in_place);

// The same by the balanced tree over members.
uint32_t add_balanced_fold(Steps& steps, const Members& members, const ChunkRun& own, const ChunkRun& into,
                           bool last, const std::vector<After>& in_place);

// Reduce-scatter of x, one run per member, then all-gather into y.
void add_two_shot(Steps& steps, const Members& members, std::span<const ChunkRun> x,
                  std::span<const ChunkRun> y, bool last, Folding folding);

// Exchanges x with everyone, folds all into y, kAtOnce or kBalanced: every member computes the same bits.
// Returns the last reduce.
uint32_t add_exchange_all(Steps& steps, const Members& members, const ChunkRun& x, const ChunkRun& y,
                          bool last, Folding folding = Folding::kAtOnce);

// Sends x[j] to every other member j and receives y[j] from it; copies x[me] to y[me].
void add_all_to_all(Steps& steps, const Members& members, std::span<const ChunkRun> x,
                    std::span<const ChunkRun> y);
// Receives y[j] from every other member j; copies `own` to y[me], in place onto itself.
void add_gather_at_root(Steps& steps, const Members& members, const ChunkRun& own,
                        std::span<const ChunkRun> y);
// Sends x[j] to every other member j; copies x[me] to `own`, in place onto itself.
void add_scatter_at_root(Steps& steps, const Members& members, std::span<const ChunkRun> x,
                         const ChunkRun& own);

// Dissemination: in round k a member signals the one 2^k after it and waits for the one 2^k before it.
// `token` is sent.
void add_dissemination(Steps& steps, const Members& members, const ChunkRun& token);

}  // namespace comity::algorithms
