#include "src/control/acceptor.h"

#include <netinet/in.h>
#include <sys/epoll.h>

#include <algorithm>

#include "src/base/log.h"

namespace comity::control {
namespace {

constexpr int kBacklog = 1024;
constexpr size_t kMaxListeners = 4;
constexpr uint64_t kPauseWithoutDescriptorsMs = 100;
constexpr int kAcceptsPerTurn = 64;

uint16_t configured_port(const std::vector<SocketAddress>& configured, size_t index) {
  return index < configured.size() ? configured[index].port() : uint16_t{0};
}

bool is_link_local(const SocketAddress& address) {
  return address.family() == AF_INET6 &&
         IN6_IS_ADDR_LINKLOCAL(&reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_addr);
}

}  // namespace

Result<Listeners> open_listeners(bool configured_ports) {
  COMITY_ASSIGN_OR_RETURN(std::vector<NetworkInterface> interfaces, usable_interfaces());
  COMITY_ASSIGN_OR_RETURN(const std::vector<SocketAddress> configured, configured_addresses());
  Listeners listeners;
  Status first_error;
  for (size_t i = 0; i < interfaces.size() && listeners.sockets.size() < kMaxListeners; ++i) {
    SocketAddress address = interfaces[i].address;
    // A scope means nothing on another host: link-local addresses are a last resort.
    if (is_link_local(address) && interfaces.size() > 1) continue;
    const uint16_t port = configured_ports ? configured_port(configured, i) : uint16_t{0};
    address.set_port(port);
    auto socket = listen_on(address, kBacklog);
    if (!socket.ok() && port != 0) return socket.status();
    if (!socket.ok()) {
      if (first_error.ok()) first_error = socket.status();
      continue;
    }
    listeners.addresses.push_back(local_address_of(socket->get()));
    listeners.sockets.push_back(std::move(*socket));
  }
  if (!listeners.sockets.empty()) return listeners;
  return first_error.ok() ? Status(Code::kSystemError, "no network interface to listen on") : first_error;
}

Acceptor::Acceptor(Loop& loop, SecretLookup lookup, Proven proven)
    : loop_(loop), lookup_(std::move(lookup)), proven_(std::move(proven)) {}

std::shared_ptr<Acceptor> Acceptor::open(Loop& loop, std::vector<UniqueFd> listeners, SecretLookup lookup,
                                         Proven proven) {
  std::shared_ptr<Acceptor> acceptor(new Acceptor(loop, std::move(lookup), std::move(proven)));
  acceptor->listeners_ = std::move(listeners);
  acceptor->watches_.resize(acceptor->listeners_.size());
  for (size_t i = 0; i < acceptor->listeners_.size(); ++i) acceptor->watch_listener(i);
  return acceptor;
}

void Acceptor::close() {
  if (closed_) return;
  closed_ = true;
  for (const uint64_t watch : watches_) loop_.unwatch(watch);
  while (!pending_.empty()) drop(pending_.begin());
  listeners_.clear();
}

void Acceptor::watch_listener(size_t index) {
  if (closed_) return;
  watches_[index] = loop_.watch(listeners_[index].get(), EPOLLIN,
                                [self = shared_from_this(), index](uint32_t) { self->on_listener(index); });
}

void Acceptor::on_listener(size_t index) {
  for (int i = 0; i < kAcceptsPerTurn && !closed_; ++i) {
    auto accepted = accept_from(listeners_[index].get());
    if (!accepted.ok()) {
      COMITY_LOG_WARN("control: {}", accepted.status().message());
      if (!pending_.empty()) drop(pending_.begin());
      loop_.unwatch(watches_[index]);
      loop_.after_ms(kPauseWithoutDescriptorsMs,
                     [self = shared_from_this(), index] { self->watch_listener(index); });
      return;
    }
    if (!accepted->valid()) return;
    admit(std::move(*accepted));
  }
}

void Acceptor::admit(UniqueFd fd) {
  if (pending_.size() >= kMaxPending) drop(pending_.begin());
  const auto pending = pending_.emplace(pending_.end());
  pending->handshake = Handshake::accept(fd.get(), lookup_, Deadline::after_ms(kProofWithinMs));
  pending->fd = std::move(fd);
  pending->interest = EPOLLIN;
  const auto advance_it = [self = shared_from_this(), pending] { self->advance(pending); };
  pending->watch = loop_.watch(pending->fd.get(), EPOLLIN, [advance_it](uint32_t) { advance_it(); });
  pending->timer = loop_.after_ms(kProofWithinMs + 1, advance_it);
}

void Acceptor::drop(PendingIterator pending) {
  loop_.unwatch(pending->watch);
  loop_.cancel(pending->timer);
  pending_.erase(pending);
}

void Acceptor::advance(PendingIterator pending) {
  const auto state = pending->handshake->poll();
  if (!state.ok()) {
    COMITY_LOG_INFO("control: refused a connection: {}", state.status().message());
    drop(pending);
    return;
  }
  if (*state == Handshake::State::kDone) {
    UniqueFd fd = std::move(pending->fd);
    const HandshakeHello hello = pending->handshake->hello();
    loop_.unwatch(pending->watch);
    drop(pending);
    proven_(std::move(fd), hello);
    return;
  }
  const short wanted = pending->handshake->poll_events();
  if (wanted != pending->interest) loop_.change(pending->watch, static_cast<uint32_t>(wanted));
  pending->interest = wanted;
}

}  // namespace comity::control
