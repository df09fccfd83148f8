// Carries out a call by cross-memory attach: the kernel copies between two processes' plain buffers, no
// staging between.
//
// As DirectPath, with pieces of peers' inputs read into scratch, reduced there, and written to peers'
// outputs; where nothing is reduced peers' inputs are read straight into the output. Members whose buffers
// are addressable are addressed. A call to the kernel costs 1-2 us, so this is for large buffers. Step 1:
// "done with everyone's buffers".
#pragma once

#include <string>
#include <vector>

#include "transports/shm/call_shape.h"
#include "transports/shm/direct.h"
#include "transports/shm/group_core.h"

namespace comity::shm {

// Copies between this process and process `pid`; false with errno set: not allowed, gone, or not its memory.
// Partial copies are completed.
bool read_process(uint32_t pid, void* to, const void* from, uint64_t bytes);
bool write_process(uint32_t pid, void* to, const void* from, uint64_t bytes);

// A member's buffers, in its own process's addresses where `remote`.
struct CrossBuffers {
  MappedBuffers at;
  bool src_remote = false;
  bool dst_remote = false;
};

class CrossPath {
 public:
  CrossPath(GroupCore& core, const CallShape& shape) : core_(core), shape_(shape) {}
  // Allocates the scratch, once; its pages come at first use.
  void prepare();
  void start(const std::vector<CrossBuffers>& buffers);
  // kDone, kBusy or kFailed (see failure()).
  Progress advance();
  const std::string& failure() const { return failure_; }

 private:
  bool reduce_piece(uint64_t begin, uint64_t end);
  bool gather_piece(uint64_t begin, uint64_t end);
  const std::byte* fetch(uint32_t k, uint64_t offset, uint64_t bytes);
  bool read(uint32_t k, void* to, uint64_t offset, uint64_t bytes);
  bool write(uint32_t k, const void* from, uint64_t offset, uint64_t bytes);

  GroupCore& core_;
  const CallShape& shape_;
  const std::vector<CrossBuffers>* buffers_ = nullptr;
  std::vector<const std::byte*> sources_;
  std::vector<std::byte*> destinations_;
  std::vector<std::byte> scratch_;
  uint64_t piece_bytes_ = 0;
  uint64_t at_ = 0;  // next byte of this member's range
  uint64_t end_ = 0;
  bool posted_ = false;
  std::string failure_;
};

}  // namespace comity::shm
