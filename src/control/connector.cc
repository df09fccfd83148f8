#include "src/control/connector.h"

#include <fmt/core.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "src/base/clock.h"

namespace comity::control {
namespace {

constexpr uint64_t kRetryClosedMs = 5;
constexpr uint64_t kSilencesPerAddress =
    6;  // of the time that an address has, until the next one is tried too

}  // namespace

Connector::Connector(Loop& loop, ConnectTarget target, Done done)
    : loop_(loop), target_(std::move(target)), done_(std::move(done)) {
  target_.addresses = with_own_scopes(target_.addresses, target_.settings.get());
}

std::shared_ptr<Connector> Connector::start(Loop& loop, ConnectTarget target, Done done) {
  std::shared_ptr<Connector> connector(new Connector(loop, std::move(target), std::move(done)));
  // Later, so that `done` is never called before start() returned.
  connector->silence_timer_ = loop.after_ms(0, [connector] { connector->begin_next(); });
  return connector;
}

void Connector::cancel() {
  stop_all();
  done_ = nullptr;
}

void Connector::stop_all() {
  loop_.cancel(std::exchange(silence_timer_, 0));
  for (Attempt& attempt : attempts_) stop_watching(attempt);
  attempts_.clear();
  next_ = target_.addresses.size();
}

void Connector::stop_watching(Attempt& attempt) {
  loop_.unwatch(std::exchange(attempt.watch, 0));
  loop_.cancel(std::exchange(attempt.timer, 0));
  attempt.handshake.reset();
}

void Connector::begin_next() {
  const auto self = shared_from_this();
  loop_.cancel(std::exchange(silence_timer_, 0));
  if (next_ < target_.addresses.size()) {
    const auto attempt = attempts_.emplace(attempts_.end());
    attempt->to = target_.addresses[next_++];
    attempt->until_ns = loop_.now_ns() + target_.per_address_ms * 1'000'000u;
    if (next_ < target_.addresses.size()) {
      silence_timer_ =
          loop_.after_ms(target_.per_address_ms / kSilencesPerAddress, [self] { self->on_silence(); });
    }
    return begin(attempt);
  }
  if (!attempts_.empty()) return;
  if (failures_.empty()) failures_ = "no address is known";
  const Done done = std::exchange(done_, nullptr);
  if (done) done(Status(code_, failures_), target_.addresses.empty() ? Answer::kNone : answer_);
}

void Connector::on_silence() {
  const bool answered = std::any_of(attempts_.begin(), attempts_.end(), [](const Attempt& attempt) {
    return attempt.stream && attempt.stream->connected();
  });
  if (!answered) return begin_next();
  silence_timer_ = loop_.after_ms(target_.per_address_ms / kSilencesPerAddress,
                                  [self = shared_from_this()] { self->on_silence(); });
}

void Connector::begin(Iterator attempt) {
  const auto self = shared_from_this();
  auto stream = loop_.connect(attempt->to);
  if (!stream.ok())
    return give_up(attempt, stream.status(), errno == ECONNREFUSED ? Answer::kRefused : Answer::kNone);
  attempt->stream = std::move(*stream);
  attempt->handshake = Handshake::initiate(*attempt->stream, target_.secret, target_.hello,
                                           Deadline::after_ms(target_.per_address_ms, loop_), loop_);
  attempt->interest = POLLOUT;
  attempt->watch =
      loop_.watch(*attempt->stream, POLLOUT, [self, attempt](uint32_t) { self->advance(attempt); });
  attempt->timer = loop_.after_ms(target_.per_address_ms + 1, [self, attempt] { self->advance(attempt); });
}

void Connector::give_up(Iterator attempt, const Status& failure, Answer answer) {
  stop_watching(*attempt);
  if (failure.code() == Code::kTimeout || code_ != Code::kTimeout) code_ = failure.code();
  const bool known = answer != Answer::kNone && answer_ != Answer::kNone;
  answer_ = known ? std::max(answer_, answer) : Answer::kNone;
  failures_ += fmt::format("{}{}: {}", failures_.empty() ? "" : "; ", attempt->to.text(), failure.message());
  attempts_.erase(attempt);
  begin_next();
}

void Connector::advance(Iterator attempt) {
  const auto self = shared_from_this();
  if (!attempt->handshake) return;
  const auto state = attempt->handshake->poll();
  if (!state.ok()) {
    const int error = attempt->handshake->socket_error();
    if (target_.retry_closed && (error == ECONNRESET || error == EPIPE) &&
        loop_.now_ns() < attempt->until_ns) {
      stop_watching(*attempt);
      attempt->stream.reset();
      attempt->timer = loop_.after_ms(kRetryClosedMs, [self, attempt] { self->begin(attempt); });
      return;
    }
    const Answer refused = error == ECONNREFUSED ? Answer::kRefused : Answer::kNone;
    return give_up(attempt, state.status(), attempt->handshake->met_stranger() ? Answer::kStranger : refused);
  }
  if (*state == Handshake::State::kDone) {
    StreamPtr stream = std::move(attempt->stream);
    loop_.unwatch(std::exchange(attempt->watch, 0));
    stop_all();
    const Done done = std::exchange(done_, nullptr);
    if (done) done(std::move(stream), Answer::kNone);
    return;
  }
  const short wanted = attempt->handshake->poll_events();
  if (wanted != attempt->interest) loop_.change(attempt->watch, static_cast<uint32_t>(wanted));
  attempt->interest = wanted;
}

}  // namespace comity::control
