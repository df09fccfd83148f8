#include "transports/shm/ring.h"

#include <fmt/core.h>

#include "src/device/host/kernels.h"
#include "transports/shm/doorbell.h"

namespace comity::shm {
namespace {

// Measured between two cores of a 2-core Zen 5; the engine calibrates.
constexpr uint64_t kLatencyNs = 200;
constexpr uint64_t kBandwidthBytesPerS = 12'000'000'000;

bool plausible(const SegmentHeader& header) {
  if (header.kind == SegmentKind::kDone) return header.length == 0;
  return header.kind == SegmentKind::kData && header.length <= kRingSegmentBytes;
}

}  // namespace

RingEndpoint::RingEndpoint(const RingOptions& options, int out)
    : options_(options),
      traits_{kRingSegmentBytes, kLatencyNs, kBandwidthBytesPerS},
      my_control_(&options.mine.ring_control(out)),
      out_(&options.mine.ring(out)) {}

bool RingEndpoint::find_peer() {
  const int in = options_.theirs.find_ring(options_.rank);
  if (in < 0) return false;
  their_control_ = &options_.theirs.ring_control(in);
  in_ = &options_.theirs.ring(in);
  return true;
}

bool RingEndpoint::try_send(const SegmentHeader& header, SourceMemory payload) {
  if (!status_.ok()) return false;
  if (sent_ - sent_consumed_ == kRingSlots) {
    if (their_control_ == nullptr && !find_peer()) return false;
    sent_consumed_ = their_control_->consumed.load(std::memory_order_acquire);
    if (sent_ - sent_consumed_ >= kRingSlots) return false;
  }
  const size_t at = sent_ % kRingSlots;
  RingSlot& slot = out_->slots[at];
  slot.header = header;
  if (header.length != 0) {
    assert(header.length <= kRingSegmentBytes);
    copy_host(header.length <= kSlotInlineBytes ? slot.payload : out_->payloads[at], payload.data,
              header.length, false);
  }
  slot.number.store(++sent_, std::memory_order_release);
  if (*options_.sleepers) full_fence();
  shm::ring(options_.theirs.doorbell());
  return true;
}

bool RingEndpoint::progress(SegmentSink& sink) {
  if (in_ == nullptr && !find_peer()) return false;
  bool moved = false;
  // One round of the ring at most, so that the caller gets to its other endpoints.
  for (uint32_t i = 0; i < kRingSlots; ++i) {
    const size_t at = received_ % kRingSlots;
    RingSlot& slot = in_->slots[at];
    if (slot.number.load(std::memory_order_acquire) != received_ + 1) break;
    if (!deliver(slot, in_->payloads[at], sink)) break;
    my_control_->consumed.store(++received_, std::memory_order_release);
    moved = true;
  }
  if (moved) {
    if (*options_.sleepers) full_fence();
    shm::ring(options_.theirs.doorbell());
  }
  return moved;
}

bool RingEndpoint::deliver(RingSlot& slot, std::byte* payload, SegmentSink& sink) {
  if (!status_.ok()) return false;
  const SegmentHeader header = slot.header;
  if (!plausible(header)) {
    fail(fmt::format("segment {} has kind {} and {} bytes", received_, static_cast<int>(header.kind),
                     header.length));
    return false;
  }
  const std::byte* bytes = header.length <= kSlotInlineBytes ? slot.payload : payload;
  if (!sink.arrived(header, header.kind == SegmentKind::kDone ? nullptr : bytes)) {
    fail(fmt::format("segment {} (lane {}, number {}, {} bytes) is not one that this rank expects", received_,
                     header.lane, header.number, header.length));
    return false;
  }
  return true;
}

void RingEndpoint::fail(const std::string& what) {
  status_ =
      Status(Code::kRemoteError,
             fmt::format("{}: {}; the peer runs something else or its memory is damaged", describe(), what));
}

std::string RingEndpoint::describe() const {
  return fmt::format("shm rank {} <-> rank {} (pid {})", options_.rank, options_.peer, options_.peer_pid);
}

}  // namespace comity::shm
