#include "src/engine/exchange.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace comity::engine {
namespace {

// What one poll does at most before the caller may look at abort, verdict and clock.
constexpr int kPasses = 4;
constexpr int kTypeShift = 56;  // no message has so many bytes that they reach it
constexpr uint32_t kSelfQueue = 0;

uint64_t bytes_of(const PointToPoint& message) {
  return message.count * size_of(message.type);
}

}  // namespace

uint64_t message_signature(DataType type, uint64_t bytes) {
  return static_cast<uint64_t>(type) << kTypeShift | bytes;
}

std::string describe_message(uint64_t signature) {
  const uint64_t type = signature >> kTypeShift;
  const uint64_t bytes = signature & ((uint64_t{1} << kTypeShift) - 1);
  if (type >= kDataTypeCount) return fmt::format("{} bytes of no type", bytes);
  const auto known = static_cast<DataType>(type);
  return fmt::format("{} {}", bytes / size_of(known), name_of(known));
}

Exchange::Exchange(uint32_t rank, uint32_t nranks, DeviceRegistry& devices)
    : rank_(rank), devices_(devices), streams_(2 * size_t{nranks}) {}

// --- starting ----------------------------------------------------------------------------------------------

Status Exchange::check(std::span<const PointToPoint> messages) const {
  const auto next_to_self = [&](size_t at, bool sends) {
    while (at < messages.size() && (messages[at].peer != rank_ || messages[at].sends != sends)) ++at;
    return at;
  };
  size_t send = 0, recv = 0;
  for (;; ++send, ++recv) {
    send = next_to_self(send, true);
    recv = next_to_self(recv, false);
    if (send == messages.size() && recv == messages.size()) return {};
    if (send == messages.size() || recv == messages.size()) {
      return Status(Code::kInvalidUsage,
                    fmt::format("rank {} {} itself without a {} in the same group", rank_,
                                send == messages.size() ? "receives from" : "sends to",
                                send == messages.size() ? "Send to match" : "Recv to match"));
    }
    COMITY_RETURN_IF_ERROR(check_self(messages[send], messages[recv]));
  }
}

Status Exchange::check_self(const PointToPoint& send, const PointToPoint& recv) const {
  const uint64_t sent = message_signature(send.type, bytes_of(send));
  const uint64_t received = message_signature(recv.type, bytes_of(recv));
  if (sent != received) {
    return Status(Code::kInvalidUsage, fmt::format("rank {} sends {} to itself and receives {}", rank_,
                                                   describe_message(sent), describe_message(received)));
  }
  return {};
}

Status Exchange::begin(std::span<const PointToPoint> messages, ExchangeContext& context) {
  messages_ = messages;
  error_ = {};
  unfinished_ = 0;
  copying_ = 0;
  active_.clear();
  links_.clear();
  following_.assign(messages.size(), kNone);
  for (uint32_t index = 0; index < messages.size(); ++index) {
    const PointToPoint& message = messages[index];
    if (message.peer == rank_) continue;
    COMITY_ASSIGN_OR_RETURN(Stream * stream, stream_of(message, context));
    if (stream->next == kNone) {
      stream->next = index;
      active_.push_back(stream);
    } else {
      following_[stream->last] = index;
    }
    stream->last = index;
    ++unfinished_;
  }
  return copy_to_self();
}

Result<Exchange::Stream*> Exchange::stream_of(const PointToPoint& message, ExchangeContext& context) {
  const uint32_t tag = message.peer << 1 | (message.sends ? 1u : 0u);
  std::unique_ptr<Stream>& kept = streams_[tag];
  if (kept == nullptr) kept = std::make_unique<Stream>();
  if (kept->next != kNone) return kept.get();
  COMITY_ASSIGN_OR_RETURN(kept->link, context.exchange_link_to(message.peer));
  kept->tag = tag;
  kept->whole = 0;
  kept->part = Part::kNone;
  kept->part_offset = 0;
  const Stream* other = streams_[tag ^ 1u].get();
  if (other == nullptr || other->next == kNone) links_.push_back(kept->link);
  return kept.get();
}

