// Carries out a call straight from and into the members' buffers, all of which this process addresses.
//
//   all_reduce      member i loads its slices of all inputs, and stores the result into all outputs: 2pS
//   reduce          the same into the root's output
//   broadcast       member i copies its slices of the root's input into all outputs
//   all_gather      member i copies its input into block i of all outputs
//   reduce_scatter  member i loads block i of all inputs and stores its output
//   all_to_all      member i copies block i of all inputs into its output
//   gather          member i copies its input into block i of the root's output
//   scatter         member i copies block i of the root's input into its output
//
// Then step 1: "done with everyone's buffers"; a member returns when all did it. Where members outnumber
// cores, slices are tickets that whoever has a core takes, and a member returns when all are finished: else
// each would have to come to a core once more. Slices are dealt out block-cyclically and taken from the end
// to the beginning: the end of a buffer that was just written from the beginning is what caches hold.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "transports/shm/call_shape.h"
#include "transports/shm/group_core.h"

namespace comity::shm {

// Where a member's buffers are in this process.
struct MappedBuffers {
  std::byte* src = nullptr;
  std::byte* dst = nullptr;
  uint64_t stride = 0;
  bool in_place = false;
};

class DirectPath {
 public:
  DirectPath(GroupCore& core, const CallShape& shape) : core_(core), shape_(shape) {}
  // For `members`; allocates.
  void prepare();
  // `buffers` has one entry per member and stays valid until advance() returned true. `stream`: write around
  // the caches, where no member reduces in place.
  void start(const std::vector<MappedBuffers>& buffers, bool stream);
  // True when the call is complete. Works for some 100 us at most before it returns.
  Progress advance();

 private:
  void list_pointers(const std::vector<MappedBuffers>& buffers);
  void list_pairs(const std::vector<MappedBuffers>& buffers);
  void deal_slices();
  Progress advance_by_tickets();
  void work_on(uint64_t begin, uint64_t end);
  void reduce(uint64_t begin, uint64_t end);
  void reduce_to_scratch(uint64_t begin, uint64_t end);
  void copy(uint64_t begin, uint64_t end);

  GroupCore& core_;
  const CallShape& shape_;
  std::vector<const std::byte*> sources_;
  std::vector<std::byte*> destinations_;
  std::vector<const std::byte*> block_sources_;  // the same, at a slice
  std::vector<std::byte*> block_destinations_;
  alignas(64) std::array<std::byte, 8192> scratch_;
  bool reduces_ = false;
  bool stream_ = false;
  bool posted_ = false;
  uint64_t tickets_ = 0;  // slices of all members; 0: every member does its own
  uint64_t length_ = 0;   // of the range that is worked on
  uint64_t slice_bytes_ = 0;
  uint64_t slices_left_ = 0;  // of this member
  uint64_t slice_step_ = 0;   // bytes from one of its slices to the next
  uint64_t slice_first_ = 0;  // where its first begins
};

}  // namespace comity::shm
