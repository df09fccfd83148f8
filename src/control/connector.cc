#include "src/control/connector.h"

#include <fmt/core.h>
#include <poll.h>

#include <utility>

namespace comity::control {

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
    if (done) done(Status(code_, failures_), all_strangers_ && !target_.addresses.empty());
    return;
  }
  auto socket = connect_to(target_.addresses[next_], nullptr);
  if (!socket.ok()) return next_after(socket.status(), false);
  fd_ = std::move(*socket);
  handshake_ = Handshake::initiate(fd_.get(), target_.secret, target_.hello,
                                   Deadline::after_ms(target_.per_address_ms));
  interest_ = POLLOUT;
  watch_ = loop_.watch(fd_.get(), POLLOUT, [self](uint32_t) { self->advance(); });
  timer_ = loop_.after_ms(target_.per_address_ms + 1, [self] { self->advance(); });
}

void Connector::next_after(const Status& failure, bool stranger) {
  stop_watching();
  fd_.reset();
  if (failure.code() == Code::kTimeout || code_ != Code::kTimeout) code_ = failure.code();
  all_strangers_ &= stranger;
  failures_ += fmt::format("{}{}: {}", failures_.empty() ? "" : "; ", target_.addresses[next_].text(),
                           failure.message());
  ++next_;
  try_next();
}

void Connector::advance() {
  const auto self = shared_from_this();
  if (!handshake_) return;
  const auto state = handshake_->poll();
  if (!state.ok()) return next_after(state.status(), handshake_->met_stranger());
  if (*state == Handshake::State::kDone) {
    stop_watching();
    const Done done = std::exchange(done_, nullptr);
    if (done) done(std::move(fd_), false);
    return;
  }
  const short wanted = handshake_->poll_events();
  if (wanted != interest_) loop_.change(watch_, static_cast<uint32_t>(wanted));
  interest_ = wanted;
}

}  // namespace comity::control