// The n-th Send to oneself goes to the n-th Recv.
Status Exchange::copy_to_self() {
  self_.clear();
  size_t recv = 0;
  for (const PointToPoint& send : messages_) {
    if (send.peer != rank_ || !send.sends) continue;
    while (messages_[recv].peer != rank_ || messages_[recv].sends) ++recv;
    void* to = messages_[recv++].buffer;
    const uint64_t bytes = bytes_of(send);
    if (bytes == 0 || to == send.buffer) continue;
    Device* const target = &devices_.device_of(to, bytes);
    SelfCopy copy{&devices_.device_of(send.buffer, bytes)};
    void* first = to;
    if (copy.device->host_addressable()) {
      copy.device = target;
    } else if (copy.device != target && !target->host_addressable()) {
      copy.then = target;
      copy.to = to;
      copy.bounce = Mapping(bytes);
      if (!copy.bounce.valid())
        return Status(Code::kSystemError, fmt::format("no memory for {} bytes between two devices", bytes));
      first = copy.bounce.data();
    }
    COMITY_ASSIGN_OR_RETURN(copy.token, copy.device->copy(kSelfQueue, first, send.buffer, bytes));
    self_.push_back(std::move(copy));
  }
  return {};
}

// --- advancing ---------------------------------------------------------------------------------------------

Progress Exchange::poll() {
  bool advanced = false, moved = true;
  for (int pass = 0; moved && pass < kPasses && error_.ok(); ++pass) {
    moved = false;
    for (Stream* stream : active_) moved |= advance(*stream);
    for (Link* link : links_) moved |= link->progress_exchange();
    if (!self_.empty()) moved |= poll_self();
    advanced |= moved;
  }
  return outcome(advanced);
}

Progress Exchange::outcome(bool advanced) {
  if (!error_.ok()) return Progress::kFailed;
  bool quiet = true;
  for (const Link* link : links_) {
    if (const Differing* differing = link->exchange_differing()) {
      error_ = Status(
          Code::kInvalidUsage,
          fmt::format("ranks disagree on a message: rank {} sent {}, rank {} receives {}", link->peer(),
                      describe_message(differing->arrived), rank_, describe_message(differing->expected)));
    } else {
      error_ = link->status();
    }
    if (!error_.ok()) return Progress::kFailed;
    quiet = quiet && link->exchange_quiescent();
  }
  if (quiet && unfinished_ == 0 && self_.empty()) return Progress::kDone;
  return advanced ? Progress::kAdvanced : Progress::kBusy;
}

bool Exchange::poll_self() {
  SelfCopy& copy = self_.back();
  const Result<bool> done = copy.device->poll(kSelfQueue, copy.token);
  if (!done.ok()) error_ = done.status();
  if (!done.ok() || !*done) return false;
  if (copy.then != nullptr) {
    copy.device = std::exchange(copy.then, nullptr);
    const Result<Token> token =
        copy.device->copy(kSelfQueue, copy.to, copy.bounce.data(), copy.bounce.bytes());
    if (token.ok())
      copy.token = *token;
    else
      error_ = token.status();
    return token.ok();
  }
  self_.pop_back();
  return true;
}

bool Exchange::advance(Stream& stream) {
  bool moved = false;
  while (stream.next != kNone && error_.ok()) {
    const PointToPoint& message = messages_[stream.next];
    const uint64_t bytes = bytes_of(message);
    if (stream.part == Part::kNone && stream.part_offset == 0) {
      Device& owner = devices_.device_of(message.buffer, bytes);
      stream.device = bytes == 0 || owner.host_addressable() ? nullptr : &owner;
    }
    if (stream.device != nullptr) {
      const uint32_t before = stream.next;
      if (!advance_part(stream, message)) break;
      moved = true;
      if (stream.next == before && stream.part == Part::kPosted) break;
      continue;
    }
    if (stream.sends() ? !stream.link->can_post_exchange_send() : !stream.link->can_post_exchange_recv())
      break;
    ++stream.whole;
    stream.next = following_[stream.next];
    post(stream, message, static_cast<std::byte*>(message.buffer), bytes);
    moved = true;
  }
  return moved;
}

