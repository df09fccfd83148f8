// Link: the streams of segments between this rank and one peer, over one or more endpoints.
//
// A message of a lane is cut into segments of segment_bytes; both ends compute the same cut, so a segment's
// number says which message it belongs to and where it lies in it. Segments of one lane may travel over any
// endpoint: each goes to the first endpoint that accepts it, so a faster rail pulls more of them (striping).
// The receiver hands each whole segment on (places, reduces or stages it) and publishes `done`, the
// contiguous prefix it has consumed; the sender has at most kSegmentsInFlight segments of a lane beyond
// `done`, so what arrives before its receive was posted always fits into the lane's staging slots.
//
// Beside the plans' lanes there is one for Sends and Recvs, made when it is first used. The signature of its
// messages is their type and length. A message of no bytes is one segment of a header alone.
//
// Over one-sided transports a large message is put where its receiver says:
//
//   post_recv    ready: the message whole, or the staging slots where its segments are reduced  ---->  kept
//   post_send    segments within the window                                      <----  put, with the header
//   A sender that nobody is ready for offers its message once: so its receiver can compare signatures.
//
// In five files: link.cc posts and sends, link_receive.cc takes in, link_put.cc puts, link_stripe.cc has
// endpoints of different transports, link_state.cc says how it stands. One thread at a time. After
// construction nothing here allocates, locks or logs, but what registers memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "src/engine/family.h"
#include "src/engine/mapping.h"
#include "src/engine/registrations.h"
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

// The lane of Sends and Recvs, as it is called on the wire.
inline constexpr uint32_t kExchangeLane = plan::kMaxLanes;

// A message that is not the one its receiver expects, as its first segment tells.
struct Differing {
  uint64_t expected = 0;  // signatures
  uint64_t arrived = 0;
};

// A part of a message of the exchange lane. All but the last are multiples of segment_bytes().
struct MessagePart {
  uint64_t offset = 0;  // in the message
  uint64_t bytes = 0;   // 0 only of a message of no bytes
  uint64_t whole = 0;   // bytes of the message
  uint64_t signature = 0;
  uint32_t tag = 0;
};

class Link final : public SegmentSink {
 public:
  // `connections` and `memory` outlive the link. `communicator`: its index in its family. `memory`: null
  // where the transport registers none.
  Link(uint32_t peer, uint32_t communicator, Connections& connections, ReleaseRule rule,
       CallMemory* memory = nullptr);
  ~Link() override;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Makes lanes 0..count-1 usable. May allocate; not on the hot path. Keeps what exists. kSystemError: no
  // memory.
  Status ensure_lanes(uint32_t count);

  bool can_post_send(uint32_t lane) const { return lanes_[lane].tx.posted.size() < kPosted; }
  bool can_post_recv(uint32_t lane) const { return lanes_[lane].rx.posted.size() < kPosted; }
  // Queues a message. The source stays unchanged until sink.completed(tag). Check
  // can_post_send() first.
  void post_send(uint32_t lane, const std::byte* source, uint64_t bytes, uint64_t signature,
                 CompletionSink& sink, uint32_t tag);
  // Expects the next message of the lane. Completion may come from within this call (all of it was staged).
  void post_recv(uint32_t lane, uint64_t bytes, uint64_t signature, const ReceiveAction& action,
                 CompletionSink& sink, uint32_t tag);

  // The same for the lane of Sends and Recvs, once it is open; the parts of a message in order.
  Status open_exchange();
  uint32_t segment_bytes() const { return segment_bytes_; }
  bool can_post_exchange_send() const { return exchange_->tx.posted.size() < kPosted; }
  bool can_post_exchange_recv() const { return exchange_->rx.posted.size() < kPosted; }
  void post_exchange_send(const std::byte* source, const MessagePart& part, CompletionSink& sink);
  void post_exchange_recv(std::byte* destination, const MessagePart& part, CompletionSink& sink);

