#include "transports/tcp/frame.h"

#include <fmt/core.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>

namespace comity::tcp {
namespace {

constexpr std::align_val_t kAlignment{64};
// Payloads of more than this are not read ahead: copying them twice would cost more than the system call
// saved.
constexpr size_t kLarge = FrameReceiver::kReadAhead / 2;
// Reductions read whole elements, so a payload that is used where it lies starts at a multiple of the
// largest.
constexpr uintptr_t kElementAlignment = 16;
constexpr SegmentKind kFarewell{0x20};

bool is_farewell(const SegmentHeader& header, const FrameLimits& limits) {
  const SegmentHeader expected = farewell(limits);
  return std::memcmp(&header, &expected, sizeof(header)) == 0;
}

std::string refusal_of(const SegmentHeader& header) {
  return fmt::format("a segment that this rank does not expect (lane {}, number {}, offset {}, length {})",
                     header.lane, header.number, header.offset, header.length);
}

}  // namespace

SegmentHeader farewell(const FrameLimits& limits) {
  SegmentHeader header;
  header.kind = kFarewell;
  header.epoch = limits.epoch;
  return header;
}

std::string fault_of(const SegmentHeader& header, const FrameLimits& limits) {
  if (header.kind != SegmentKind::kData && header.kind != SegmentKind::kDone) {
    return fmt::format("a header of the unknown kind {}", static_cast<unsigned>(header.kind));
  }
  if ((header.flags & ~kSegmentLast) != 0) {
    return fmt::format("a header with the unknown flags {:#x}", static_cast<unsigned>(header.flags));
  }
  if (header.epoch != limits.epoch) {
    return fmt::format("a header of epoch {} on a connection of epoch {}", header.epoch, limits.epoch);
  }
  if (header.length > limits.segment_bytes) {
    return fmt::format("a segment of {} bytes where {} are the most", header.length, limits.segment_bytes);
  }
  if (header.kind == SegmentKind::kDone && header.length != 0) {
    return fmt::format("an acknowledgement with {} bytes of payload", header.length);
  }
  return {};
}

void FrameReceiver::AlignedDelete::operator()(std::byte* memory) const {
  ::operator delete[](memory, kAlignment);
}

FrameReceiver::FrameReceiver(const FrameLimits& limits)
    : limits_(limits), buffer_(static_cast<std::byte*>(::operator new[](kCapacity, kAlignment))) {}

int FrameReceiver::want(std::array<iovec, 2>& pieces) {
  if (body_left_ == 0) {
    pieces[0] = {buffer_.get() + end_, kCapacity - end_};
    return 1;
  }
  const size_t ahead = header_.length > kLarge ? sizeof(SegmentHeader) : kReadAhead;
  pieces[0] = {body_ + body_at_, body_left_};
  pieces[1] = {buffer_.get() + kFirst, ahead};
  return 2;
}

std::string FrameReceiver::got(size_t bytes, SegmentSink& sink) {
  if (body_left_ > 0) {
    const size_t taken = std::min(bytes, body_left_);
    body_at_ += taken;
    body_left_ -= taken;
    bytes -= taken;
    if (body_left_ > 0) return {};
    if (dropped_ != nullptr) [[unlikely]] {
      dropped_.reset();
    } else if (!sink.arrived(header_, body_)) {
      return refusal_of(header_);
    }
  }
  assert(end_ + bytes <= kCapacity);
  end_ += bytes;
  return parse(sink);
}

void FrameReceiver::let_go(uint32_t communicator) {
  if (body_left_ == 0 || dropped_ != nullptr || header_.communicator != communicator) return;
  dropped_ = std::make_unique<std::byte[]>(header_.length);
  body_ = dropped_.get();
}

// Takes every frame that begins in the buffer.
std::string FrameReceiver::parse(SegmentSink& sink) {
  while (end_ - begin_ >= sizeof(SegmentHeader)) {
    SegmentHeader header;
    std::memcpy(static_cast<void*>(&header), buffer_.get() + begin_, sizeof(header));
    if (std::string fault = fault_of(header, limits_); !fault.empty()) {
      heard_farewell_ = is_farewell(header, limits_) && end_ - begin_ == sizeof(SegmentHeader);
      if (heard_farewell_) begin_ = end_;
      return fault;
    }
    begin_ += sizeof(SegmentHeader);
    const bool whole = end_ - begin_ >= header.length;
    if (!(whole ? deliver_here(header, sink) : begin_body(header, sink))) {
      return refusal_of(header);
    }
  }
  make_room();
  return {};
}

bool FrameReceiver::deliver_here(const SegmentHeader& header, SegmentSink& sink) {
  std::byte* payload = buffer_.get() + begin_;
  begin_ += header.length;
  if (header.length == 0) return sink.arrived(header, nullptr);
  if (const size_t over = reinterpret_cast<uintptr_t>(payload) % kElementAlignment; over != 0) {
    std::memmove(payload - over, payload, header.length);  // its header lies there, and was read
    payload -= over;
  }
  return sink.arrived(header, payload);
}

bool FrameReceiver::begin_body(const SegmentHeader& header, SegmentSink& sink) {
  body_ = sink.place(header);
  if (body_ == nullptr) return false;
  header_ = header;
  body_at_ = end_ - begin_;
  body_left_ = header.length - body_at_;
  std::memcpy(body_, buffer_.get() + begin_, body_at_);
  begin_ = end_;
  return true;
}

// What is left is less than a header: it moves to the front, so that a whole read-ahead fits behind it.
void FrameReceiver::make_room() {
  const size_t left = end_ - begin_;
  if (begin_ != kFirst) std::memmove(buffer_.get() + kFirst, buffer_.get() + begin_, left);
  begin_ = kFirst;
  end_ = kFirst + left;
}

}  // namespace comity::tcp