void Exchange::post(Stream& stream, const PointToPoint& message, std::byte* memory, uint64_t bytes) {
  const MessagePart part{stream.part_offset, bytes, bytes_of(message),
                         message_signature(message.type, bytes_of(message)), stream.tag};
  if (stream.sends()) {
    stream.link->post_exchange_send(memory, part, *this);
  } else {
    stream.link->post_exchange_recv(memory, part, *this);
  }
}

// A link finished with what was posted first of what it has of this stream: messages that were posted whole
// come before the part under way.
void Exchange::completed(uint32_t tag) {
  Stream& stream = *streams_[tag];
  if (stream.whole > 0) {
    --stream.whole;
    --unfinished_;
    return;
  }
  if (stream.sends()) return end_part(stream);
  const PointToPoint& message = messages_[stream.next];
  move_part(stream, static_cast<std::byte*>(message.buffer) + stream.part_offset, stream.bounce.data());
}

// --- device memory -----------------------------------------------------------------------------------------

//   send:     device -> bounce, then posted
//   receive:  posted, then bounce -> device
bool Exchange::advance_part(Stream& stream, const PointToPoint& message) {
  if (stream.part == Part::kPosted) return false;
  const bool can_post =
      stream.sends() ? stream.link->can_post_exchange_send() : stream.link->can_post_exchange_recv();
  if (stream.part == Part::kNone) {
    if (!begin_part(stream, message)) return false;
    if (stream.sends()) {
      move_part(stream, stream.bounce.data(), static_cast<std::byte*>(message.buffer) + stream.part_offset);
      return true;
    }
    if (!can_post) return false;
  } else {
    if (stream.sends() && !can_post) return false;
    const Result<bool> copied = stream.device->poll(queue_of(stream), stream.token);
    if (!copied.ok()) error_ = copied.status();
    if (!copied.ok() || !*copied) return false;
    --copying_;
    if (!stream.sends()) {
      end_part(stream);
      return true;
    }
  }
  stream.part = Part::kPosted;
  post(stream, message, stream.bounce.data(), stream.part_bytes);
  return true;
}

bool Exchange::begin_part(Stream& stream, const PointToPoint& message) {
  const uint64_t most = kPartSegments * stream.link->segment_bytes();
  stream.part_bytes = std::min(most, bytes_of(message) - stream.part_offset);
  if (stream.bounce.data() == nullptr) stream.bounce = Mapping(most);
  if (stream.bounce.valid()) return true;
  error_ = Status(Code::kSystemError, fmt::format("no memory for {} bytes of bounce buffers", most));
  return false;
}

void Exchange::move_part(Stream& stream, std::byte* to, const std::byte* from) {
  const Result<Token> token = stream.device->copy(queue_of(stream), to, from, stream.part_bytes);
  if (!token.ok()) {
    error_ = token.status();
    return;
  }
  stream.part = Part::kCopying;
  stream.token = *token;
  ++copying_;
}

void Exchange::end_part(Stream& stream) {
  stream.part = Part::kNone;
  stream.part_offset += stream.part_bytes;
  if (stream.part_offset < bytes_of(messages_[stream.next])) return;
  stream.part_offset = 0;
  stream.next = following_[stream.next];
  --unfinished_;
}

uint32_t Exchange::queue_of(const Stream& stream) {
  return stream.tag % stream.device->queue_count();
}

// --- ending ------------------------------------------------------------------------------------------------

void Exchange::abandon() {
  for (Link* link : links_) link->fence();
  for (Stream* stream : active_) stream->next = kNone;
}

}  // namespace comity::engine
