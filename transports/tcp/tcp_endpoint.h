// One TCP connection to one peer on one rail.
//
// Sending: header and payload go in one system call; what the kernel does not take at once follows in
// progress(). Receiving: one system call per progress(), none while it is not connected (see frame.h for what
// is read where).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "comity/plugin/transport.h"
#include "src/base/socket.h"
#include "src/base/unique_fd.h"
#include "transports/tcp/frame.h"

namespace comity::tcp {

struct EndpointConfig {
  uint32_t peer = 0;
  uint32_t index = 0;     // among the endpoints of the pair
  std::string interface;  // name, for people
  EndpointTraits traits;
  FrameLimits limits;
  // Keeps little unsent data in the kernel, so that try_send() refuses early and a faster rail gets more
  // segments.
  bool one_of_several = false;
  ConnectionKeeper* keeper = nullptr;  // outlives the endpoint; may be null
};

class TcpEndpoint final : public Endpoint {
 public:
  explicit TcpEndpoint(EndpointConfig config);
  // Loses nothing of what was sent: the keeper takes the connection, or else this waits, for as long as bytes
  // move and at most 2 s while nothing does.
  ~TcpEndpoint() override;
  TcpEndpoint(const TcpEndpoint&) = delete;
  TcpEndpoint& operator=(const TcpEndpoint&) = delete;

  const EndpointTraits& traits() const override { return config_.traits; }
  bool try_send(const SegmentHeader& header, const std::byte* payload) override;
  uint64_t transmitted() const override { return transmitted_; }
  bool progress(SegmentSink& sink) override;
  void let_go(uint32_t communicator) override;
  const Status& status() const override { return status_; }
  bool ended() const override { return ended_; }
  std::string describe() const override;

  // Takes a connected, authenticated, non-blocking socket; once.
  void attach(UniqueFd socket);
  // The first failure stays, and closes the socket.
  void fail(Code code, const std::string& cause);

  bool connected() const { return socket_.valid(); }
  bool sending() const { return sent_ < total_; }
  // The last segment was refused because enough is on its way; nothing wakes a sleeper when that ends.
  bool holding_back() const { return holding_back_; }
  int fd() const { return socket_.get(); }
  uint32_t peer() const { return config_.peer; }
  uint32_t index() const { return config_.index; }
  // Readiness that a sleep saw and progress() has not looked at since.
  bool announced() const { return announced_; }
  void announce() { announced_ = true; }

 private:
  bool enough_on_its_way();
  bool flush();
  bool receive(SegmentSink& sink);
  void receive_failed(int error);
  std::vector<std::byte> unsent_header() const;
  ssize_t write_some();

  EndpointConfig config_;
  UniqueFd socket_;
  SocketAddress local_;
  SocketAddress remote_;
  Status status_;
  bool announced_ = false;
  bool ended_ = false;

  // The segment being sent: header_ then payload_, total_ bytes, sent_ of them gone.
  SegmentHeader header_;
  const std::byte* payload_ = nullptr;
  std::vector<std::byte> kept_;  // the payload of a segment that was let go
  size_t total_ = 0;
  size_t sent_ = 0;
  uint64_t transmitted_ = 0;
  bool holding_back_ = false;
  uint32_t until_measured_ = 0;  // segments until most_on_its_way_ is measured again
  uint64_t most_on_its_way_ = 0;
  int send_error_ = 0;  // sending failed; what the peer had sent before is read first

  FrameReceiver receiver_;
};

}  // namespace comity::tcp
