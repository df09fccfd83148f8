#include "src/engine/link.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "src/device/host/kernels.h"

namespace comity::engine {

Link::Link(uint32_t peer, uint32_t communicator, Connections& connections, ReleaseRule rule)
    : peer_(peer),
      communicator_(communicator),
      segment_bytes_(connections.segment_bytes()),
      rule_(rule),
      acknowledge_after_(rule == ReleaseRule::kDone ? 1 : kSegmentsInFlight / 2),
      connections_(connections),
      sink_(connections.of_family() ? static_cast<SegmentSink*>(&connections) : this),
      endpoints_(connections.endpoints().begin(), connections.endpoints().end()),
      accepted_(endpoints_.size(), 0) {}

Status Link::make_staging(Lane& lane) const {
  lane.rx.staging = Mapping(uint64_t{segment_bytes_} * kSegmentsInFlight);
  if (lane.rx.staging.valid()) return {};
  return Status(Code::kSystemError, fmt::format("no memory for {} staging slots of {} bytes for rank {}",
                                                kSegmentsInFlight, segment_bytes_, peer_));
}

Status Link::ensure_lanes(uint32_t count) {
  while (lanes_.size() < count) {
    Lane lane;
    COMITY_RETURN_IF_ERROR(make_staging(lane));
    lanes_.push_back(std::move(lane));
  }
  return {};
}

Status Link::open_exchange() {
  if (exchange_ != nullptr) return {};
  auto lane = std::make_unique<Lane>();
  COMITY_RETURN_IF_ERROR(make_staging(*lane));
  exchange_ = std::move(lane);
  return {};
}

void Link::post_send(uint32_t lane, const std::byte* source, uint64_t bytes, uint64_t signature,
                     CompletionSink& sink, uint32_t tag) {
  LaneTx& tx = lanes_[lane].tx;
  Send& send = tx.posted.push();
  send = Send{source, bytes, tx.next_post, segments_of(bytes), 0, 0, signature, &sink, tag};
  tx.next_post += send.segments;
  pump(lane, lanes_[lane]);
}

void Link::post_exchange_send(const std::byte* source, const MessagePart& part, CompletionSink& sink) {
  LaneTx& tx = exchange_->tx;
  Send& send = tx.posted.push();
  send = Send{source,         part.bytes, tx.next_post, segments_of(part.bytes), 0, part.offset,
              part.signature, &sink,      part.tag};
  tx.next_post += send.segments;
  pump(kExchangeLane, *exchange_);
}

void Link::post_recv(uint32_t lane, uint64_t bytes, uint64_t signature, const ReceiveAction& action,
                     CompletionSink& sink, uint32_t tag) {
  LaneRx& rx = lanes_[lane].rx;
  Receive& receive = rx.posted.push();
  receive = Receive{action, bytes, rx.next_post, segments_of(bytes), 0, 0, signature, &sink, tag};
  rx.next_post += receive.segments;
  if (rx.staged_mask != 0) take_staged(lanes_[lane], receive);
}

void Link::post_exchange_recv(std::byte* destination, const MessagePart& part, CompletionSink& sink) {
  LaneRx& rx = exchange_->rx;
  Receive& receive = rx.posted.push();
  receive = Receive{ReceiveAction{}, part.bytes, rx.next_post, segments_of(part.bytes), 0, part.offset,
                    part.signature,  &sink,      part.tag};
  receive.action.destination = destination;
  rx.next_post += receive.segments;
  take_staged(*exchange_, receive);
}

// What came before it was expected. Consuming moves rx.done, so the range is fixed first.
void Link::take_staged(Lane& lane, Receive& receive) {
  LaneRx& rx = lane.rx;
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
    consume(lane, receive, header, slot(rx, number));
  }
}

bool Link::progress() {
  bool moved = false;
  for (Endpoint* endpoint : endpoints_) moved |= endpoint->progress(*sink_);
  uint32_t number = 0;
  for (Lane& lane : lanes_) moved |= pump(number++, lane);
  return moved;
}

bool Link::progress_exchange() {
  bool moved = false;
  for (Endpoint* endpoint : endpoints_) moved |= endpoint->progress(*sink_);
  return pump(kExchangeLane, *exchange_) || moved;
}

// --- sending -----------------------------------------------------------------------------------------------

