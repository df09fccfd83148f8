// Link: the streams of segments between this rank and one peer, over one or more endpoints.
//
// A message of a lane is cut into segments of segment_bytes; both ends compute the same cut, so a segment's
// number says which message it belongs to and where it lies in it. Segments of one lane may travel over any
// endpoint: each goes to the first endpoint that accepts it, so a faster rail pulls more of them (striping).
// The receiver hands each whole segment on (places, reduces or stages it) and publishes `done`, the
// contiguous prefix it has consumed; the sender has at most kSegmentsInFlight segments of a lane beyond
// `done`, so what arrives before its receive was posted always fits into the lane's staging slots.
//
// One thread at a time. After construction nothing here allocates, locks or logs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "src/engine/mapping.h"
#include "src/plan/plan.h"

namespace comity::engine {

// When the bytes of a sent segment may be overwritten. There is one release point in the code:
// LaneTx::release().
enum class ReleaseRule : uint8_t {
  kTransmitted,  // the connection has taken them; enough while a failed connection is final
  kDone,         // the receiver has consumed them; needed once another path may have to send them again
};

// Told when a posted send or receive is complete.
class CompletionSink {
 public:
  virtual ~CompletionSink() = default;
  virtual void completed(uint32_t tag) = 0;
};

// What to do with each arriving segment of a posted receive.
struct ReceiveAction {
  std::byte* destination =
      nullptr;                  // host memory of the whole message; the reduction's destination if `reduce`
  bool reduce = false;          // destination = operand (op) segment, or segment (op) operand
  bool received_first = false;  // the received operand is folded first (it comes from the lower rank)
  const std::byte* operand = nullptr;
  DataType type = DataType::kInt8;
  RedOp op = RedOp::kSum;
  uint32_t divisor = 0;
  std::span<const uint8_t> divided = {};  // as ReduceWork::divided: the operand, the received one; or empty
};

class Link final : public SegmentSink {
 public:
  // `endpoints` stay the transport's and outlive the link.
  Link(uint32_t peer, uint32_t communicator, std::span<Endpoint* const> endpoints, ReleaseRule rule);

  // Makes lanes 0..count-1 usable. May allocate; not on the hot path. Keeps what exists. kSystemError: no
  // memory.
  Status ensure_lanes(uint32_t count);

  bool can_post_send(uint32_t lane) const { return tx_[lane].posted.size() < kPosted; }
  bool can_post_recv(uint32_t lane) const { return rx_[lane].posted.size() < kPosted; }
  // Queues a message. `bytes` > 0; the source stays unchanged until sink.completed(tag). Check
  // can_post_send() first.
  void post_send(uint32_t lane, const std::byte* source, uint64_t bytes, uint64_t signature,
                 CompletionSink& sink, uint32_t tag);
  // Expects the next message of the lane. Completion may come from within this call (all of it was staged).
  void post_recv(uint32_t lane, uint64_t bytes, uint64_t signature, const ReceiveAction& action,
                 CompletionSink& sink, uint32_t tag);

  // Moves what can move, both ways. True if anything did. Never blocks.
  bool progress();
  // Nothing that the peer may be waiting for is still here: no due acknowledgement, all accepted bytes handed
  // over.
  bool quiescent() const;
  // Whether a posted receive waits for the peer's bytes, a posted send for its taking them.
  bool awaits_bytes() const;
  bool awaits_taking() const;
  // True once a segment with another signature than that of its receive arrived.
  bool mismatch() const { return mismatch_; }
  // First error of any endpoint or of the peer's segments; success while all is well.
  Status status() const;
  uint32_t peer() const { return peer_; }
  uint64_t segments_sent_on(size_t endpoint) const { return accepted_[endpoint]; }
  // Forgets posted receives and sends (after an error or abort): nothing is delivered to their memory any
  // more.
  void fence();

