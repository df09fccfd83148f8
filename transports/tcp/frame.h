// Frames on a stream: a 48-byte header, then header.length bytes of payload, and again. No socket here.
//
//   want() says into which memory the next bytes shall go;     got(n) takes the n bytes that went there
//
//   waiting for a header:      one piece, the read-ahead buffer: a small segment comes whole with one system
//                              call, and the sink sees it where it lies, without a copy
//   in the middle of payload:  two pieces, the rest of what place() gave, then room for what follows: after a
//                              large segment just the next header, so that the next large payload is not read
//                              into the buffer
//
// A header may also say farewell: nothing follows on this connection, though the peer is there
// (tcp_endpoint.h).
//
// Every header is checked before use. Nothing is written outside the buffer and what place() gave.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "comity/plugin/transport.h"

namespace comity::tcp {

// What a header on this connection must say.
struct FrameLimits {
  uint32_t segment_bytes = 0;
  uint32_t epoch = 0;
};

// The header of a farewell, on the wire.
SegmentHeader farewell(const FrameLimits& limits);

// Empty if the header may be used; else what is wrong with it, in words.
std::string fault_of(const SegmentHeader& header, const FrameLimits& limits);

class FrameReceiver {
 public:
  // Bytes read ahead at most while waiting for a header.
  static constexpr size_t kReadAhead = 32 * 1024;

  explicit FrameReceiver(const FrameLimits& limits);

  // Fills `pieces` with one or two pieces of free memory, in the order of the stream; returns how many. At
  // least one byte.
  int want(std::array<iovec, 2>& pieces);
  // `bytes` bytes (no more than want() offered) went into the pieces. Calls `sink` for every segment that is
  // whole or begun. Empty, or what is wrong: then the stream is lost, and neither method may be called again;
  // unless it is the farewell, which is no fault: see heard_farewell().
  std::string got(size_t bytes, SegmentSink& sink);
  // What is still to come of the segment that is being received goes nowhere if it is this communicator's:
  // the memory that place() gave for it is not touched any more, and nobody is told.
  void let_go(uint32_t communicator);
  // True between frames: the stream may end here.
  bool at_boundary() const { return begin_ == end_ && body_left_ == 0; }
  // All that the peer sends here has come.
  bool heard_farewell() const { return heard_farewell_; }

 private:
  // A first frame's payload begins at a multiple of 64 bytes.
  static constexpr size_t kFirst = 64 - sizeof(SegmentHeader);
  static constexpr size_t kCapacity = kFirst + kReadAhead;

  std::string parse(SegmentSink& sink);
  bool deliver_here(const SegmentHeader& header, SegmentSink& sink);
  bool begin_body(const SegmentHeader& header, SegmentSink& sink);
  void make_room();

  struct AlignedDelete {
    void operator()(std::byte* memory) const;
  };
  FrameLimits limits_;
  std::unique_ptr<std::byte[], AlignedDelete> buffer_;
  size_t begin_ = kFirst;  // unread bytes of the buffer
  size_t end_ = kFirst;
  SegmentHeader header_;  // of the payload being received
  std::byte* body_ = nullptr;
  size_t body_at_ = 0;
  size_t body_left_ = 0;
  std::unique_ptr<std::byte[]> dropped_;  // body_ of a segment that was let go
  bool heard_farewell_ = false;
};

}  // namespace comity::tcp
