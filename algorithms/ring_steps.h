// The steps of a ring all-reduce over an ordered set of ranks, callable one by one, so that several rings may
// share a lane: `ring` runs one per lane, `hierarchical` one per chunk owned.
#pragma once

#include <cstdint>
#include <vector>

#include "algorithms/steps.h"

namespace comity::algorithms {

struct RingSpec {
  uint32_t size = 2;      // members
  uint32_t position = 0;  // mine
  uint32_t next = 0;      // ranks
  uint32_t previous = 0;
  uint32_t first_chunk = 0;  // the ring's chunk i is chunk first_chunk + i * stride of the tile
  uint32_t stride = 1;
  Space own = Space::kInput;      // where the own contribution lies: the input, or the output
  std::vector<After> ready = {};  // when it is complete
  bool own_partial = false;       // it is a partial result itself
  bool previous_partial = false;  // and so is that of `previous`
};

// Steps s = 0 .. size - 2 of the reduce-scatter, send then fold; then of the all-gather, send then recv.
class RingSteps {
 public:
  RingSteps(Steps& steps, RingSpec spec);

  uint32_t rounds() const { return spec_.size - 1; }
  void scatter_send(uint32_t s);
  void scatter_fold(uint32_t s);
  void gather_send(uint32_t s);
  void gather_recv(uint32_t s);
  // After the last step: all that must be complete for the whole result to be, and to be free of readers.
  const std::vector<After>& complete() const { return complete_; }

 private:
  uint32_t member(uint32_t back) const {
    return (spec_.position + spec_.size - back % spec_.size) % spec_.size;
  }
  ChunkRun chunk(Space space, uint32_t index) const {
    return {space, 0, spec_.first_chunk + index * spec_.stride, 1};
  }

  Steps& steps_;
  RingSpec spec_;
  std::vector<uint32_t> sent_;  // by chunk: the reduce-scatter's send of it
  std::vector<After> ready_;    // when the chunk to send next is complete
  std::vector<After> complete_;
};

}  // namespace comity::algorithms
