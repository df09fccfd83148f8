// The steps of a recursive-doubling all-reduce over an ordered set of ranks, callable round by round, so that
// several may share a lane: `recursive_doubling` runs one, `hierarchical` one per chunk owned.
#pragma once

#include <cstdint>
#include <vector>

#include "algorithms/steps.h"
#include "algorithms/surplus.h"

namespace comity::algorithms {

struct DoublingSpec {
  std::vector<uint32_t> members;  // ranks, in the order that folds follow
  uint32_t position = 0;          // mine
  uint32_t first_chunk = 0;       // the chunks reduced
  uint32_t chunk_count = 1;
  Space own = Space::kInput;       // where the own contribution lies: the input, or the output
  std::vector<After> ready = {};   // when it is complete
  std::vector<bool> partial = {};  // by member: its contribution is a partial result itself; empty: none is
};

// Results of rounds alternate between the output and scratch slot 0, so that a round's reduction may begin
// while the previous one's send is under way; the last ends in the output.
class DoublingSteps {
 public:
  // Scratch slots and folds of the rank that has most.
  static uint32_t scratch_slots(uint32_t members) { return most_folds(members) > 1 ? 1 : 0; }
  static uint32_t most_folds(uint32_t members);

  DoublingSteps(Steps& steps, DoublingSpec spec);

  // In this order: begin(); for each round send(k), then fold(k); end(). A surplus member does all in begin()
  // and end().
  uint32_t rounds() const { return surplus_.is_surplus(spec_.position) ? 0 : surplus_.rounds(); }
  void begin();
  void send(uint32_t round);
  void fold(uint32_t round);
  void end();
  // After end(): all that must be complete for the whole result to be, and to be free of readers.
  const std::vector<After>& complete() const { return ready_; }

 private:
  bool speaks() const { return surplus_.has_surplus(spec_.position); }
  ChunkRun run(Space space) const { return {space, 0, spec_.first_chunk, spec_.chunk_count}; }
  ChunkRun into(uint32_t stage) const {
    return run((stages_ - 1 - stage) % 2 == 0 ? Space::kOutput : Space::kScratch);
  }
  ChunkRun source(uint32_t stage) const { return stage == 0 ? run(spec_.own) : into(stage - 1); }
  // The send of the own contribution, to be waited for before the output is written.
  After own_sent(uint32_t sent) const {
    return spec_.own == Space::kInput ? steps_.done_in_place(sent) : steps_.done(sent);
  }
  void add_fold(uint32_t stage, uint32_t position, bool peer_folded, Order order);
  bool partial(uint32_t position) const { return !spec_.partial.empty() && spec_.partial[position]; }

  Steps& steps_;
  DoublingSpec spec_;
  Surplus surplus_;
  uint32_t index_;               // among the core
  uint32_t stages_;              // folds of this rank
  std::vector<After> ready_;     // when the current result is complete
  std::vector<uint32_t> sends_;  // by stage; a stage without one repeats its predecessor
};

}  // namespace comity::algorithms