  // Moves what can move, both ways. True if anything did. Never blocks. While no exchange is under way its
  // lane has nothing to send: progress() leaves it alone, and only takes in what comes.
  bool progress();
  bool progress_exchange();
  // Nothing that the peer may be waiting for is still here: no due acknowledgement, all accepted bytes handed
  // over.
  bool quiescent() const;
  bool exchange_quiescent() const;
  // Whether a posted receive waits for the peer's bytes, a posted send for its taking them.
  bool awaits_bytes() const;
  bool awaits_taking() const;
  // True once a segment with another signature than that of its receive arrived.
  bool mismatch() const { return mismatch_; }
  // How the first such message differs; null until that is known. Of plans' lanes, and of the exchange's.
  const Differing* differing() const;
  const Differing* exchange_differing() const {
    return exchange_->differing ? &*exchange_->differing : nullptr;
  }
  // First error of any endpoint or of the peer's segments; success while all is well.
  Status status() const;
  uint32_t peer() const { return peer_; }
  // The number of this link's last segment among all on that endpoint.
  uint64_t segments_sent_on(size_t endpoint) const { return accepted_[endpoint]; }
  // Payload bytes that were copied here, from where they arrived to where they belong.
  uint64_t bytes_copied() const { return bytes_copied_; }
  // Forgets posted receives and sends (after an error or abort): nothing is delivered to their memory any
  // more.
  void fence();

