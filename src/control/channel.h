// A proven socket that carries framed messages on the control thread.
//
// Frame: payload length (32 bits), type (16), zero (16), payload. A length above the channel's limit, or a
// non-zero reserved field, closes the channel. Bytes are buffered as they come, never in advance by a length
// that a peer claims.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "src/base/bytes.h"
#include "src/base/stream.h"
#include "src/control/loop.h"

namespace comity::control {

class Channel : public std::enable_shared_from_this<Channel> {
 public:
  struct Events {
    // A whole message; the span is valid during the call.
    std::function<void(uint16_t type, std::span<const std::byte> payload)> message;
    // The peer closed, the connection broke, or the peer broke the framing. Called once; the channel is
    // closed. `silent`: the peer's host did not answer for too long, or cannot be reached any more.
    std::function<void(const std::string& why, bool silent)> closed;
  };

  // Takes the stream over and starts reading. All methods: control thread only. The loop holds the channel
  // until it is closed, so an owner that is done with it must call close() or close_after_flush(). Events may
  // do either.
  static std::shared_ptr<Channel> open(Loop& loop, StreamPtr stream, uint32_t max_payload_bytes,
                                       Events events);

  // Queues a message; what the socket takes goes at once. After close() it does nothing.
  void send(uint16_t type, std::span<const std::byte> payload);
  // Whether every queued byte is in the kernel's hands.
  bool flushed() const { return out_.empty(); }
  // Does nothing once closed.
  void notice_silence(const SilenceLimits& limits);
  bool is_open() const { return stream_ != nullptr; }
  // Closes at once; no event follows.
  void close();
  // The peer's process has ended, whoever keeps the connection open: delivers what it still sent, then fails.
  void peer_ended();
  // Sends what is queued, then ends its direction and waits until the peer ends too, so that nothing sent is
  // lost (see parting.h, which holds the socket from now on). No event follows.
  void close_after_flush();

 private:
  Channel(Loop& loop, StreamPtr stream, uint32_t max_payload_bytes, Events events);
  void on_ready(uint32_t events);
  bool write_some();  // false: the connection broke
  bool read_some(std::string& why, bool& silent);
  bool deliver(std::string& why);
  void fail(const std::string& why, bool silent);
  void update_interest();

  Loop& loop_;
  StreamPtr stream_;
  uint32_t max_payload_bytes_;
  Events events_;
  uint64_t watch_ = 0;
  uint32_t interest_ = 0;
  Bytes in_;
  std::deque<Bytes> out_;
  size_t out_offset_ = 0;  // bytes of out_.front() already sent
};

}  // namespace comity::control
