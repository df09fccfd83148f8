// Carries out a call by copies through the members' staging memory, for buffers that peers cannot address.
//
// The message is cut into windows; window w lies in staging slot (base + w) % slots, where base moves on by
// the windows of each call. A rank goes through iterations t = 0, 1, ..., each of up to three stages on three
// successive windows, so that what a stage waits for was usually done an iteration ago:
//
//   A(t)    copy in: what other members read of this member's input goes into its slot; before it, wait until
//           all are done with the window that was in this slot
//   M(t-1)  wait for all A(t-1); reduce (or, where nothing is reduced, copy out)
//   L(t-2)  wait for all M(t-2); copy out what others reduced
//
// One-shot all_reduce (everyone reduces all): A copies the window, M reduces it into the output. (p+3)S per
// rank. Two-shot all_reduce: A copies all slices but one's own, M reduces one's own slice from the others'
// slots and the input, into the output and into the own slot's place of that slice, L copies the other slices
// out. About 5S per rank. Where members outnumber cores and there is one window, its slices are tickets that
// whoever has a core takes.
//
//   reduce          one-shot: the root alone does M; two-shot: L at the root alone
//   broadcast       A at the root, M copies out
//   all_gather      A copies the input's window, M copies out those of others
//   reduce_scatter  a window is a range of every block; A copies those of others, M reduces one's own
//   all_to_all      the same, but that M copies out one's own from every slot
//   scatter         A as in an all_to_all at the root, M copies out one's own
//   gather          A copies the input's window, M copies out those of others at the root
//
// Iteration t posts step 3t+1 after A, 3t+2 after M, 3t+3 after L.
#pragma once

#include <cstdint>
#include <vector>

#include "transports/shm/call_shape.h"
#include "transports/shm/group_core.h"

namespace comity::shm {

class StagedPath {
 public:
  StagedPath(GroupCore& core, const CallShape& shape) : core_(core), shape_(shape) {}
  void prepare();
  // Cuts the call into windows. Depends on what all members know alike.
  void start();
  // Whether advance() writes outputs around the caches; not where this member reduces in place. False after
  // start().
  void set_stream(bool stream);
  // A(0) before the hello, if its slot is certainly free; otherwise advance() does it. Only if the call will
  // be staged for certain, or its windows are lost.
  void copy_in_early();
  // True when the call is complete. Works for some 100 us at most before it returns.
  Progress advance();

 private:
  struct Range {
    uint64_t begin = 0;
    uint64_t end = 0;
    uint64_t bytes() const { return end - begin; }
  };
  Range window(uint64_t w) const;
  Range slice(Range window, uint32_t member) const;
  Range block_window(uint64_t w, uint32_t block) const;
  uint64_t share(uint32_t giver, uint32_t k) const;
  std::byte* slot(uint32_t member, uint64_t w) const;
  uint64_t final_step(uint64_t w) const { return last_stage_ ? 3 * (w + 2) + 3 : 3 * (w + 1) + 2; }

  Progress advance_pooled();
  void reduce_pooled_slice(uint32_t k);
  bool stage_in(uint64_t t);
  bool stage_middle(uint64_t w);
  bool stage_last(uint64_t w);
  void copy_in(uint64_t w);
  void reduce_window(uint64_t w);
  void reduce_slice(uint64_t w);
  void reduce_block(uint64_t w);
  void gather(uint64_t w);
  void copy_out_slices(uint64_t w);
  void reduce(Range at, uint64_t in_slot, uint64_t w, const std::byte* own, std::byte* second);

  GroupCore& core_;
  const CallShape& shape_;
  std::vector<const std::byte*> sources_;
  std::vector<uint64_t> slot_used_;  // sequence of the last call that used the slot
  uint64_t base_ = 0;
  uint64_t slot_bytes_ = 0;
  // Of the call at hand.
  uint64_t span_ = 0;          // bytes that windows cut: the message, or the longest block
  uint64_t window_bytes_ = 0;  // of span_
  uint64_t windows_ = 0;
  bool two_shot_ = false;
  bool last_stage_ = false;
  bool pooled_ = false;
  bool stream_ = false;
  bool early_ = false;  // A(0) is done
  uint64_t iteration_ = 0;
  uint32_t stage_ = 0;
};

}  // namespace comity::shm