  // SegmentSink.
  std::byte* place(const SegmentHeader& header) override;
  Claim claim(const SegmentHeader& header) override;
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
    const Registration* registration = nullptr;
    bool put = false;
    bool was_put = false;                                   // a segment of it: the device may be reading it
    bool apart = false;                                     // handed over by put_over() or stripe_over()
    uint64_t bytes = 0, first = 0, segments = 0, next = 0;  // next: segments handed to endpoints
    uint64_t offset = 0;                                    // of its first byte in its message
    uint64_t signature = 0;
    CompletionSink* sink = nullptr;
    uint32_t tag = 0;
  };
  struct Receive {
    ReceiveAction action;
    bool put = false;
    bool untold = false;  // the peer is to hear where it is put
    uint64_t bytes = 0, first = 0, segments = 0, consumed = 0;
    uint64_t offset = 0;
    uint64_t signature = 0;
    CompletionSink* sink = nullptr;
    uint32_t tag = 0;
  };
  struct InFlight {
    uint32_t endpoint = 0;
    uint64_t accepted = 0;  // its number on that endpoint
  };
  // The peer's word on a message. `body.segments` 0: none.
  struct Ready {
    uint64_t first = 0, signature = 0;
    ReadyBody body;
  };
  // What a lane has where messages are put. Numbers plus one; 0: none.
  struct Puts {
    std::array<Ready, kPosted> ready{};  // of messages that are not sent, in any order
    uint64_t offered = 0;                // message
    uint64_t offer_from = 0;             // the peer's, while its receive is not posted
    uint64_t offer_signature = 0;
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

  struct Lane {
    LaneTx tx;
    LaneRx rx;
    std::optional<Differing> differing;
    std::unique_ptr<Puts> puts;  // null: nothing is put
  };

  Status make_staging(Lane& lane);
  bool expects_nothing() const;
  // Null if the header names no lane.
  Lane* lane_of(const SegmentHeader& header) {
    return header.lane < lanes_.size() ? &lanes_[header.lane] : open_lane(header);
  }
  Lane* open_lane(const SegmentHeader& header);
  bool is_whole(const SegmentHeader& header, const std::byte* payload);
  bool acceptable(const LaneRx& rx, const SegmentHeader& header) const;
  std::byte* place_of(LaneRx& rx, const Receive* receive, const SegmentHeader& header);
  Receive* receive_of(LaneRx& rx, uint64_t number);
  bool fits(const Receive& receive, const SegmentHeader& header) const;
  void take_staged(Lane& lane, Receive& receive);
  void note_mismatch(Lane& lane, const Receive& receive, const SegmentHeader& header);
  bool consume(Lane& lane, Receive& receive, const SegmentHeader& header, const std::byte* payload);
  void finish_consumed(LaneRx& rx, uint64_t number);
  bool pump(uint32_t number, Lane& lane);
  bool hand_over(uint32_t number, Lane& lane, Send& send);
  bool acknowledge(uint32_t number, LaneRx& rx);
  bool accepted(size_t at, Lane& lane, const SegmentHeader& header, Send& send) {
    LaneTx& tx = lane.tx;
    lane.rx.published = header.done;
    accepted_[at] = connections_.count_accepted(at);
    tx.in_flight[tx.next % kSegmentsInFlight] = InFlight{static_cast<uint32_t>(at), accepted_[at]};
    ++tx.next;
    ++send.next;
    return true;
  }
  // link_put.cc
  bool is_put(uint64_t bytes) const { return put_bytes_ != 0 && bytes >= put_bytes_; }
  const Registration* registration_of(const std::byte* data, uint64_t bytes, bool needed);
  Claim claimed(std::byte* data, const MemoryRange& whole);
  bool pump_puts(uint32_t number, Lane& lane);
  bool tell_all_ready();
  bool tell_ready(uint32_t number, Lane& lane, Receive& receive);
  bool put_over(Lane& lane, Send& send, SegmentHeader& header);
  bool put_segment(size_t at, const Ready& ready, Send& send, const SegmentHeader& header,
                   const SourceMemory& source);
  bool offer(Lane& lane, const SegmentHeader& header);
  bool hand_over_apart(Lane& lane, Send& send, SegmentHeader& header) {
    return mixed_ ? stripe_over(lane, send, header) : put_over(lane, send, header);
  }
  void take_apart(Send& send, uint64_t message_bytes);
  // link_stripe.cc
  bool stripe_over(Lane& lane, Send& send, SegmentHeader& header);
  const Ready* ready_for(const Lane& lane, uint64_t number) const;
  bool on_ready(Lane& lane, const SegmentHeader& header, const std::byte* payload);
  bool on_offer(Lane& lane, const SegmentHeader& header);
  bool is_exposed() const;
  void expect_put(Lane& lane, uint32_t number, Receive& receive, uint64_t message_bytes);
  bool acknowledgement_due(const LaneRx& rx) const { return rx.done - rx.published >= acknowledge_after_; }
  bool open() const;
  bool handed_over() const;
  void release(LaneTx& tx);
  std::byte* slot(LaneRx& rx, uint64_t number) {
    return rx.staging.data() + (number % kSegmentsInFlight) * uint64_t{segment_bytes_};
  }
  uint64_t segments_of(uint64_t bytes) const {
    return bytes == 0 ? 1 : (bytes + segment_bytes_ - 1) / segment_bytes_;
  }
  bool fail(const char* what, const SegmentHeader& header);
  Status named(const Status& status) const;

  uint32_t peer_;
  uint32_t communicator_;
  uint32_t segment_bytes_;
  uint32_t put_bytes_;  // 0: nothing is put
  bool mixed_;          // the endpoints are of different transports
  bool plain_;          // not, and nothing is registered or put
  ReleaseRule rule_;
  uint32_t acknowledge_after_;  // segments: half of the window, or each at once if sends wait for `done`
  bool mismatch_ = false;
  bool fenced_ = false;  // what still comes is dropped
  uint64_t bytes_copied_ = 0;
  Connections& connections_;
  CallMemory* memory_;
  SegmentSink* sink_;  // of what comes on them: this link, or whatever finds the one that a segment names
  std::vector<Endpoint*> endpoints_;
  std::vector<uint64_t> accepted_;  // by endpoint: the number of this link's last segment on it
  std::vector<Lane> lanes_;
  std::unique_ptr<Lane> exchange_;
  Status error_;
};

}  // namespace comity::engine
