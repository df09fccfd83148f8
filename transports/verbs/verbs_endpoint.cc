#include "transports/verbs/verbs_endpoint.h"

#include <fmt/core.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "src/base/clock.h"
#include "src/base/errno_text.h"

namespace comity::verbs {
namespace {

// Beside the kinds of segments.
constexpr auto kCreditsAlone = static_cast<SegmentKind>(0x7e);
constexpr auto kFarewell = static_cast<SegmentKind>(0x7f);
constexpr uint32_t kLookEvery = 256;  // polls that moved nothing
constexpr uint64_t kSilenceNs = 1'000'000'000;

}  // namespace

VerbsRegistration::~VerbsRegistration() {
  for (size_t i = 0; i < count_; ++i) library_.dereg_mr(regions_[i]);
}

VerbsEndpoint::VerbsEndpoint(EndpointConfig config, std::unique_ptr<Queue> queue)
    : config_(std::move(config)), queue_(std::move(queue)) {}

// The spare receives of the peer take it where there is no credit left.
void VerbsEndpoint::say_farewell() {
  if (!status_.ok() || !up_ || !connected_ || !queue_->has_room(2) || !queue_->has_slot()) return;
  WireHeader header;
  header.segment.kind = kFarewell;
  send(header, nullptr);
  queue_->probe();
}

bool VerbsEndpoint::has_left() {
  if (!status_.ok() || !connected_) return true;
  Queue::Completion completion;
  while (queue_->poll(completion)) {
    if (!completion.error.empty()) fail(Code::kRemoteError, completion.error);
  }
  return !status_.ok() || queue_->error() != 0 || queue_->over() == queue_->issued();
}

std::string VerbsEndpoint::describe() const {
  return fmt::format("verbs {} -> {} (queue pair {})", config_.rail,
                     config_.peer_rail.layer == LinkLayer::kRoce
                         ? text_of(config_.peer_rail.gid)
                         : fmt::format("LID {}", config_.peer_rail.lid),
                     queue_->card().number);
}

void VerbsEndpoint::connect(const QueueCard& peer) {
  if (connected_ || !status_.ok()) return;
  const Status connected = queue_->connect(peer, config_.peer_rail);
  if (!connected.ok()) return fail(connected.code(), std::string(connected.message()));
  connected_ = true;
  heard_at_ns_ = now_ns();
}

// The pair stops at once: nothing of the peer's is received, or written here, any more.
void VerbsEndpoint::fail(Code code, const std::string& cause) {
  if (!status_.ok()) return;
  status_ = Status(code, fmt::format("rank {} ({}): {}", config_.peer, describe(), cause));
  queue_->stop();
}

void VerbsEndpoint::stop() {
  fail(Code::kRemoteError,
       "the connection was given up in the middle of a message, as its memory was taken back");
}

void VerbsEndpoint::fail_refused() {
  fail(Code::kSystemError, fmt::format("the device refused work: {}", errno_text(queue_->error())));
}

// --- sending -----------------------------------------------------------------------------------------------

void VerbsEndpoint::note_accepted(uint64_t work) {
  work_of_[accepted_++ % kAccepted] = work;
  advance_transmitted();
}

void VerbsEndpoint::advance_transmitted() {
  while (transmitted_ < accepted_ && work_of_[transmitted_ % kAccepted] <= queue_->over()) ++transmitted_;
}

bool VerbsEndpoint::send(WireHeader& header, const std::byte* payload) {
  header.credits = std::exchange(due_, 0);
  const uint32_t bytes = header.segment.length;
  const auto* raw = reinterpret_cast<const std::byte*>(&header);
  if (bytes == 0) {
    if (queue_->is_inline(sizeof(header))) return queue_->send_inline(raw, sizeof(header));
  }
  std::byte* const slot = queue_->slot();
  std::memcpy(slot, raw, sizeof(header));
  if (bytes > 0) std::memcpy(slot + sizeof(header), payload, bytes);
  if (queue_->is_inline(sizeof(header) + bytes))
    return queue_->send_inline(slot, static_cast<uint32_t>(sizeof(header)) + bytes);
  return queue_->send_slot(static_cast<uint32_t>(sizeof(header)) + bytes);
}

bool VerbsEndpoint::try_send(const SegmentHeader& header, SourceMemory payload) {
  assert(header.length < kPutBytes && "what is as long as put_bytes is put");
  if (!up_ || !connected_ || !status_.ok() || credits_ == 0 || accepted_ - transmitted_ == kAccepted)
    return false;
  if (!queue_->has_room(1) || !queue_->has_slot()) return false;
  WireHeader wire{header};
  --credits_;
  if (!send(wire, payload.data)) {
    fail_refused();
    return false;
  }
  note_accepted(0);
  return true;
}

bool VerbsEndpoint::try_put(const SegmentHeader& header, SourceMemory payload, const RemoteMemory& to,
                            uint64_t offset) {
  if (!up_ || !connected_ || !status_.ok() || credits_ == 0 || accepted_ - transmitted_ == kAccepted)
    return false;
  if (!queue_->has_room(2) || !queue_->has_slot()) return false;
  ExposedMemory exposed;
  std::memcpy(static_cast<void*>(&exposed), to.words.data(), sizeof(exposed));
  WireHeader wire{header};
  wire.credits = std::exchange(due_, 0);
  --credits_;
  const auto& registration = static_cast<const VerbsRegistration&>(*payload.registration);
  if (!queue_->put(payload.data, registration.region(config_.device).lkey, header.length,
                   exposed.address + offset, exposed.keys[config_.peer_device],
                   std::as_bytes(std::span(&wire, 1)))) {
    fail_refused();
    return false;
  }
  note_accepted(queue_->issued());
  return true;
}

// Takes a receive that no credit stands for.
void VerbsEndpoint::send_credits() {
  if (!up_ || !queue_->has_room(1) || !queue_->has_slot()) return;
  WireHeader wire;
  wire.segment.kind = kCreditsAlone;
  if (!send(wire, nullptr)) fail_refused();
}

// --- receiving ---------------------------------------------------------------------------------------------

bool VerbsEndpoint::progress(SegmentSink& sink) {
  if (!connected_ || !status_.ok()) return false;
  bool moved = false;
  Queue::Completion completion;
  while (status_.ok() && queue_->poll(completion)) moved |= take(sink, completion);
  if (!status_.ok()) return moved;
  if (queue_->error() != 0) {
    fail_refused();
    return moved;
  }
  advance_transmitted();
  if (due_ >= kCredits / 2) send_credits();
  if (ended_)
    fail(Code::kRemoteError, "it closed the connection (its process ended, or left the communicator first)");
  look_at_silence(moved);
  return moved;
}

bool VerbsEndpoint::take(SegmentSink& sink, const Queue::Completion& completion) {
  if (!completion.error.empty()) {
    fail(Code::kRemoteError, completion.error);
    return false;
  }
  probing_ = false;
  if (!completion.is_receive) return true;
  up_ = true;  // who sends received this rank's card
  if (!deliver(sink, completion)) fail(Code::kRemoteError, "it sent a message that cannot be");
  if (status_.ok()) queue_->repost(completion.slot);
  return true;
}

bool VerbsEndpoint::deliver(SegmentSink& sink, const Queue::Completion& completion) {
  if (completion.bytes < sizeof(WireHeader)) return false;
  WireHeader wire;
  std::memcpy(static_cast<void*>(&wire), completion.data, sizeof(wire));
  if (wire.credits > kCredits - credits_) return false;
  credits_ += wire.credits;
  const SegmentHeader& header = wire.segment;
  if (header.kind == kCreditsAlone || header.kind == kFarewell) {
    ended_ = ended_ || header.kind == kFarewell;
    return completion.bytes == sizeof(wire);
  }
  ++due_;
  const bool put = header.kind == SegmentKind::kData && (header.flags & kSegmentPut) != 0;
  if (header.length > (put ? kSegmentBytes : kPutBytes)) return false;
  if (completion.bytes != sizeof(wire) + (put ? 0 : header.length)) return false;
  return sink.arrived(header, put || header.length == 0 ? nullptr : completion.data + sizeof(wire));
}

void VerbsEndpoint::look_at_silence(bool moved) {
  if (moved) quiet_polls_ = 0, heard_at_ns_ = 0;
  if (moved || !up_ || ++quiet_polls_ % kLookEvery != 0) return;
  const uint64_t now = now_ns();
  if (heard_at_ns_ == 0) heard_at_ns_ = now;
  if (probing_ || now - heard_at_ns_ < kSilenceNs || !queue_->has_room(1)) return;
  heard_at_ns_ = now;
  probing_ = queue_->probe();
  if (!probing_) fail_refused();
}

}  // namespace comity::verbs
