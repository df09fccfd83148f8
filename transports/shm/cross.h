// Carries out a call by cross-memory attach: the kernel copies between two processes' plain buffers, no
// staging between.
//
// As DirectPath, with pieces of peers' inputs read into scratch, reduced there, and written to peers'
// outputs; where nothing is reduced peers' inputs are read straight into the output. Members whose buffers
// are addressable are addressed. A call to the kernel costs 1-2 us, so this is for large buffers. Step 1:
// "done with everyone's buffers".
//
// The kernel may refuse from one day to the next: a process gave up privileges, or may not be looked at any
// more. A member that is refused asks the member whose memory it is, which polls the same call, to copy
// between its own buffer and the asker's staging memory, which no other path uses in this call; so the call
// ends right, and the next hello says that nobody shall come this way again.
//
//   asker                                        member asked, in its advance()
//   (a write: the bytes into own staging)
//   assist: offset, bytes, then asked   ------>  staging -> output, or input -> staging
//   (a read: the bytes out of staging)  <------  answered
#pragma once

#include <memory>
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
  // For the members; allocates little.
  void prepare();
  // Allocates the scratch at its first call.
  void start(const std::vector<CrossBuffers>& buffers);
  // kDone, kBusy, kAdvanced or kFailed (see failure()).
  Progress advance();
  const std::string& failure() const { return failure_; }

 private:
  // A step of a piece; kWaits: for a member's help, the same step is to be done again.
  enum class Step : uint8_t { kDone, kWaits, kFailed };
  struct Assistance {
    uint32_t member = 0;
    uint64_t offset = 0;
    uint64_t bytes = 0;
    bool writes = false;
  };

  Step do_piece(uint64_t begin, uint64_t end);
  Step reduce_piece(uint64_t begin, uint64_t end);
  void fold(uint64_t begin, uint64_t bytes);
  Step gather_piece(uint64_t begin, uint64_t end);
  Step rooted_piece(uint64_t begin, uint64_t end);
  bool wants_result(uint32_t k) const;
  Step read(uint32_t k, std::byte* to, uint64_t offset, uint64_t bytes);
  Step write(uint32_t k, const std::byte* from, uint64_t offset, uint64_t bytes);
  // After the kernel said no. False: for another reason than that it may not.
  bool refused(uint32_t k, const char* call, uint64_t bytes);
  bool assisted(const Assistance& wanted);
  // Does what others ask of this member. False: failed.
  bool serve(bool& served);
  bool serve(Assist& assist, std::byte* staging);

  GroupCore& core_;
  const CallShape& shape_;
  const std::vector<CrossBuffers>* buffers_ = nullptr;
  std::vector<const std::byte*> sources_;
  std::vector<std::byte*> destinations_;
  std::vector<uint8_t> refused_;  // by member: the kernel does not let this one in
  std::vector<uint64_t> heard_;   // by member: its requests that were looked at, as Assist::asked
  std::unique_ptr<std::byte[]> scratch_;
  uint64_t piece_bytes_ = 0;
  uint64_t at_ = 0;  // next byte of this member's range
  uint64_t end_ = 0;
  // Of the piece at hand: the member that is next, and whether everyone's input was folded.
  uint32_t next_ = 0;
  bool folded_ = false;
  const std::byte* outgoing_ = nullptr;
  bool asking_ = false;
  bool posted_ = false;
  std::string failure_;
};

}  // namespace comity::shm
