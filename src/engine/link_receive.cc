// Takes in what comes: where it goes, and what becomes of it.
#include "src/engine/link.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "src/device/host/kernels.h"

namespace comity::engine {

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

// Where a segment's payload goes: into its receive, or a staging slot.
inline std::byte* Link::place_of(LaneRx& rx, const Receive* receive, const SegmentHeader& header) {
  const bool direct = receive != nullptr && !receive->action.reduce &&
                      header.signature == receive->signature && fits(*receive, header);
  return direct ? receive->action.destination + (header.offset - receive->offset) : slot(rx, header.number);
}

std::byte* Link::place(const SegmentHeader& header) {
  Lane* lane = lane_of(header);
  if (lane == nullptr) return nullptr;
  LaneRx& rx = lane->rx;
  if (!acceptable(rx, header)) {
    fail("outside the window or unknown", header);
    return nullptr;
  }
  return place_of(rx, receive_of(rx, header.number), header);
}

Claim Link::claim(const SegmentHeader& header) {
  Lane* lane = lane_of(header);
  if (lane == nullptr) return {false, {}};
  LaneRx& rx = lane->rx;
  if (fenced_ && header.length <= segment_bytes_)
    return {true, slot(rx, header.number)};  // its sender is freed
  if (!acceptable(rx, header)) {
    fail("outside the window or unknown", header);
    return {false, {}};
  }
  const Receive* receive = receive_of(rx, header.number);
  if (receive == nullptr) return {};
  std::byte* const place = place_of(rx, receive, header);
  const bool staged = place == slot(rx, header.number);
  return claimed(place, staged ? MemoryRange{rx.staging.data(), rx.staging.bytes()}
                               : MemoryRange{receive->action.destination, receive->bytes});
}

// A header is a peer's word: what does not go together is refused before it is acted upon.
bool Link::is_whole(const SegmentHeader& header, const std::byte* payload) {
  const bool put = (header.flags & kSegmentPut) != 0;
  switch (header.kind) {
    case SegmentKind::kData:
      return put ? put_bytes_ != 0 : header.length == 0 || payload != nullptr;
    case SegmentKind::kReady:
      return !put && put_bytes_ != 0 && header.length == sizeof(ReadyBody) && payload != nullptr;
    case SegmentKind::kDone:
    case SegmentKind::kOffer:
      return !put && header.length == 0;
  }
  return false;
}

bool Link::arrived(const SegmentHeader& header, const std::byte* payload) {
  Lane* lane = lane_of(header);
  if (lane == nullptr) return false;
  if (header.kind != SegmentKind::kData || header.flags > kSegmentLast) [[unlikely]] {
    if (!is_whole(header, payload)) return fail("of no kind", header);
  }
  if (fenced_) [[unlikely]]
    return true;
  LaneTx& tx = lane->tx;
  if (header.done > tx.next) return fail("acknowledges what was not sent", header);
  tx.done = std::max(tx.done, header.done);
  if (header.kind == SegmentKind::kDone) return true;
  if (header.kind != SegmentKind::kData) [[unlikely]]
    return header.kind == SegmentKind::kReady ? on_ready(*lane, header, payload) : on_offer(*lane, header);
  LaneRx& rx = lane->rx;
  if (!acceptable(rx, header)) return fail("outside the window or unknown", header);
  Receive* receive = receive_of(rx, header.number);
  if (receive != nullptr) {
    if (header.signature != receive->signature) {
      note_mismatch(*lane, *receive, header);
      return true;
    }
    if (!fits(*receive, header)) return fail("another length than its receive", header);
    if ((header.flags & kSegmentPut) != 0) [[unlikely]] {
      if (!receive->put || receive->untold) return fail("put where no memory was offered", header);
      payload = place_of(rx, receive, header);
    }
    return consume(*lane, *receive, header, payload);
  }
  if ((header.flags & kSegmentPut) != 0) return fail("put where no memory was offered", header);
  std::byte* kept = slot(rx, header.number);
  if (payload != kept && header.length != 0) {
    std::memcpy(kept, payload, header.length);
    bytes_copied_ += header.length;
  }
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
    bytes_copied_ += header.length;
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

}  // namespace comity::engine
