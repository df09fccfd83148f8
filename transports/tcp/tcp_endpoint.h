// What goes between this rank and one peer on one rail: at most times over one TCP connection.
//
// A connection that was idle for long is given up, and another one is made when it is needed. Whoever gives
// one up says farewell on it and ends its direction; then it reads on until the peer has said farewell too,
// which it does as soon as it hears the other's. Nothing is lost, and nothing waits for the peer: what is to
// be sent meanwhile goes over a new connection. Where both ends make one at the same time the one that the
// higher rank dialed stays, and the other is given up. Of two that one rank dialed it has given up the first.
//
// Sending: header and payload go in one system call; what the kernel does not take at once follows in
// progress(). Receiving: one system call per progress(), none while it is not connected (see frame.h for what
// is read where).
#pragma once

#include <poll.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "comity/plugin/transport.h"
#include "src/base/socket.h"
#include "src/base/unique_fd.h"
#include "transports/tcp/frame.h"

namespace comity::tcp {

class TcpEndpoint;

// Endpoints that have something to send and no connection.
struct Wanting {
  std::vector<TcpEndpoint*> endpoints;
  std::atomic<bool>& attention;  // set when one is added
};

struct EndpointConfig {
  uint32_t peer = 0;
  uint32_t index = 0;     // among the endpoints of the pair
  std::string interface;  // name, for people
  EndpointTraits traits;
  FrameLimits limits;
  // Keeps little unsent data in the kernel, so that try_send() refuses early and a faster rail gets more
  // segments.
  bool one_of_several = false;
  ConnectionKeeper* keeper = nullptr;  // these two outlive the endpoint; may be null
  Wanting* wanting = nullptr;
  bool higher = true;  // this rank's number than the peer's
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
  bool try_send(const SegmentHeader& header, SourceMemory payload) override;
  uint64_t transmitted() const override { return transmitted_; }
  bool progress(SegmentSink& sink) override;
  void let_go(uint32_t communicator) override;
  const Status& status() const override { return status_; }
  bool ended() const override { return ended_; }
  std::string describe() const override;

  // Takes a connected, authenticated, non-blocking socket, which one of the two ranks dialed.
  void attach(UniqueFd socket, bool by_higher = true);
  // Gives the connection up if nothing has come or gone on it for so long.
  void retire_if_idle(uint64_t idle_ms);
  // The first failure stays, and closes the socket.
  void fail(Code code, const std::string& cause);

  bool connected() const { return current_.socket.valid(); }
  bool ever_connected() const { return local_.length != 0; }
  bool needs_connection() const {
    return !connected() && status_.ok() && (!ever_connected() || wanted_since_ns_ != 0);
  }
  uint64_t wanted_since_ns() const { return wanted_since_ns_; }  // 0: nothing is refused for want of one
  bool sending() const { return sent_ < total_; }
  // The last segment was refused because enough is on its way; nothing wakes a sleeper when that ends.
  // Since it was asked last.
  bool held_back() { return std::exchange(holding_back_, false); }
  // Calls visit(descriptor, events) for each that something may come on, or go.
  template <typename Visit>
  void each_descriptor(Visit visit) const {
    const auto visit_channel = [&visit](const Channel& channel, bool sends) {
      const auto events = static_cast<short>((brings_more(channel) ? POLLIN : 0) | (sends ? POLLOUT : 0));
      if (channel.socket.valid() && events != 0) visit(channel.socket.get(), events);
    };
    visit_channel(current_, sending());
    for (const Retiring& each : retiring_) visit_channel(each.channel, !each.unsent.empty());
  }
  uint32_t peer() const { return config_.peer; }
  uint32_t index() const { return config_.index; }
  // Readiness that a sleep saw and progress() has not looked at since.
  bool announced() const { return (unusual_ & kAnnounced) != 0; }
  void announce() { unusual_ |= kAnnounced; }

 private:
  struct Channel {
    UniqueFd socket;
    FrameReceiver receiver;
  };
  // A connection that this end sends on no more.
  struct Retiring {
    Channel channel;
    std::vector<std::byte> unsent;  // of the farewell
  };
  // What progress() looks at first, as a rule nothing.
  enum Unusual : uint8_t { kAnnounced = 1, kRetiring = 2, kRetireNext = 4 };

  // Whether the peer has not said, or shown, that all has come.
  static bool brings_more(const Channel& channel) {
    return channel.socket.valid() && !channel.receiver.heard_farewell();
  }
  bool brings_more() const;
  bool refuse();
  void miss();
  bool enough_on_its_way(uint32_t segment_bytes);
  bool flush();
  bool receive(Channel& channel, SegmentSink& sink);
  void receive_failed(Channel& channel, int error);
  void fail_sending();
  void fail_ended();
  bool progress_unusual(SegmentSink& sink);
  bool progress_current(SegmentSink& sink);
  void say_farewell(Retiring& retiring) const;
  void retire(Channel channel);
  void retire_current();
  void use(UniqueFd socket);
  void keep(UniqueFd socket, const std::vector<std::byte>& unsent) const;
  std::vector<std::byte> unsent_header() const;
  ssize_t write_some();
  int fd() const { return current_.socket.get(); }

  EndpointConfig config_;
  Channel current_;
  SocketAddress local_;
  SocketAddress remote_;
  Status status_;
  uint8_t unusual_ = 0;
  bool ended_ = false;
  uint64_t wanted_since_ns_ = 0;
  uint64_t missed_since_ns_ = 0;  // progress() has found no connection since, the last time at missed_at_ns_
  uint64_t missed_at_ns_ = 0;
  bool peer_ended_ = false;  // one of the connections ended without a farewell; others may still bring data
  std::vector<Retiring> retiring_;
  bool by_higher_ = false;  // current_, or next_
  UniqueFd next_;           // takes current_'s place once its segment is out

  // The segment being sent: header_ then payload_, total_ bytes, sent_ of them gone.
  SegmentHeader header_;
  const std::byte* payload_ = nullptr;
  std::vector<std::byte> kept_;  // the payload of a segment that was let go
  size_t total_ = 0;
  size_t sent_ = 0;
  uint64_t transmitted_ = 0;
  bool holding_back_ = false;
  uint32_t until_measured_ = 0;  // segments until held_by_path_ is measured again
  uint64_t held_by_path_ = 0;
  int send_error_ = 0;  // sending failed; what the peer had sent before is read first
};

}  // namespace comity::tcp
