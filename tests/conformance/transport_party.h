// Ranks of a conformance world: what they send, what they received, and the loop that polls them.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "tests/conformance/transport_conformance.h"

namespace comity::conformance {

inline constexpr uint32_t kLanes = 4;

// Byte i of the payload of segment `number` of a lane; differs between neighbours, lanes and segments.
std::byte pattern(uint64_t lane, uint64_t number, uint64_t i);
std::vector<std::byte> payload_of(uint64_t lane, uint64_t number, uint64_t bytes);
// Of a data segment of the suite's communicator.
SegmentHeader header_of(uint32_t lane, uint64_t number, uint32_t bytes);

// Takes what arrives on one endpoint and keeps it. Memory that it hands out has guards on both sides.
class Recorder final : public SegmentSink {
 public:
  struct Arrival {
    SegmentHeader header;
    std::vector<std::byte> payload;
  };
  std::byte* place(const SegmentHeader& header) override;
  // Of every third segment "not yet", at first.
  Claim claim(const SegmentHeader& header) override;
  bool arrived(const SegmentHeader& header, const std::byte* payload) override;

  std::vector<Arrival> arrivals;
  // From this arrival on the sink refuses, in place() or in arrived().
  uint64_t refuse_from = UINT64_MAX;
  // Segments per lane; other threads may read it.
  std::array<std::atomic<uint64_t>, kLanes> by_lane{};

 private:
  using Key = std::pair<uint16_t, uint64_t>;      // lane, number
  std::map<Key, std::vector<std::byte>> placed_;  // guard, payload, guard
  std::set<Key> put_off_;
  uint64_t claims_ = 0;
};

// One end of a connection with what it wants to send.
class Channel {
 public:
  Channel(Endpoint& endpoint) : endpoint_(&endpoint), recorder_(std::make_unique<Recorder>()) {}
  // Queues a data segment (its own copy of the pattern); the number is the lane's next.
  void queue(uint32_t lane, uint32_t bytes);
  void queue(const SegmentHeader& header, std::vector<std::byte> payload);
  // Sends what may be sent (at most kSegmentsInFlight of a lane beyond what `remote` received), takes what
  // arrived. Overwrites every payload as soon as transmitted() allows.
  bool poll();
  // One try_send() past the queue, of memory that stays the caller's.
  bool offer(const SegmentHeader& header, const std::byte* payload);
  // The same with try_put().
  bool put(const SegmentHeader& header, SourceMemory payload, const RemoteMemory& to, uint64_t offset);
  void join(const Channel& remote) { remote_ = remote.recorder_.get(); }
  bool sent_all() const { return queued_.empty(); }
  uint64_t accepted() const { return accepted_; }
  Endpoint& endpoint() { return *endpoint_; }
  Recorder& recorder() { return *recorder_; }
  // Headers in the order in which they were accepted.
  const std::vector<SegmentHeader>& sent() const { return sent_; }

 private:
  struct Outgoing {
    SegmentHeader header;
    std::vector<std::byte> payload;
  };
  bool window_open(const SegmentHeader& header) const;
  void overwrite_transmitted();

  Endpoint* endpoint_;
  std::unique_ptr<Recorder> recorder_;
  const Recorder* remote_ = nullptr;
  std::deque<Outgoing> queued_;
  std::deque<Outgoing> accepted_payloads_;
  std::vector<SegmentHeader> sent_;
  std::array<uint64_t, kLanes> next_number_{};
  std::array<uint64_t, kLanes> sent_of_lane_{};
  uint64_t accepted_ = 0;
  uint64_t overwritten_ = 0;
};

// A world whose ranks all reach each other, with channels for the pairs that a test opens.
class Parties {
 public:
  Parties(const Backend& backend, uint32_t nranks);
  // Endpoint lists are opened at both ends.
  void open(uint32_t a, uint32_t b);
  void open_all();
  // One of the two ends; `index` counts the endpoints of the pair.
  Channel& channel(uint32_t self, uint32_t peer, size_t index = 0);
  size_t endpoint_count(uint32_t self, uint32_t peer) const { return channels_[self][peer].size(); }
  Transport& transport(uint32_t rank) { return *world_.transports[rank]; }
  uint32_t size() const { return static_cast<uint32_t>(world_.transports.size()); }

  // Polls one rank: its transport and all its channels.
  bool poll(uint32_t rank);
  // Polls all ranks until `finished`. False after 30 s, or if time cannot pass any more.
  bool run_until(const std::function<bool()>& finished);
  bool run_until_delivered();
  // Asserts that everything sent on every channel arrived at its other end, once, in order, intact.
  void expect_delivered();

 private:
  World world_;
  std::vector<std::vector<std::vector<Channel>>> channels_;  // self, peer, endpoint
};

}  // namespace comity::conformance
