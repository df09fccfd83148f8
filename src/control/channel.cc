#include "src/control/channel.h"

#include <fmt/core.h>
#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "src/control/parting.h"

namespace comity::control {
namespace {
constexpr size_t kHeaderBytes = 8;
constexpr size_t kReadBytes = 64 * 1024;
constexpr size_t kKeptBytes = 4 * 1024;  // for the next messages, which are short
constexpr int kReadsPerTurn = 4;         // then others get their turn

// Shared by all channels of a thread.
std::span<std::byte> read_buffer() {
  static thread_local const auto buffer = std::make_unique<std::array<std::byte, kReadBytes>>();
  return *buffer;
}
}  // namespace

std::shared_ptr<Channel> Channel::open(Loop& loop, StreamPtr stream, uint32_t max_payload_bytes,
                                       Events events) {
  std::shared_ptr<Channel> channel(
      new Channel(loop, std::move(stream), max_payload_bytes, std::move(events)));
  channel->interest_ = EPOLLIN;
  channel->watch_ =
      loop.watch(*channel->stream_, EPOLLIN, [channel](uint32_t ready) { channel->on_ready(ready); });
  return channel;
}

Channel::Channel(Loop& loop, StreamPtr stream, uint32_t max_payload_bytes, Events events)
    : loop_(loop),
      stream_(std::move(stream)),
      max_payload_bytes_(max_payload_bytes),
      events_(std::move(events)) {}

void Channel::notice_silence(const SilenceLimits& limits) {
  if (stream_) stream_->notice_silence(limits);
}

void Channel::send(uint16_t type, std::span<const std::byte> payload) {
  if (!is_open()) return;
  ByteWriter writer;
  writer.put(static_cast<uint32_t>(payload.size())).put(type).put(uint16_t{0});
  Bytes frame = writer.take();
  frame.insert(frame.end(), payload.begin(), payload.end());
  const bool idle = out_.empty();
  out_.push_back(std::move(frame));
  // A failure shows as an event of the socket, on which the owner's callback is called: never inside send().
  if (idle) write_some();
  update_interest();
}

void Channel::close() {
  loop_.unwatch(std::exchange(watch_, 0));
  stream_.reset();
  events_ = {};
  out_.clear();
}

void Channel::close_after_flush() {
  if (!is_open()) return;
  Bytes unsent;
  for (const Bytes& frame : out_) unsent.insert(unsent.end(), frame.begin(), frame.end());
  unsent.erase(unsent.begin(), unsent.begin() + static_cast<ptrdiff_t>(out_offset_));
  loop_.unwatch(std::exchange(watch_, 0));
  part_with(loop_, std::move(stream_), std::move(unsent), kControlPatience);
  close();
}

void Channel::update_interest() {
  const uint32_t wanted = EPOLLIN | (out_.empty() ? 0u : uint32_t{EPOLLOUT});
  if (!stream_ || wanted == interest_) return;
  interest_ = wanted;
  loop_.change(watch_, wanted);
}

bool Channel::write_some() {
  while (!out_.empty()) {
    const Bytes& front = out_.front();
    const ssize_t n = stream_->write(std::span(front).subspan(out_offset_));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    out_offset_ += static_cast<size_t>(n);
    if (out_offset_ == front.size()) {
      out_.pop_front();
      out_offset_ = 0;
    }
  }
  return true;
}

bool Channel::deliver(std::string& why) {
  size_t at = 0;
  while (in_.size() - at >= kHeaderBytes) {
    const std::span<const std::byte> waiting(in_);
    ByteReader header(waiting.subspan(at, kHeaderBytes));
    const auto length = header.get<uint32_t>();
    const auto type = header.get<uint16_t>();
    if (length > max_payload_bytes_ || header.get<uint16_t>() != 0) {
      why = fmt::format("sent a malformed frame of {} bytes", length);
      return false;
    }
    if (in_.size() - at - kHeaderBytes < length) break;
    if (events_.message) {
      // A copy of the function: the callback may close the channel, which drops events_.
      const auto message = events_.message;
      message(type, waiting.subspan(at + kHeaderBytes, length));
    }
    if (!is_open()) return true;
    at += kHeaderBytes + length;
  }
  in_.erase(in_.begin(), in_.begin() + static_cast<ptrdiff_t>(at));
  if (in_.empty() && in_.capacity() > kKeptBytes)
    in_ = Bytes();  // a large message is no reason to keep so much
  return true;
}

bool Channel::read_some(std::string& why, bool& silent) {
  for (int turn = 0; turn < kReadsPerTurn && stream_; ++turn) {
    const std::span<std::byte> buffer = read_buffer();
    const ssize_t n = stream_->read(buffer);
    if (n == 0) {
      why = "its control connection closed";
      return false;
    }
    if (n < 0) {
      if (errno == EAGAIN || errno == EINTR) return true;
      silent = errno == ETIMEDOUT || errno == EHOSTUNREACH || errno == ENETUNREACH || errno == ENETDOWN;
      why = fmt::format("its control connection broke: {}", std::strerror(errno));
      return false;
    }
    in_.insert(in_.end(), buffer.begin(), buffer.begin() + n);
    if (!deliver(why)) return false;
  }
  return true;
}

void Channel::on_ready(uint32_t events) {
  const std::shared_ptr<Channel> self = shared_from_this();
  if ((events & EPOLLOUT) != 0) write_some();
  std::string why;
  bool silent = false;
  if ((events & ~uint32_t{EPOLLOUT}) != 0 && !read_some(why, silent)) {
    fail(why, silent);
    return;
  }
  update_interest();
}

void Channel::peer_ended() {
  const std::shared_ptr<Channel> self = shared_from_this();
  std::string why = "its process ended";
  bool silent = false;
  while (is_open() && stream_->unread() > 0) {
    if (!read_some(why, silent)) break;
  }
  if (is_open()) fail(why, false);
}

void Channel::fail(const std::string& why, bool silent) {
  const auto closed = std::move(events_.closed);
  close();
  if (closed) closed(why, silent);
}

}  // namespace comity::control
