#include "src/engine/link.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "src/device/host/kernels.h"

namespace comity::engine {

Link::Link(uint32_t peer, uint32_t communicator, Connections& connections, ReleaseRule rule,
           CallMemory* memory)
    : peer_(peer),
      communicator_(communicator),
      segment_bytes_(connections.segment_bytes()),
      put_bytes_(memory == nullptr ? 0 : connections.put_bytes()),
      mixed_(connections.are_mixed()),
      plain_(memory == nullptr && !mixed_),
      rule_(rule),
      acknowledge_after_(rule == ReleaseRule::kDone ? 1 : kSegmentsInFlight / 2),
      connections_(connections),
      memory_(memory),
      sink_(connections.of_family() ? static_cast<SegmentSink*>(&connections) : this),
      endpoints_(connections.endpoints().begin(), connections.endpoints().end()),
      accepted_(endpoints_.size(), 0) {}

Link::~Link() {
  if (memory_ == nullptr) return;
  for (const Lane& lane : lanes_) memory_->forget(lane.rx.staging.data());
  if (exchange_ != nullptr) memory_->forget(exchange_->rx.staging.data());
}

Status Link::make_staging(Lane& lane) {
  lane.rx.staging = Mapping(uint64_t{segment_bytes_} * kSegmentsInFlight);
  if (!lane.rx.staging.valid()) {
    return Status(Code::kSystemError, fmt::format("no memory for {} staging slots of {} bytes for rank {}",
                                                  kSegmentsInFlight, segment_bytes_, peer_));
  }
  if (memory_ != nullptr) memory_->keep({lane.rx.staging.data(), lane.rx.staging.bytes()});
  if (put_bytes_ != 0) lane.puts = std::make_unique<Puts>();
  return {};
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
  send.source = source;
  send.bytes = bytes;
  send.first = tx.next_post;
  send.segments = segments_of(bytes);
  send.next = send.offset = 0;
  send.signature = signature;
  send.sink = &sink;
  send.tag = tag;
  tx.next_post += send.segments;
  if (!plain_) [[unlikely]]
    take_apart(send, bytes);
  pump(lane, lanes_[lane]);
}

void Link::post_exchange_send(const std::byte* source, const MessagePart& part, CompletionSink& sink) {
  LaneTx& tx = exchange_->tx;
  Send& send = tx.posted.push();
  send = Send{
      source, nullptr,     false,          false, false,   part.bytes, tx.next_post, segments_of(part.bytes),
      0,      part.offset, part.signature, &sink, part.tag};
  tx.next_post += send.segments;
  if (!plain_) [[unlikely]]
    take_apart(send, part.whole);
  pump(kExchangeLane, *exchange_);
}

void Link::post_recv(uint32_t lane, uint64_t bytes, uint64_t signature, const ReceiveAction& action,
                     CompletionSink& sink, uint32_t tag) {
  LaneRx& rx = lanes_[lane].rx;
  Receive& receive = rx.posted.push();
  receive.action = action;
  receive.bytes = bytes;
  receive.first = rx.next_post;
  receive.segments = segments_of(bytes);
  receive.consumed = receive.offset = 0;
  receive.signature = signature;
  receive.sink = &sink;
  receive.tag = tag;
  rx.next_post += receive.segments;
  if (put_bytes_ != 0) [[unlikely]]
    expect_put(lanes_[lane], lane, receive, bytes);
  if (rx.staged_mask != 0) take_staged(lanes_[lane], receive);
}

void Link::post_exchange_recv(std::byte* destination, const MessagePart& part, CompletionSink& sink) {
  LaneRx& rx = exchange_->rx;
  Receive& receive = rx.posted.push();
  receive = Receive{};
  receive.action.destination = destination;
  receive.bytes = part.bytes;
  receive.first = rx.next_post;
  receive.segments = segments_of(part.bytes);
  receive.offset = part.offset;
  receive.signature = part.signature;
  receive.sink = &sink;
  receive.tag = part.tag;
  rx.next_post += receive.segments;
  if (put_bytes_ != 0) [[unlikely]]
    expect_put(*exchange_, kExchangeLane, receive, part.whole);
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
  if (put_bytes_ != 0) [[unlikely]]
    moved |= tell_all_ready();
  return moved;
}

bool Link::progress_exchange() {
  bool moved = false;
  for (Endpoint* endpoint : endpoints_) moved |= endpoint->progress(*sink_);
  if (put_bytes_ != 0) [[unlikely]]
    moved |= pump_puts(kExchangeLane, *exchange_);
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
  if (send.apart) [[unlikely]]
    return hand_over_apart(lane, send, header);
  const SourceMemory source(send.source + at_byte, send.registration);
  for (uint32_t i = 0; i < endpoints_.size(); ++i) {
    // Starting at a place that moves on keeps equal rails equally loaded.
    const auto at = static_cast<uint32_t>((tx.next + i) % endpoints_.size());
    if (endpoints_[at]->try_send(header, source)) return accepted(at, lane, header, send);
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

}  // namespace comity::engine