bool Link::pump(uint32_t number, Lane& lane) {
  LaneTx& tx = lane.tx;
  bool moved = false;
  while (tx.sending < tx.posted.size() && tx.next < tx.done + kSegmentsInFlight) {
    Send& send = tx.posted.at(tx.sending);
    if (!hand_over(number, lane, send)) break;
    moved = true;
    if (send.next == send.segments) ++tx.sending;
  }
  if (tx.released < tx.next) {
    const uint64_t before = tx.released;
    release(tx);
    moved |= tx.released != before;
  }
  if (acknowledgement_due(lane.rx)) [[unlikely]]
    moved |= acknowledge(number, lane.rx);
  return moved;
}

bool Link::hand_over(uint32_t number, Lane& lane, Send& send) {
  LaneTx& tx = lane.tx;
  const uint64_t at_byte = send.next * segment_bytes_;
  SegmentHeader header;
  header.lane = static_cast<uint16_t>(number);
  header.number = tx.next;
  header.offset = send.offset + at_byte;
  header.length = static_cast<uint32_t>(std::min<uint64_t>(segment_bytes_, send.bytes - at_byte));
  header.flags = send.next + 1 == send.segments ? kSegmentLast : 0;
  header.communicator = communicator_;
  header.signature = send.signature;
  header.done = lane.rx.done;
  for (uint32_t i = 0; i < endpoints_.size(); ++i) {
    // Starting at a place that moves on keeps equal rails equally loaded.
    const auto at = static_cast<uint32_t>((tx.next + i) % endpoints_.size());
    if (!endpoints_[at]->try_send(header, send.source + at_byte)) continue;
    lane.rx.published = header.done;
    accepted_[at] = connections_.count_accepted(at);
    tx.in_flight[tx.next % kSegmentsInFlight] = InFlight{at, accepted_[at]};
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

// Tells the peer how far we are.
bool Link::acknowledge(uint32_t number, LaneRx& rx) {
  SegmentHeader header;
  header.kind = SegmentKind::kDone;
  header.lane = static_cast<uint16_t>(number);
  header.communicator = communicator_;
  header.done = rx.done;
  for (uint32_t at = 0; at < endpoints_.size(); ++at) {
    if (!endpoints_[at]->try_send(header, nullptr)) continue;
    accepted_[at] = connections_.count_accepted(at);
    rx.published = rx.done;
    return true;
  }
  return false;
}

bool Link::open() const {
  return std::any_of(endpoints_.begin(), endpoints_.end(),
                     [](const Endpoint* endpoint) { return endpoint->status().ok(); });
}

bool Link::handed_over() const {
  for (size_t at = 0; at < endpoints_.size(); ++at) {
    if (endpoints_[at]->transmitted() < accepted_[at] && endpoints_[at]->status().ok()) return false;
  }
  return true;
}

bool Link::quiescent() const {
  const bool due = std::any_of(lanes_.begin(), lanes_.end(),
                               [this](const Lane& lane) { return acknowledgement_due(lane.rx); });
  return (!due || !open()) && handed_over();
}

bool Link::exchange_quiescent() const {
  return (!acknowledgement_due(exchange_->rx) || !open()) && handed_over();
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
Link::Lane* Link::open_lane(const SegmentHeader& header) {
  if (header.lane > kExchangeLane || header.communicator != communicator_) {
    fail("unknown lane", header);
    return nullptr;
  }
  const bool exchange = header.lane == kExchangeLane;
  if (Status opened = exchange ? open_exchange() : ensure_lanes(header.lane + 1u); !opened.ok()) {
    error_ = opened;
    return nullptr;
  }
  return exchange ? exchange_.get() : &lanes_[header.lane];
}

bool Link::acceptable(const LaneRx& rx, const SegmentHeader& header) const {
  if (header.communicator != communicator_) return false;
  if (header.number < rx.done || header.number - rx.done >= kSegmentsInFlight) return false;
  if (header.length > segment_bytes_) return false;
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
  return header.offset == receive.offset + offset && offset <= receive.bytes &&
         header.length == std::min<uint64_t>(segment_bytes_, receive.bytes - offset);
}

std::byte* Link::place(const SegmentHeader& header) {
  Lane* lane = lane_of(header);
  if (lane == nullptr) return nullptr;
  LaneRx& rx = lane->rx;
  if (!acceptable(rx, header)) {
    fail("outside the window or unknown", header);
    return nullptr;
  }
  Receive* receive = receive_of(rx, header.number);
  const bool direct = receive != nullptr && !receive->action.reduce &&
                      header.signature == receive->signature && fits(*receive, header);
  return direct ? receive->action.destination + (header.offset - receive->offset) : slot(rx, header.number);
}

bool Link::arrived(const SegmentHeader& header, const std::byte* payload) {
  Lane* lane = lane_of(header);
  if (lane == nullptr) return false;
  LaneTx& tx = lane->tx;
  if (header.done > tx.next) return fail("acknowledges what was not sent", header);
  tx.done = std::max(tx.done, header.done);
  if (header.kind == SegmentKind::kDone) return true;
  LaneRx& rx = lane->rx;
  if (!acceptable(rx, header)) return fail("outside the window or unknown", header);
  Receive* receive = receive_of(rx, header.number);
  if (receive != nullptr) {
    if (header.signature != receive->signature) {
      note_mismatch(*lane, *receive, header);
      return true;
    }
    if (!fits(*receive, header)) return fail("another length than its receive", header);
    return consume(*lane, *receive, header, payload);
  }
  std::byte* kept = slot(rx, header.number);
  if (payload != kept && header.length != 0) std::memcpy(kept, payload, header.length);
  rx.staged[header.number % kSegmentsInFlight] = header;
  rx.staged_mask |= 1u << (header.number % kSegmentsInFlight);
  return true;
}

// Nothing is delivered any more: somebody finds out who called what. Both ends number segments alike up to
// the first message that differs, so that its first segment is the first of what is expected in its place;
// what arrives before it on another connection may belong to a later message.
void Link::note_mismatch(Lane& lane, const Receive& receive, const SegmentHeader& header) {
  if (header.lane != kExchangeLane) mismatch_ = true;
  if (lane.differing || header.number != receive.first || receive.offset != 0) return;
  lane.differing = Differing{receive.signature, header.signature};
}

const Differing* Link::differing() const {
  for (const Lane& lane : lanes_) {
    if (lane.differing) return &*lane.differing;
  }
  return nullptr;
}

bool Link::consume(Lane& lane, Receive& receive, const SegmentHeader& header, const std::byte* payload) {
  if (header.signature != receive.signature) {
    note_mismatch(lane, receive, header);
    return true;
  }
  const ReceiveAction& action = receive.action;
  std::byte* destination = action.destination + (header.offset - receive.offset);
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
  } else if (payload != destination && header.length != 0) {
    std::memcpy(destination, payload, header.length);
  }
  ++receive.consumed;
  finish_consumed(lane.rx, header.number);
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
  const auto drop = [](auto& way) { way.posted.head = way.posted.tail; };
  const auto drop_both = [&](Lane& lane) {
    drop(lane.tx);
    drop(lane.rx);
  };
  for (Lane& lane : lanes_) drop_both(lane);
  if (exchange_ != nullptr) drop_both(*exchange_);
  connections_.let_go(communicator_);
  if (error_.ok()) error_ = Status(Code::kInvalidUsage, "the communicator was aborted or failed before");
}

bool Link::awaits_bytes() const {
  const auto awaits = [](const Lane& lane) { return !lane.rx.posted.empty(); };
  return std::any_of(lanes_.begin(), lanes_.end(), awaits) || (exchange_ != nullptr && awaits(*exchange_));
}

bool Link::awaits_taking() const {
  const auto awaits = [](const Lane& lane) { return !lane.tx.posted.empty(); };
  return std::any_of(lanes_.begin(), lanes_.end(), awaits) || (exchange_ != nullptr && awaits(*exchange_));
}

// A peer that made its last call closes its connections while we wait for others: that is no failure of ours
// unless something is still to come from it or to go to it.
bool Link::expects_nothing() const {
  return !awaits_bytes() && !awaits_taking();
}

// One of several connections that ended in order delivered all that was sent on it; what is missing comes on
// the others, until all have ended.
Status Link::status() const {
  if (!error_.ok()) return error_;
  size_t ended = 0;
  for (const Endpoint* endpoint : endpoints_) {
    if (endpoint->status().ok() || expects_nothing()) continue;
    if (!endpoint->ended() || ++ended == endpoints_.size()) return named(endpoint->status());
  }
  return {};
}

// Connections call the peer by its number in the family.
Status Link::named(const Status& status) const {
  if (!connections_.of_family() || connections_.family_rank() == peer_) return status;
  return status.in(fmt::format("rank {}, which is rank {} of the communicator that it was split from", peer_,
                               connections_.family_rank()));
}

}  // namespace comity::engine
