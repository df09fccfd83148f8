#include "src/control/sim/stream.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace comity::control::sim {
namespace {

// While it lives the network runs, not the process that called it.
class NetworksTurn {
 public:
  explicit NetworksTurn(SimLoop& loop) : world_(loop.world()), before_(world_.turn_to(kNetwork)) {}
  ~NetworksTurn() { world_.turn_to(before_); }
  NetworksTurn(const NetworksTurn&) = delete;
  NetworksTurn& operator=(const NetworksTurn&) = delete;

 private:
  World& world_;
  const uint32_t before_;
};

ssize_t failed(int error) {
  errno = error;
  return -1;
}

}  // namespace

// --- One end of a connection -----------------------------------------------------------------------------

End::End(SimLoop& loop) : loop_(loop), made_(loop.next_made()) {
  loop_.ends()[made_] = this;
}

End::~End() {
  loop_.ends().erase(made_);
}

void End::notify() {
  loop_.notify(*this);
}

uint32_t End::ready() const {
  uint32_t events = 0;
  if (unread() > 0 || peer_ended_ || error_ != 0) events |= EPOLLIN;
  if (error_ != 0 || (connected_ && room() > 0)) events |= EPOLLOUT;
  if (error_ != 0) events |= EPOLLERR | EPOLLHUP;
  return events;
}

size_t End::room() const {
  const size_t there = flying_ + (peer_ ? peer_->unread() : 0);
  const size_t window = loop_.world().options().window_bytes;
  return there < window ? window - there : 0;
}

size_t End::part_of(size_t most) {
  World& world = loop_.world();
  if (most < 2 || !world.random().chance(world.options().short_percent)) return most;
  return 1 + world.random().up_to(most - 1);
}

void End::connect(const SocketAddress& to) {
  const NetworksTurn turn(loop_);
  World& world = loop_.world();
  world.at(world.arrival_ns(), [self = shared_from_this(), to] {
    if (self->closed_ || self->error_ != 0) return;
    World& there = self->loop_.world();
    SimListener* listener = there.listener_at(to);
    if (!there.reachable(self->loop_.number(), to)) return;
    if (listener == nullptr) {
      there.at(there.arrival_ns(), [self] { self->fail(ECONNREFUSED); });
      return;
    }
    const auto server = std::make_shared<End>(listener->loop());
    server->connected_ = true;
    server->peer_ = self;
    self->peer_ = server;
    server->last_arrival_ns_ = there.arrival_ns();
    there.at(server->last_arrival_ns_, [self, server] { self->establish(server); });
    listener->take(server);
  });
}

void End::establish(const std::shared_ptr<End>& server) {
  if (closed_) return server->fail(ECONNRESET);
  if (error_ != 0) return;
  connected_ = true;
  notify();
}

void End::on_arrival(World::Action action) {
  World& world = loop_.world();
  last_arrival_ns_ = std::max(last_arrival_ns_ + 1, world.arrival_ns());
  world.at(last_arrival_ns_, std::move(action));
}

ssize_t End::write(std::span<const std::byte> bytes) {
  if (error_ != 0 || ended_ || closed_) return failed(error_ != 0 ? error_ : EPIPE);
  if (!connected_) return failed(EAGAIN);
  const size_t most = std::min(bytes.size(), room());
  if (most == 0) return failed(EAGAIN);
  const NetworksTurn turn(loop_);
  const size_t n = part_of(most);
  Traffic& traffic = loop_.world().traffic_of(loop_.number());
  ++traffic.messages;
  traffic.bytes += n;
  flying_ += n;
  loop_.world().note(n);
  if (lost_ || !peer_) return static_cast<ssize_t>(n);
  on_arrival([self = shared_from_this(), sent = loop_.world().in_flight(bytes.first(n))] {
    self->flying_ -= sent->size();
    if (self->lost_ || !self->peer_) return;
    self->peer_->arrive(sent);
    self->settle();
  });
  return static_cast<ssize_t>(n);
}

void End::arrive(const std::shared_ptr<const Bytes>& bytes) {
  if (error_ != 0) return;
  if (closed_) return send_reset();
  arrived_.push_back(bytes);
  unread_ += bytes->size();
  notify();
}

