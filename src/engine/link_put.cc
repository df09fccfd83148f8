// Large messages over one-sided transports: the receiver says where, the sender puts. And registered memory,
// which transports that pull want, too.
#include "src/engine/link.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

namespace comity::engine {

// Null where it serves nothing, or cannot be had, which is an error only where it is needed.
const Registration* Link::registration_of(const std::byte* data, uint64_t bytes, bool needed) {
  if (bytes == 0 || (!needed && bytes < memory_->from())) return nullptr;
  const Result<const Registration*> made = memory_->of(data, bytes);
  if (made.ok()) return *made;
  if (needed && error_.ok()) error_ = made.status().in(fmt::format("for messages with rank {}", peer_));
  return nullptr;
}

Claim Link::claimed(std::byte* data, const MemoryRange& whole) {
  Claim claim;
  claim.memory.data = data;
  if (memory_ != nullptr) claim.memory.registration = registration_of(whole.data, whole.bytes, false);
  return claim;
}

// --- the receiver ------------------------------------------------------------------------------------------

bool Link::pump_puts(uint32_t number, Lane& lane) {
  for (uint32_t i = 0; i < lane.rx.posted.size(); ++i) {
    Receive& receive = lane.rx.posted.at(i);
    if (receive.untold) return tell_ready(number, lane, receive);
  }
  return false;
}

bool Link::tell_all_ready() {
  bool moved = false;
  uint32_t number = 0;
  for (Lane& lane : lanes_) moved |= pump_puts(number++, lane);
  return moved;
}

// Segments that are reduced go through the staging slots, which the window keeps from being overwritten.
bool Link::tell_ready(uint32_t number, Lane& lane, Receive& receive) {
  const bool staged = receive.action.reduce;
  const Mapping& staging = lane.rx.staging;
  TargetMemory memory(staged ? staging.data() : receive.action.destination);
  memory.registration = registration_of(memory.data, staged ? staging.bytes() : receive.bytes, true);
  if (!error_.ok()) return false;
  ReadyBody body;
  body.segments = receive.segments;
  body.slots = staged ? kSegmentsInFlight : 0;
  body.memory = memory_->transport().expose(memory);
  SegmentHeader header;
  header.kind = SegmentKind::kReady;
  header.lane = static_cast<uint16_t>(number);
  header.communicator = communicator_;
  header.number = receive.first;
  header.length = sizeof(body);
  header.signature = receive.signature;
  header.done = lane.rx.done;
  const SourceMemory payload(reinterpret_cast<const std::byte*>(&body));
  for (size_t at = 0; at < endpoints_.size(); ++at) {
    if (!connections_.puts(at) || !endpoints_[at]->try_send(header, payload)) continue;
    accepted_[at] = connections_.count_accepted(at);
    lane.rx.published = header.done;
    receive.untold = false;
    return true;
  }
  return false;
}

bool Link::on_offer(Lane& lane, const SegmentHeader& header) {
  if (put_bytes_ == 0) return fail("of no kind", header);
  LaneRx& rx = lane.rx;
  if (header.number < rx.done || header.number - rx.done >= kSegmentsInFlight) return true;  // it came since
  if (const Receive* receive = receive_of(rx, header.number)) {
    if (header.signature != receive->signature) note_mismatch(lane, *receive, header);
    return true;
  }
  lane.puts->offer_from = header.number + 1;
  lane.puts->offer_signature = header.signature;
  return true;
}

// A receive is posted, of which the peer may have told before.
void Link::expect_put(Lane& lane, uint32_t number, Receive& receive, uint64_t message_bytes) {
  receive.put = receive.untold = is_put(message_bytes);
  if (lane.puts->offer_from != receive.first + 1) return;
  lane.puts->offer_from = 0;
  if (lane.puts->offer_signature == receive.signature) return;
  SegmentHeader offer;
  offer.kind = SegmentKind::kOffer;
  offer.lane = static_cast<uint16_t>(number);
  offer.number = receive.first;
  offer.signature = lane.puts->offer_signature;
  note_mismatch(lane, receive, offer);
}

// A peer may be writing, or the device reading, memory of the call in flight.
bool Link::is_exposed() const {
  const auto exposed = [](const Lane& lane) {
    bool found = false;
    for (uint32_t i = lane.rx.posted.head; i != lane.rx.posted.tail; ++i) {
      const Receive& receive = lane.rx.posted.items[i % kPosted];
      found = found || (receive.put && !receive.untold);
    }
    for (uint32_t i = lane.tx.posted.head; i != lane.tx.posted.tail; ++i) {
      const Send& send = lane.tx.posted.items[i % kPosted];
      found = found || send.was_put;
    }
    return found;
  };
  return std::any_of(lanes_.begin(), lanes_.end(), exposed) || (exchange_ != nullptr && exposed(*exchange_));
}

// --- the sender --------------------------------------------------------------------------------------------

bool Link::on_ready(Lane& lane, const SegmentHeader& header, const std::byte* payload) {
  Ready told;
  told.first = header.number;
  told.signature = header.signature;
  std::memcpy(&told.body, payload, sizeof(told.body));
  const ReadyBody& body = told.body;
  if (body.segments == 0 || body.segments > UINT64_MAX - header.number ||
      (body.slots != 0 && body.slots != kSegmentsInFlight))
    return fail("ready for no message that can be", header);
  for (Ready& kept : lane.puts->ready) {
    if (kept.body.segments != 0 && kept.first + kept.body.segments > lane.tx.next) continue;
    kept = told;
    return true;
  }
  return fail("ready for more messages than it can have posted", header);
}

const Link::Ready* Link::ready_for(const Lane& lane, uint64_t number) const {
  for (const Ready& ready : lane.puts->ready) {
    if (number >= ready.first && number - ready.first < ready.body.segments) return &ready;
  }
  return nullptr;
}

// A message whose receiver expects another one is offered and never put.
bool Link::put_over(Lane& lane, Send& send, SegmentHeader& header) {
  const Ready* ready = ready_for(lane, header.number);
  if (ready == nullptr || ready->signature != send.signature || send.registration == nullptr)
    return send.next == 0 && offer(lane, header);
  const SourceMemory source(send.source + send.next * segment_bytes_, send.registration);
  for (size_t i = 0; i < endpoints_.size(); ++i) {
    const size_t at = (header.number + i) % endpoints_.size();
    if (put_segment(at, *ready, send, header, source)) return accepted(at, lane, header, send);
  }
  return false;
}

bool Link::put_segment(size_t at, const Ready& ready, Send& send, const SegmentHeader& header,
                       const SourceMemory& source) {
  const uint64_t slot =
      ready.body.slots == 0 ? header.number - ready.first : header.number % ready.body.slots;
  SegmentHeader put = header;
  put.flags |= kSegmentPut;
  if (!endpoints_[at]->try_put(put, source, ready.body.memory, slot * segment_bytes_)) return false;
  send.was_put = true;
  return true;
}

// A message that needs more than any endpoint's taking its segments.
void Link::take_apart(Send& send, uint64_t message_bytes) {
  send.put = is_put(message_bytes);
  send.was_put = false;
  send.apart = send.put || mixed_;
  if (memory_ != nullptr) send.registration = registration_of(send.source, send.bytes, send.put);
}

bool Link::offer(Lane& lane, const SegmentHeader& header) {
  if (lane.puts->offered == header.number + 1) return false;
  SegmentHeader offer = header;
  offer.kind = SegmentKind::kOffer;
  offer.length = 0;
  for (size_t at = 0; at < endpoints_.size(); ++at) {
    if (!connections_.puts(at) || !endpoints_[at]->try_send(offer, SourceMemory())) continue;
    accepted_[at] = connections_.count_accepted(at);
    lane.rx.published = header.done;
    lane.puts->offered = header.number + 1;
    break;
  }
  return false;
}

}  // namespace comity::engine