  // SegmentSink.
  std::byte* place(const SegmentHeader& header) override;
  bool arrived(const SegmentHeader& header, const std::byte* payload) override;

 private:
  // Posted and incomplete messages of one lane, one way. Of sends a plan never needs more than one.
  static constexpr uint32_t kPosted = plan::kMaxPosted;
  static_assert((kPosted & (kPosted - 1)) == 0);

  // A bounded queue over a fixed array.
  template <typename T>
  struct Ring {
    std::array<T, kPosted> items{};
    uint32_t head = 0, tail = 0;
    uint32_t size() const { return tail - head; }
    bool empty() const { return head == tail; }
    T& front() { return items[head % kPosted]; }
    T& at(uint32_t i) { return items[(head + i) % kPosted]; }
    T& push() { return items[tail++ % kPosted]; }
    void pop() { ++head; }
  };
  struct Send {
    const std::byte* source = nullptr;
    uint64_t bytes = 0, first = 0, segments = 0, next = 0;  // next: segments handed to endpoints
    uint64_t signature = 0;
    CompletionSink* sink = nullptr;
    uint32_t tag = 0;
  };
  struct Receive {
    ReceiveAction action;
    uint64_t bytes = 0, first = 0, segments = 0, consumed = 0;
    uint64_t signature = 0;
    CompletionSink* sink = nullptr;
    uint32_t tag = 0;
  };
  struct InFlight {
    uint32_t endpoint = 0;
    uint64_t accepted = 0;  // ordinal on that endpoint
  };
  struct LaneTx {
    Ring<Send> posted;
    uint32_t sending = 0;    // index in posted of the first message with unsent segments
    uint64_t next_post = 0;  // number of the next message's first segment
    uint64_t next = 0;       // number of the next segment to hand over
    uint64_t done = 0;       // consumed by the peer
    uint64_t released = 0;   // segments whose bytes may be overwritten
    std::array<InFlight, kSegmentsInFlight> in_flight{};
  };
  struct LaneRx {
    Ring<Receive> posted;
    uint64_t next_post = 0;
    uint64_t done = 0;           // contiguous prefix consumed
    uint64_t published = 0;      // the `done` that the peer was told last
    uint32_t consumed_mask = 0;  // bit i: segment done + i is consumed
    uint32_t staged_mask = 0;    // bit number % kSegmentsInFlight: waits in its staging slot
    std::array<SegmentHeader, kSegmentsInFlight> staged{};
    Mapping staging;  // kSegmentsInFlight slots of segment_bytes_, touched when used
  };

  bool expects_nothing() const;
  bool open_lane(const SegmentHeader& header);
  bool acceptable(const SegmentHeader& header) const;
  Receive* receive_of(LaneRx& rx, uint64_t number);
  bool fits(const Receive& receive, const SegmentHeader& header) const;
  bool consume(LaneRx& rx, Receive& receive, const SegmentHeader& header, const std::byte* payload);
  void finish_consumed(LaneRx& rx, uint64_t number);
  bool pump(uint32_t lane);
  bool hand_over(uint32_t lane, LaneTx& tx, Send& send);
  bool acknowledge(uint32_t lane);
  void release(LaneTx& tx);
  std::byte* slot(LaneRx& rx, uint64_t number) {
    return rx.staging.data() + (number % kSegmentsInFlight) * uint64_t{segment_bytes_};
  }
  uint64_t segments_of(uint64_t bytes) const { return (bytes + segment_bytes_ - 1) / segment_bytes_; }
  bool fail(const char* what, const SegmentHeader& header);

  uint32_t peer_;
  uint32_t communicator_;
  uint32_t segment_bytes_;
  ReleaseRule rule_;
  bool mismatch_ = false;
  std::vector<Endpoint*> endpoints_;
  std::vector<uint64_t> accepted_;  // by endpoint
  std::vector<LaneTx> tx_;
  std::vector<LaneRx> rx_;
  Status error_;
};

}  // namespace comity::engine