ssize_t End::read(std::span<std::byte> into) {
  if (closed_) return failed(ECONNRESET);
  const NetworksTurn turn(loop_);
  if (unread_ > 0) {
    const size_t n = take(into.first(part_of(std::min(unread_, into.size()))));
    // The peer hears of the room.
    if (peer_ && !lost_) loop_.world().at(loop_.world().arrival_ns(), [peer = peer_] { peer->notify(); });
    return static_cast<ssize_t>(n);
  }
  if (error_ != 0) return failed(error_);
  return peer_ended_ ? 0 : failed(EAGAIN);
}

size_t End::take(std::span<std::byte> into) {
  size_t done = 0;
  while (done < into.size()) {
    const Bytes& first = *arrived_.front();
    const size_t n = std::min(into.size() - done, first.size() - taken_);
    std::copy_n(first.begin() + static_cast<ptrdiff_t>(taken_), n,
                into.begin() + static_cast<ptrdiff_t>(done));
    done += n;
    taken_ += n;
    if (taken_ < first.size()) break;
    arrived_.pop_front();
    taken_ = 0;
  }
  unread_ -= done;
  return done;
}

void End::end() {
  if (ended_ || error_ != 0 || !connected_) return;
  const NetworksTurn turn(loop_);
  ended_ = true;
  end_flies_ = true;
  if (lost_) return;
  on_arrival([self = shared_from_this()] {
    self->end_flies_ = false;
    if (self->lost_ || !self->peer_) return;
    self->peer_->end_arrives();
    self->settle();
  });
}

void End::end_arrives() {
  if (error_ != 0 || closed_) return;
  peer_ended_ = true;
  notify();
}

void End::send_reset() {
  if (lost_ || !peer_) return;
  on_arrival([self = shared_from_this()] {
    if (const auto peer = std::exchange(self->peer_, nullptr); peer && !self->lost_) peer->fail(ECONNRESET);
  });
}

// Unread bytes are told to the peer by a reset, as TCP does; else what was sent goes out, and the end.
void End::close() {
  if (std::exchange(closed_, true)) return;
  const NetworksTurn turn(loop_);
  if (unread() > 0) {
    send_reset();
  } else {
    end();
  }
  arrived_.clear();
  unread_ = 0;
  taken_ = 0;
  settle();
}

// Once both ends are closed and nothing flies they need each other no longer.
void End::settle() {
  const std::shared_ptr<End> peer = peer_;
  if (!peer || !closed_ || !peer->closed_) return;
  if (flying_ + peer->flying_ > 0 || end_flies_ || peer->end_flies_) return;
  peer->peer_ = nullptr;
  peer_ = nullptr;
}

void End::fail(int error) {
  if (error_ != 0) return;
  error_ = error;
  if (const auto peer = std::exchange(peer_, nullptr); peer && peer->closed_) peer->peer_ = nullptr;
  loop_.world().note(static_cast<uint64_t>(error));
  notify();
}

void End::lose_path() {
  if (std::exchange(lost_, true)) return;
  World& world = loop_.world();
  if (connected_ || closed_)
    world.at(world.now_ns() + silence_ms_ * 1'000'000u,
             [self = shared_from_this()] { self->fail(ETIMEDOUT); });
  if (peer_) peer_->lose_path();
}

void SimStream::notice_silence(const SilenceLimits& limits) {
  end_->set_silence_ms(static_cast<uint64_t>(limits.idle_s + limits.interval_s * limits.probes) * 1000);
}

// --- Listeners and processes -----------------------------------------------------------------------------

SimListener::SimListener(SimLoop& loop, const SocketAddress& address)
    : loop_(loop), address_(address), made_(loop.next_made()) {
  loop_.listeners()[made_] = this;
}

void SimListener::take(std::shared_ptr<End> end) {
  waiting_.push_back(std::move(end));
  loop_.notify(*this);
}

Result<StreamPtr> SimListener::accept() {
  if (waiting_.empty()) return StreamPtr();
  StreamPtr stream = std::make_unique<SimStream>(std::move(waiting_.front()));
  waiting_.pop_front();
  return stream;
}

void SimListener::close() {
  if (!std::exchange(open_, false)) return;
  loop_.world().remove_listener(address_);
  loop_.listeners().erase(made_);
  for (const auto& end : std::exchange(waiting_, {})) end->close();
}

SimProcess::SimProcess(SimLoop& watcher, SimLoop& watched)
    : watcher_(watcher), watched_(watched), made_(watched.next_made()) {
  watched_.watchers()[made_] = this;
}

SimProcess::~SimProcess() {
  watched_.watchers().erase(made_);
}

}  // namespace comity::control::sim
