#include "src/base/drain.h"

#include <poll.h>

#include <array>
#include <cerrno>
#include <utility>

#include "src/base/clock.h"

namespace comity {
namespace {

constexpr int kReadsPerStep = 16;
constexpr int kLookAgainMs = 2;  // nothing tells of an acknowledgement

bool may_come_later(int error) {
  return error == EAGAIN || error == EINTR;
}

}  // namespace

Drain::Drain(StreamPtr stream, std::vector<std::byte> unsent)
    : stream_(std::move(stream)), unsent_(std::move(unsent)) {}

Drain::Drain(UniqueFd socket, std::vector<std::byte> unsent)
    : Drain(std::make_unique<KernelStream>(std::move(socket)), std::move(unsent)) {}

// False: the connection broke.
bool Drain::write_some() {
  while (written_ < unsent_.size()) {
    const ssize_t n = stream_->write(std::span(unsent_).subspan(written_));
    if (n < 0) return may_come_later(errno);
    written_ += static_cast<size_t>(n);
  }
  if (!direction_ended_) stream_->end();
  direction_ended_ = true;
  return true;
}

// False: the peer ended its direction, or the connection broke.
bool Drain::discard_some() {
  std::array<std::byte, 16 * 1024> unread;
  for (int i = 0; i < kReadsPerStep; ++i) {
    const ssize_t n = stream_->read(unread);
    if (n <= 0) return n < 0 && may_come_later(errno);
  }
  return true;
}

Drain::State Drain::step(uint64_t now_ns) {
  if (!write_some() || !discard_some()) return State::kOver;
  const int64_t queued = stream_->unacknowledged();
  if (queued < 0) return State::kOver;
  const uint64_t left = static_cast<uint64_t>(queued) + (unsent_.size() - written_);
  if (left != left_) moved_at_ns_ = now_ns;
  left_ = left;
  still_ns_ = now_ns - moved_at_ns_;
  return direction_ended_ && left == 0 ? State::kAcknowledged : State::kSending;
}

short Drain::poll_events() const {
  return static_cast<short>(POLLIN | (written_ < unsent_.size() ? POLLOUT : 0));
}

void drain_and_close(Drain drain, uint64_t patience_ms) {
  while (drain.step(now_ns()) == Drain::State::kSending && drain.still_ns() / 1'000'000u < patience_ms) {
    pollfd waiting{drain.stream().fd(), drain.poll_events(), 0};
    ::poll(&waiting, 1, kLookAgainMs);
  }
}

}  // namespace comity
