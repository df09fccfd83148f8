#include "transports/sim/sim_endpoint.h"

#include <fmt/core.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

namespace comity::sim {

SimEndpoint::SimEndpoint(EventQueue& events, const EndpointConfig& config)
    : events_(events), config_(config), random_(config.seed) {
  traits_ = {config.options.segment_bytes, config.out.latency_ns, config.out.bandwidth_bytes_per_s,
             config.rail + config.options.stream_rails < config.options.rails ? config.options.put_bytes : 0,
             config.options.delivery != Delivery::kClaimed};
  if (random_.chance(config.options.stall_percent)) {  // still connecting
    stalled_until_ns_ = events_.now_ns() + 1 + random_.up_to(config.options.stall_ns);
    events_.schedule(stalled_until_ns_, *this, EventKind::kWake);
  }
}

std::string SimEndpoint::describe() const {
  return fmt::format("sim rail {} rank {} -> rank {}", config_.rail, config_.self, config_.peer);
}

uint64_t SimEndpoint::wire_ns(uint64_t payload_bytes) const {
  const unsigned __int128 bits =
      static_cast<unsigned __int128>(sizeof(SegmentHeader) + payload_bytes) * 1'000'000'000u;
  const uint64_t bandwidth = std::max<uint64_t>(config_.out.bandwidth_bytes_per_s, 1);
  return static_cast<uint64_t>((bits + bandwidth - 1) / bandwidth);
}

// Refuses by seed. Every refusal ends at a time at which an event wakes the caller.
bool SimEndpoint::stalled() {
  if (events_.now_ns() < stalled_until_ns_) return true;
  if (!std::exchange(may_stall_, true) || !random_.chance(config_.options.stall_percent)) return false;
  stalled_until_ns_ = events_.now_ns() + 1 + random_.up_to(config_.options.stall_ns);
  may_stall_ = false;
  events_.schedule(stalled_until_ns_, *this, EventKind::kWake);
  return true;
}

bool SimEndpoint::try_send(const SegmentHeader& header, SourceMemory payload) {
  assert(header.length <= traits_.segment_bytes && "a segment is longer than the endpoint's segment_bytes");
  assert((header.length == 0 || payload.data != nullptr) && "a segment with a length and no payload");
  if (!status_.ok() || sending_ || stalled()) return false;
  sending_ = true;
  out_header_ = header;
  out_payload_ = payload.data;
  if (header.kind == SegmentKind::kReady) {
    out_ready_.assign(payload.data, payload.data + header.length);
    out_payload_ = out_ready_.data();
  }
  ++accepted_;
  events_.schedule(events_.now_ns() + wire_ns(header.length), *this, EventKind::kDepart);
  return true;
}

bool SimEndpoint::try_put(const SegmentHeader& header, SourceMemory payload, const RemoteMemory& to,
                          uint64_t offset) {
  assert(payload.registration != nullptr && "a segment is put from memory that is not registered");
  if (!try_send(header, payload)) return false;
  out_to_ = to;
  out_to_offset_ = offset;
  return true;
}

void SimEndpoint::handle(EventKind kind) {
  switch (kind) {
    case EventKind::kDepart:
      return depart();
    case EventKind::kArrive:
      return arrive();
    case EventKind::kBreak:
      return fail("the connection broke");
    case EventKind::kWake:
      return;
  }
}

void SimEndpoint::depart() {
  last_header_ = out_header_;
  if (!status_.ok() || !sending_) return;
  sending_ = false;
  if (accepted_ - 1 == break_at_) {
    events_.schedule(events_.now_ns() + config_.out.latency_ns, *other_, EventKind::kBreak);
    return fail("the connection broke");
  }
  Segment segment{out_header_, {}, false};
  if (out_header_.length > 0) segment.payload.assign(out_payload_, out_payload_ + out_header_.length);
  segment.to = out_to_;
  segment.to_offset = out_to_offset_;
  ++transmitted_;
  fly(std::move(segment));
}

void SimEndpoint::fly(Segment segment) {
  const uint64_t arrival_ns =
      events_.now_ns() + config_.out.latency_ns + random_.up_to(config_.out.jitter_ns);
  last_arrival_ns_ = std::max(last_arrival_ns_, arrival_ns);
  other_->flying_.push_back(std::move(segment));
  events_.schedule(last_arrival_ns_, *other_, EventKind::kArrive);
}

void SimEndpoint::arrive() {
  if (flying_.empty()) return;  // lost with its connection
  last_header_ = flying_.front().header;
  arrived_.push_back(std::move(flying_.front()));
  flying_.pop_front();
  if ((last_header_.flags & kSegmentPut) != 0 && !put(arrived_.back())) {
    other_->fail("remote access error");
    fail("the peer put what it may not");
  }
}

// As a network card does it, whatever the receiver's processor is at.
bool SimEndpoint::put(const Segment& segment) {
  std::byte* to = events_.exposed(segment.to, segment.to_offset, segment.payload.size());
  if (to == nullptr) return false;
  std::memcpy(to, segment.payload.data(), segment.payload.size());
  return true;
}

bool SimEndpoint::progress(SegmentSink& sink) {
  if (!traits_.in_order) return deliver_claimed(sink);
  bool moved = false;
  while (status_.ok() && !arrived_.empty() && deliver(sink)) moved = true;
  return moved;
}

bool SimEndpoint::deliver_claimed(SegmentSink& sink) {
  bool moved = false;
  for (size_t i = 0; status_.ok() && i < arrived_.size();) {
    if (i == 0 && arrived_.front().closes) {
      fail("the peer closed the connection");
      return true;
    }
    const Segment& segment = arrived_[i];
    const bool eager = segment.payload.size() <= kSimEagerBytes;
    Claim claim;
    if (!segment.closes && !eager) claim = sink.claim(segment.header);
    if (!claim.acceptable) {
      fail("the receiver refused a segment's header");
      return true;
    }
    if (segment.closes || (!eager && claim.memory.data == nullptr)) {
      ++i;
      continue;
    }
    const Segment taken = std::move(arrived_[i]);
    arrived_.erase(arrived_.begin() + static_cast<ptrdiff_t>(i));
    const std::byte* payload = taken.payload.empty() ? nullptr : taken.payload.data();
    if (!eager) {
      std::memcpy(claim.memory.data, taken.payload.data(), taken.payload.size());
      payload = claim.memory.data;
    }
    if (!sink.arrived(taken.header, payload)) fail("the receiver refused a segment");
    moved = true;
  }
  return moved;
}

// Delivers the front of arrived_; false if it completes later.
bool SimEndpoint::deliver(SegmentSink& sink) {
  const Segment& segment = arrived_.front();
  if (segment.closes) {
    fail("the peer closed the connection");
    return true;
  }
  if (placed_ != nullptr) {
    if (events_.now_ns() < placed_until_ns_) return false;
    std::memcpy(placed_, segment.payload.data(), segment.payload.size());
    return finish(sink, std::exchange(placed_, nullptr));
  }
  if (segment.header.length == 0 || (segment.header.flags & kSegmentPut) != 0) return finish(sink, nullptr);
  if (segment.header.kind == SegmentKind::kReady) return finish(sink, segment.payload.data());
  const Delivery delivery = config_.options.delivery;
  const bool direct = delivery == Delivery::kDirect || (delivery == Delivery::kMixed && random_.chance(50));
  return direct ? finish(sink, segment.payload.data()) : start_place(sink, segment);
}

bool SimEndpoint::start_place(SegmentSink& sink, const Segment& segment) {
  std::byte* to = sink.place(segment.header);
  if (to == nullptr) {
    fail("the receiver refused a segment's header");
    return true;
  }
  if (random_.chance(config_.options.split_percent)) {
    placed_ = to;
    placed_until_ns_ = events_.now_ns() + 1 + random_.up_to(config_.out.latency_ns);
    std::memcpy(to, segment.payload.data(), segment.payload.size() / 2);
    events_.schedule(placed_until_ns_, *this, EventKind::kWake);
    return false;
  }
  std::memcpy(to, segment.payload.data(), segment.payload.size());
  return finish(sink, to);
}

bool SimEndpoint::finish(SegmentSink& sink, const std::byte* payload) {
  const Segment segment = std::move(arrived_.front());  // moving keeps the payload where it lies
  arrived_.pop_front();
  if (!sink.arrived(segment.header, payload)) fail("the receiver refused a segment");
  return true;
}

void SimEndpoint::fail(std::string cause) {
  if (!status_.ok()) return;
  status_ = Status(Code::kRemoteError, fmt::format("{}: {}", describe(), cause));
  sending_ = false;
  placed_ = nullptr;
  flying_.clear();
  arrived_.clear();
}

void SimEndpoint::close() {
  if (!status_.ok()) return;
  // The segment being sent is lost; those that left arrive before the end of the stream.
  fly(Segment{{}, {}, true});
  fail("closed by this rank");
}

}  // namespace comity::sim
