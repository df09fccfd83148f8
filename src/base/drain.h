// Closing a connection without losing what was sent on it.
//
// close() alone can lose it: bytes that this process has not read, or that arrive afterwards, make the kernel
// reset the connection, and a reset throws away what the peer's system has not taken yet. So the last bytes
// go out, our direction ends, and what still comes is read and discarded, until the peer ends its direction
// too. Once the peer's system has acknowledged all, the end of our stream included, nothing is lost any more,
// whatever becomes of the connection: the peer reads to the end first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "src/base/stream.h"
#include "src/base/unique_fd.h"

namespace comity {

class Drain {
 public:
  enum class State {
    kSending,       // some of it may still be lost
    kAcknowledged,  // nothing can be lost; the peer has not ended its direction
    kOver,          // it has, or the connection broke: close
  };

  // Takes a connected stream, and the last bytes that are to go out on it.
  Drain(StreamPtr stream, std::vector<std::byte> unsent);
  // The same with a non-blocking socket of the kernel.
  Drain(UniqueFd socket, std::vector<std::byte> unsent);
  // Advances; never blocks. One thread at a time, as all of this.
  State step(uint64_t now_ns);
  // For how long nothing has moved, as of the last step(): a peer that does not read stops all movement.
  uint64_t still_ns() const { return still_ns_; }
  Stream& stream() const { return *stream_; }
  // What to poll for until the next step(), which should come now and then in any case.
  short poll_events() const;

 private:
  bool write_some();
  bool discard_some();

  StreamPtr stream_;
  std::vector<std::byte> unsent_;
  size_t written_ = 0;
  bool direction_ended_ = false;
  uint64_t left_ = UINT64_MAX;  // bytes that the peer's system has not acknowledged
  uint64_t moved_at_ns_ = 0;
  uint64_t still_ns_ = 0;
};

// Blocks until nothing can be lost, or nothing moved for `patience_ms`, or the connection broke; then closes.
void drain_and_close(Drain drain, uint64_t patience_ms);

}  // namespace comity
