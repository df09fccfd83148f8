#include "src/engine/link.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "src/device/host/kernels.h"

namespace comity::engine {

Link::Link(uint32_t peer, uint32_t communicator, std::span<Endpoint* const> endpoints, ReleaseRule rule)
    : peer_(peer),
      communicator_(communicator),
      segment_bytes_(endpoints.front()->traits().segment_bytes),
      rule_(rule),
      endpoints_(endpoints.begin(), endpoints.end()),
      accepted_(endpoints.size(), 0) {}

Status Link::ensure_lanes(uint32_t count) {
  while (rx_.size() < count) {
    LaneRx rx;
    rx.staging = Mapping(uint64_t{segment_bytes_} * kSegmentsInFlight);
    if (!rx.staging.valid()) {
      return Status(Code::kSystemError, fmt::format("no memory for {} staging slots of {} bytes for rank {}",
                                                    kSegmentsInFlight, segment_bytes_, peer_));
    }
    rx_.push_back(std::move(rx));
    tx_.emplace_back();
  }
  return {};
}

void Link::post_send(uint32_t lane, const std::byte* source, uint64_t bytes, uint64_t signature,
                     CompletionSink& sink, uint32_t tag) {
  LaneTx& tx = tx_[lane];
  Send& send = tx.posted.push();
  send = Send{source, bytes, tx.next_post, segments_of(bytes), 0, signature, &sink, tag};
  tx.next_post += send.segments;
  pump(lane);
}

void Link::post_recv(uint32_t lane, uint64_t bytes, uint64_t signature, const ReceiveAction& action,
                     CompletionSink& sink, uint32_t tag) {
  LaneRx& rx = rx_[lane];
  Receive& receive = rx.posted.push();
  receive = Receive{action, bytes, rx.next_post, segments_of(bytes), 0, signature, &sink, tag};
  rx.next_post += receive.segments;
  // What came before it was expected. Consuming moves rx.done, so the range is fixed first.
  const uint64_t end = std::min(rx.next_post, rx.done + kSegmentsInFlight);
  for (uint64_t number = std::max(receive.first, rx.done); number < end && rx.staged_mask != 0; ++number) {
    const uint32_t bit = 1u << (number % kSegmentsInFlight);
    if ((rx.staged_mask & bit) == 0) continue;
    rx.staged_mask &= ~bit;
    const SegmentHeader header = rx.staged[number % kSegmentsInFlight];
    if (header.signature == receive.signature && !fits(receive, header)) {
      fail("a staged segment has another length than its receive", header);
      return;
    }
    consume(rx, receive, header, slot(rx, number));
  }
}

bool Link::progress() {
  bool moved = false;
  for (Endpoint* endpoint : endpoints_) moved |= endpoint->progress(*this);
  for (uint32_t lane = 0; lane < tx_.size(); ++lane) moved |= pump(lane);
  return moved;
}

// --- sending -----------------------------------------------------------------------------------------------

bool Link::pump(uint32_t lane) {
  LaneTx& tx = tx_[lane];
  bool moved = false;
  while (tx.sending < tx.posted.size() && tx.next < tx.done + kSegmentsInFlight) {
    Send& send = tx.posted.at(tx.sending);
    if (!hand_over(lane, tx, send)) break;
    moved = true;
    if (send.next == send.segments) ++tx.sending;
  }
  if (tx.released < tx.next) {
    const uint64_t before = tx.released;
    release(tx);
    moved |= tx.released != before;
  }
  return acknowledge(lane) || moved;
}

bool Link::hand_over(uint32_t lane, LaneTx& tx, Send& send) {
  SegmentHeader header;
  header.lane = static_cast<uint16_t>(lane);
  header.number = tx.next;
  header.offset = send.next * segment_bytes_;
  header.length = static_cast<uint32_t>(std::min<uint64_t>(segment_bytes_, send.bytes - header.offset));
  header.flags = send.next + 1 == send.segments ? kSegmentLast : 0;
  header.communicator = communicator_;
  header.signature = send.signature;
  header.done = rx_[lane].done;
  for (uint32_t i = 0; i < endpoints_.size(); ++i) {
    // Starting at a place that moves on keeps equal rails equally loaded.
    const auto at = static_cast<uint32_t>((tx.next + i) % endpoints_.size());
    if (!endpoints_[at]->try_send(header, send.source + header.offset)) continue;
    rx_[lane].published = header.done;
    tx.in_flight[tx.next % kSegmentsInFlight] = InFlight{at, ++accepted_[at]};
    ++tx.next;
    ++send.next;
    return true;
  }
  return false;
}

// The one place where sent bytes are given back to their owner.
void Link::release(LaneTx& tx) {
  while (tx.released < tx.next) {
    const InFlight& flight = tx.in_flight[tx.released % kSegmentsInFlight];
    const bool consumed = tx.released < tx.done;
    if (!consumed &&
        (rule_ == ReleaseRule::kDone || endpoints_[flight.endpoint]->transmitted() < flight.accepted))
      break;
    ++tx.released;
  }
  while (!tx.posted.empty() && tx.sending > 0) {
    Send& send = tx.posted.front();
    if (tx.released < send.first + send.segments) break;
    CompletionSink* sink = send.sink;
    const uint32_t tag = send.tag;
    tx.posted.pop();
    --tx.sending;
    if (sink != nullptr) sink->completed(tag);
  }
}

// Tells the peer how far we are once half of the window is unacknowledged (or all of it, if sends wait for
// done).
bool Link::acknowledge(uint32_t lane) {
  LaneRx& rx = rx_[lane];
  const uint64_t due = rule_ == ReleaseRule::kDone ? 1 : kSegmentsInFlight / 2;
  if (rx.done - rx.published < due) return false;
  SegmentHeader header;
  header.kind = SegmentKind::kDone;
  header.lane = static_cast<uint16_t>(lane);
  header.communicator = communicator_;
  header.done = rx.done;
  for (uint32_t at = 0; at < endpoints_.size(); ++at) {
    if (!endpoints_[at]->try_send(header, nullptr)) continue;
    ++accepted_[at];
    rx.published = rx.done;
    return true;
  }
  return false;
}

bool Link::quiescent() const {
  const uint64_t due = rule_ == ReleaseRule::kDone ? 1 : kSegmentsInFlight / 2;
  const bool open =
      std::any_of(endpoints_.begin(), endpoints_.end(), [](const Endpoint* e) { return e->status().ok(); });
  for (const LaneRx& rx : rx_) {
    if (open && rx.done - rx.published >= due) return false;
  }
  for (size_t at = 0; at < endpoints_.size(); ++at) {
    if (endpoints_[at]->transmitted() < accepted_[at] && endpoints_[at]->status().ok()) return false;
  }
  return true;
}

// --- receiving ---------------------------------------------------------------------------------------------

bool Link::fail(const char* what, const SegmentHeader& header) {
  if (error_.ok()) {
    error_ = Status(
        Code::kRemoteError,
        fmt::format("rank {} sent a segment that cannot be: {} (lane {}, number {}, offset {}, length {})",
                    peer_, what, header.lane, header.number, header.offset, header.length));
  }
  return false;
}

// A peer that is a call ahead may use lanes that this rank has not bound yet.
bool Link::open_lane(const SegmentHeader& header) {
  if (header.lane < rx_.size()) return true;
  if (header.lane >= plan::kMaxLanes || header.communicator != communicator_)
    return fail("unknown lane", header);
  if (Status opened = ensure_lanes(header.lane + 1u); !opened.ok()) {
    error_ = opened;
    return false;
  }
  return true;
}

bool Link::acceptable(const SegmentHeader& header) const {
  if (header.lane >= rx_.size() || header.communicator != communicator_) return false;
  const LaneRx& rx = rx_[header.lane];
  if (header.number < rx.done || header.number - rx.done >= kSegmentsInFlight) return false;
  if (header.length == 0 || header.length > segment_bytes_) return false;
  if ((rx.consumed_mask >> (header.number - rx.done) & 1u) != 0) return false;
  return (rx.staged_mask >> (header.number % kSegmentsInFlight) & 1u) == 0;
}

Link::Receive* Link::receive_of(LaneRx& rx, uint64_t number) {
  for (uint32_t i = 0; i < rx.posted.size(); ++i) {
    Receive& receive = rx.posted.at(i);
    if (number < receive.first + receive.segments) return number >= receive.first ? &receive : nullptr;
  }
  return nullptr;
}

bool Link::fits(const Receive& receive, const SegmentHeader& header) const {
  const uint64_t offset = (header.number - receive.first) * segment_bytes_;
  return header.offset == offset && offset < receive.bytes &&
         header.length == std::min<uint64_t>(segment_bytes_, receive.bytes - offset);
}

std::byte* Link::place(const SegmentHeader& header) {
  if (!open_lane(header)) return nullptr;
  if (!acceptable(header)) {
    fail("outside the window or unknown", header);
    return nullptr;
  }
  LaneRx& rx = rx_[header.lane];
  Receive* receive = receive_of(rx, header.number);
  const bool direct = receive != nullptr && !receive->action.reduce &&
                      header.signature == receive->signature && fits(*receive, header);
  return direct ? receive->action.destination + header.offset : slot(rx, header.number);
}

bool Link::arrived(const SegmentHeader& header, const std::byte* payload) {
  if (!open_lane(header)) return false;
  if (header.done > tx_[header.lane].next) return fail("acknowledges what was not sent", header);
  LaneTx& tx = tx_[header.lane];
  tx.done = std::max(tx.done, header.done);
  if (header.kind == SegmentKind::kDone) return true;
  if (!acceptable(header)) return fail("outside the window or unknown", header);
  LaneRx& rx = rx_[header.lane];
  Receive* receive = receive_of(rx, header.number);
  if (receive != nullptr) {
    if (header.signature != receive->signature) {
      mismatch_ = true;  // the control plane finds out who called what; nothing is delivered
      return true;
    }
    if (!fits(*receive, header)) return fail("another length than its receive", header);
    return consume(rx, *receive, header, payload);
  }
  std::byte* kept = slot(rx, header.number);
  if (payload != kept) std::memcpy(kept, payload, header.length);
  rx.staged[header.number % kSegmentsInFlight] = header;
  rx.staged_mask |= 1u << (header.number % kSegmentsInFlight);
  return true;
}

bool Link::consume(LaneRx& rx, Receive& receive, const SegmentHeader& header, const std::byte* payload) {
  if (header.signature != receive.signature) {
    mismatch_ = true;
    return true;
  }
  const ReceiveAction& action = receive.action;
  std::byte* destination = action.destination + header.offset;
  if (action.reduce) {
    const std::byte* operand = action.operand + header.offset;
    const std::byte* const sources[2] = {action.received_first ? payload : operand,
                                         action.received_first ? operand : payload};
    ReduceWork work;
    work.type = action.type;
    work.op = action.op;
    work.sources = sources;
    work.destinations = std::span(&destination, 1);
    work.count = header.length / size_of(action.type);
    work.divisor = action.divisor;
    uint8_t divided[2];
    if (!action.divided.empty()) [[unlikely]] {
      divided[0] = action.divided[action.received_first ? 1 : 0];
      divided[1] = action.divided[action.received_first ? 0 : 1];
      work.divided = divided;
    }
    reduce_host(work);
  } else if (payload != destination) {
    std::memcpy(destination, payload, header.length);
  }
  ++receive.consumed;
  finish_consumed(rx, header.number);
  return true;
}

void Link::finish_consumed(LaneRx& rx, uint64_t number) {
  rx.consumed_mask |= 1u << (number - rx.done);
  while ((rx.consumed_mask & 1u) != 0) {
    rx.consumed_mask >>= 1;
    ++rx.done;
  }
  while (!rx.posted.empty() && rx.posted.front().consumed == rx.posted.front().segments) {
    CompletionSink* sink = rx.posted.front().sink;
    const uint32_t tag = rx.posted.front().tag;
    rx.posted.pop();
    if (sink != nullptr) sink->completed(tag);
  }
}

void Link::fence() {
  for (LaneTx& tx : tx_) tx.posted.head = tx.posted.tail;
  for (LaneRx& rx : rx_) rx.posted.head = rx.posted.tail;
  if (error_.ok()) error_ = Status(Code::kInvalidUsage, "the communicator was aborted or failed before");
}

// A peer that made its last call closes its connections while we wait for others: that is no failure of ours
// unless something is still to come from it or to go to it.
bool Link::expects_nothing() const {
  return std::all_of(rx_.begin(), rx_.end(), [](const LaneRx& rx) { return rx.posted.empty(); }) &&
         std::all_of(tx_.begin(), tx_.end(), [](const LaneTx& tx) { return tx.posted.empty(); });
}

// One of several connections that ended in order delivered all that was sent on it; what is missing comes on
// the others, until all have ended.
Status Link::status() const {
  if (!error_.ok()) return error_;
  size_t ended = 0;
  for (const Endpoint* endpoint : endpoints_) {
    if (endpoint->status().ok() || expects_nothing()) continue;
    if (!endpoint->ended() || ++ended == endpoints_.size()) return endpoint->status();
  }
  return {};
}

}  // namespace comity::engine
