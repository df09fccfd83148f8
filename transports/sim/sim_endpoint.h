// One end of a simulated connection, and the events that move it. Internal to transports/sim.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "comity/plugin/transport.h"
#include "src/base/hash.h"
#include "transports/sim/sim_network.h"

namespace comity::sim {

class SimEndpoint;

enum class EventKind : uint8_t {
  kDepart,  // the segment being sent has left
  kArrive,  // the first flying segment is there
  kBreak,   // the connection is found broken
  kWake,    // nothing but time passes: a stall or a partial read ends
};

// What endpoints ask of the network.
class EventQueue {
 public:
  virtual ~EventQueue() = default;
  virtual uint64_t now_ns() const = 0;
  virtual void schedule(uint64_t at_ns, SimEndpoint& endpoint, EventKind kind) = 0;
  // Where `bytes` at byte `offset` of memory lie that a rank exposed; null: not, or no more, registered.
  virtual std::byte* exposed(const RemoteMemory& memory, uint64_t offset, uint64_t bytes) const = 0;
};

struct EndpointConfig {
  uint32_t self = 0;
  uint32_t peer = 0;
  uint32_t rail = 0;
  uint64_t seed = 0;
  LinkModel out;  // the direction from self to peer
  NetworkOptions options;
};

class SimEndpoint final : public Endpoint {
 public:
  SimEndpoint(EventQueue& events, const EndpointConfig& config);
  // The other end; set once, before use.
  void join(SimEndpoint& other) { other_ = &other; }

  const EndpointTraits& traits() const override { return traits_; }
  bool try_send(const SegmentHeader& header, SourceMemory payload) override;
  bool try_put(const SegmentHeader& header, SourceMemory payload, const RemoteMemory& to,
               uint64_t offset) override;
  uint64_t transmitted() const override { return transmitted_; }
  bool progress(SegmentSink& sink) override;
  const Status& status() const override { return status_; }
  std::string describe() const override;

  // Carries out an event that was scheduled here.
  void handle(EventKind kind);
  // The first failure stays.
  void fail(std::string cause);
  // The owner is gone: the other end fails after what was sent arrived.
  void close();
  void break_at(uint64_t segment) { break_at_ = segment; }
  // For the trace: the header of the segment that the last event was about.
  const SegmentHeader& last_header() const { return last_header_; }
  uint32_t self() const { return config_.self; }
  uint32_t peer() const { return config_.peer; }
  uint32_t rail() const { return config_.rail; }

 private:
  struct Segment {
    SegmentHeader header;
    std::vector<std::byte> payload;
    bool closes = false;   // the end of the stream instead of a segment
    RemoteMemory to = {};  // kSegmentPut: where it goes
    uint64_t to_offset = 0;
  };

  uint64_t wire_ns(uint64_t payload_bytes) const;
  bool stalled();
  void depart();
  void fly(Segment segment);
  void arrive();
  bool deliver(SegmentSink& sink);
  bool deliver_claimed(SegmentSink& sink);
  bool put(const Segment& segment);
  bool start_place(SegmentSink& sink, const Segment& segment);
  bool finish(SegmentSink& sink, const std::byte* payload);

  EventQueue& events_;
  EndpointConfig config_;
  SplitMix random_;
  SimEndpoint* other_ = nullptr;
  EndpointTraits traits_;
  Status status_;

  // Sending.
  bool sending_ = false;
  SegmentHeader out_header_;
  const std::byte* out_payload_ = nullptr;
  std::vector<std::byte> out_ready_;  // the payload of kReady
  RemoteMemory out_to_;
  uint64_t out_to_offset_ = 0;
  uint64_t accepted_ = 0;
  uint64_t transmitted_ = 0;
  uint64_t stalled_until_ns_ = 0;
  bool may_stall_ = true;  // a stall is followed by an acceptance
  uint64_t last_arrival_ns_ = 0;
  uint64_t break_at_ = UINT64_MAX;

  // Receiving.
  std::deque<Segment> flying_;  // towards here, in order
  std::deque<Segment> arrived_;
  std::byte* placed_ = nullptr;  // the front of arrived_ was placed here and completes later
  uint64_t placed_until_ns_ = 0;
  SegmentHeader last_header_;
};

}  // namespace comity::sim
