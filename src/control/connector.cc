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
}  // namespace

Connector::Connector(Loop& loop, ConnectTarget target, Done done)
    : loop_(loop), target_(std::move(target)), done_(std::move(done)) {}

std::shared_ptr<Connector> Connector::start(Loop& loop, ConnectTarget target, Done done) {
  std::shared_ptr<Connector> connector(new Connector(loop, std::move(target), std::move(done)));
  // Later, so that `done` is never called before start() returned.
  connector->timer_ = loop.after_ms(0, [connector] { connector->try_next(); });
  return connector;
}

void Connector::cancel() {
  stop_watching();
  done_ = nullptr;
}

void Connector::stop_watching() {
  loop_.unwatch(std::exchange(watch_, 0));
  loop_.cancel(std::exchange(timer_, 0));
  handshake_.reset();
}

void Connector::try_next() {
  const auto self = shared_from_this();
  if (next_ == target_.addresses.size()) {
    if (failures_.empty()) failures_ = "no address is known";
    const Done done = std::exchange(done_, nullptr);
    stop_watching();
    fd_.reset();
    if (done) done(Status(code_, failures_), target_.addresses.empty() ? Answer::kNone : answer_);
    return;
  }
  if (until_ns_ == 0) until_ns_ = now_ns() + target_.per_address_ms * 1'000'000u;
  auto socket = connect_to(target_.addresses[next_], nullptr);
  if (!socket.ok())
    return next_after(socket.status(), errno == ECONNREFUSED ? Answer::kRefused : Answer::kNone);
  fd_ = std::move(*socket);
  handshake_ = Handshake::initiate(fd_.get(), target_.secret, target_.hello,
                                   Deadline::after_ms(target_.per_address_ms));
  interest_ = POLLOUT;
  watch_ = loop_.watch(fd_.get(), POLLOUT, [self](uint32_t) { self->advance(); });
  timer_ = loop_.after_ms(target_.per_address_ms + 1, [self] { self->advance(); });
}

void Connector::next_after(const Status& failure, Answer answer) {
  stop_watching();
  fd_.reset();
  if (failure.code() == Code::kTimeout || code_ != Code::kTimeout) code_ = failure.code();
  const bool known = answer != Answer::kNone && answer_ != Answer::kNone;
  answer_ = known ? std::max(answer_, answer) : Answer::kNone;
  failures_ += fmt::format("{}{}: {}", failures_.empty() ? "" : "; ", target_.addresses[next_].text(),
                           failure.message());
  ++next_;
  until_ns_ = 0;
  try_next();
}

void Connector::advance() {
  const auto self = shared_from_this();
  if (!handshake_) return;
  const auto state = handshake_->poll();
  if (!state.ok()) {
    const int error = handshake_->socket_error();
    if (target_.retry_closed && (error == ECONNRESET || error == EPIPE) && now_ns() < until_ns_) {
      stop_watching();
      fd_.reset();
      timer_ = loop_.after_ms(kRetryClosedMs, [self] { self->try_next(); });
      return;
    }
    const Answer refused = error == ECONNREFUSED ? Answer::kRefused : Answer::kNone;
    return next_after(state.status(), handshake_->met_stranger() ? Answer::kStranger : refused);
  }
  if (*state == Handshake::State::kDone) {
    stop_watching();
    const Done done = std::exchange(done_, nullptr);
    if (done) done(std::move(fd_), Answer::kNone);
    return;
  }
  const short wanted = handshake_->poll_events();
  if (wanted != interest_) loop_.change(watch_, static_cast<uint32_t>(wanted));
  interest_ = wanted;
}

}  // namespace comity::control
