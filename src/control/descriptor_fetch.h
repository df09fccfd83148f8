// DescriptorFetch: the asking side of descriptors, as a state machine that never blocks.
//
// A process that owns memory may be stopped, or slow: whoever waits for a descriptor waits as for anything
// else, looking at aborts and verdicts meanwhile. An owner that cannot be reached, or closes before it
// answered, is asked again for a second: if it died, the control plane says so before.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/clock.h"
#include "src/base/handshake.h"
#include "src/base/unique_fd.h"
#include "src/control/descriptor_wire.h"

namespace comity::control {

struct DescriptorRequest {
  std::string socket_name;  // abstract unix name of the owner's process (from descriptor_socket_name())
  ArenaRequest arenas;
  Secret secret{};  // of any communicator that lives in both processes
  uint64_t communicator = 0;
  Deadline deadline = Deadline::never();
};

class DescriptorFetch {
 public:
  // Opens nothing yet.
  explicit DescriptorFetch(DescriptorRequest request) : request_(std::move(request)) {}

  // The descriptor, or nothing yet. Not after it gave a descriptor or an error: kSystemError, kRemoteError
  // (it ended, or does not know the communicator), kTimeout, or the owner's own.
  Result<std::optional<UniqueFd>> poll();
  // Blocks until poll() may get further, or `limit_ms` passed.
  void wait(int limit_ms) const;
  // Arenas of the request that their owner gave back, once there is a descriptor.
  const std::vector<uint32_t>& gone() const { return gone_; }

 private:
  // Whether the step is done; false: not yet.
  Result<bool> connect();
  Result<bool> prove();
  Result<bool> receive();
  // Whether an attempt that failed so is made again.
  bool again(const Status& status);

  DescriptorRequest request_;
  UniqueFd fd_;
  std::optional<Handshake> handshake_;
  bool proven_ = false;
  bool answered_ = false;  // what failed was not the way to the owner
  Bytes answer_;
  UniqueFd descriptor_;
  std::vector<uint32_t> gone_;
  uint64_t failing_since_ns_ = 0;
  uint64_t next_try_ns_ = 0;
};

// One that waits for its end.
Result<UniqueFd> fetch_descriptor(DescriptorRequest request);

}  // namespace comity::control
