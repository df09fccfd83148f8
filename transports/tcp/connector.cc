#include "transports/tcp/connector.h"

#include <fmt/core.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "src/base/log.h"
#include "transports/tcp/congestion.h"

namespace comity::tcp {
namespace {

constexpr int kBacklog = 1024;
constexpr uint64_t kFirstPauseNs = 1'000'000;
constexpr uint64_t kLongestPauseNs = 200'000'000;
constexpr uint64_t kSilentWayNs = 500'000'000;  // where there are others

bool is_connected(int fd) {
  sockaddr_storage storage;
  socklen_t length = sizeof(storage);
  return ::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) == 0;
}

}  // namespace

std::vector<DialPlan::Way> ways_between(const RankAddress& mine, const RankAddress& theirs,
                                        const RailPair& pair, bool mine_is_higher) {
  std::vector<DialPlan::Way> ways;
  const auto add = [&ways](const RailAddress& from, const RailAddress& to) {
    DialPlan::Way way{from.address, to.address};
    way.from.set_port(0);
    if (way.to.family() ==
        AF_INET6) {  // a link-local address is on our interface, whatever the peer calls its own
      auto& there = reinterpret_cast<sockaddr_in6&>(way.to.storage);
      there.sin6_scope_id = reinterpret_cast<const sockaddr_in6&>(from.address.storage).sin6_scope_id;
    }
    ways.push_back(way);
  };
  add(mine.rails[mine_is_higher ? pair.higher : pair.lower],
      theirs.rails[mine_is_higher ? pair.lower : pair.higher]);
  if (!pair.link_local) return ways;
  for (const RailAddress& from : mine.rails) {
    for (const RailAddress& to : theirs.rails) {
      const bool both = is_link_local(from) && is_link_local(to);
      if (both && from.address.family() == to.address.family()) add(from, to);
    }
  }
  return ways;
}

// --- Dialer ------------------------------------------------------------------------------------------------

Dialer::Dialer(DialPlan plan)
    : plan_(std::move(plan)), deadline_(Deadline::after_ms(plan_.patience_ms)), pause_ns_(kFirstPauseNs) {}

Status Dialer::begin() {
  COMITY_ASSIGN_OR_RETURN(socket_, connect_to(way().to, &way().from));
  set_congestion_control(socket_.get(), plan_.congestion);
  silent_until_ns_ = now_ns() + kSilentWayNs;
  handshake_.emplace(Handshake::initiate(socket_.get(), plan_.secret, plan_.hello, Deadline::never()));
  return {};
}

Result<bool> Dialer::step(uint64_t now_ns) {
  if (!socket_.valid()) {
    if (now_ns < next_ns_) return false;
    if (const Status begun = begin(); !begun.ok()) return failed(begun, now_ns);
  }
  const auto state = handshake_->poll();
  if (!state.ok()) return failed(state.status(), now_ns);
  if (*state == Handshake::State::kDone) return true;
  if (deadline_.passed() && !is_connected(socket_.get())) {
    return failed(Status(Code::kTimeout, "no answer to the connection request"), now_ns);
  }
  const bool silent = plan_.ways.size() > 1 && now_ns > silent_until_ns_ && !is_connected(socket_.get());
  if (silent) return failed(Status(Code::kTimeout, "no answer to the connection request"), now_ns);
  return false;
}

Result<bool> Dialer::failed(const Status& why, uint64_t now_ns) {
  handshake_.reset();
  socket_.reset();
  if (deadline_.passed()) {
    return Status(Code::kTimeout,
                  fmt::format("cannot connect from {} to {} within {} ms: {}", way().from.text(),
                              way().to.text(), plan_.patience_ms, why.message()));
  }
  ++turn_;
  next_ns_ = now_ns + pause_ns_;
  if (turn_ % plan_.ways.size() != 0) {
    next_ns_ = now_ns;
    return false;
  }
  pause_ns_ = std::min(pause_ns_ * 2, kLongestPauseNs);
  return false;
}

pollfd Dialer::waits_for() const {
  return {socket_.get(), handshake_ ? handshake_->poll_events() : short{0}, 0};
}

// --- Acceptor ----------------------------------------------------------------------------------------------

Result<SocketAddress> Acceptor::listen(const SocketAddress& address, const std::string& congestion) {
  COMITY_ASSIGN_OR_RETURN(UniqueFd listener, listen_on(address, kBacklog));
  set_congestion_control(listener.get(), congestion);  // accepted sockets inherit it
  SocketAddress bound = local_address_of(listener.get());
  listeners_.push_back(std::move(listener));
  return bound;
}

// With all places taken the one that is silent for longest goes, so that a crowd of them cannot keep a peer
// out.
void Acceptor::make_room() {
  if (strangers_.size() < kMaxUnauthenticated) return;
  const auto oldest = std::min_element(strangers_.begin(), strangers_.end(),
                                       [](const auto& a, const auto& b) { return a.since_ns < b.since_ns; });
  if (now_ns() - oldest->since_ns < kGraceMs * 1'000'000) return;
  COMITY_LOG_WARN("tcp: dropped a silent connection to {} as {} others wait",
                  local_address_of(oldest->socket.get()).text(), strangers_.size());
  strangers_.erase(oldest);
}

Status Acceptor::take_waiting() {
  make_room();
  for (const UniqueFd& listener : listeners_) {
    while (strangers_.size() < kMaxUnauthenticated) {
      COMITY_ASSIGN_OR_RETURN(UniqueFd socket, accept_from(listener.get()));
      if (!socket.valid()) break;
      Handshake handshake = Handshake::accept(socket.get(), secret_, Deadline::after_ms(handshake_ms_));
      strangers_.push_back({std::move(socket), std::move(handshake), now_ns()});
    }
  }
  return {};
}

Status Acceptor::step(std::vector<Accepted>& accepted) {
  const Status taken = take_waiting();
  for (size_t i = 0; i < strangers_.size();) {
    Stranger& stranger = strangers_[i];
    const auto state = stranger.handshake.poll();
    if (state.ok() && *state == Handshake::State::kInProgress) {
      ++i;
      continue;
    }
    if (state.ok()) {
      accepted.push_back({std::move(stranger.socket), stranger.handshake.hello()});
    } else {
      COMITY_LOG_WARN("tcp: refused a connection to {}: {}", local_address_of(stranger.socket.get()).text(),
                      state.status().message());
    }
    if (i + 1 < strangers_.size()) strangers_[i] = std::move(strangers_.back());
    strangers_.pop_back();
  }
  return taken;
}

void Acceptor::wait_for(std::vector<pollfd>& polled) const {
  if (strangers_.size() < kMaxUnauthenticated) {
    for (const UniqueFd& listener : listeners_) polled.push_back({listener.get(), POLLIN, 0});
  }
  for (const Stranger& stranger : strangers_) {
    polled.push_back({stranger.socket.get(), stranger.handshake.poll_events(), 0});
  }
}

}  // namespace comity::tcp
