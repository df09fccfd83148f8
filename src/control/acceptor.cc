#include "src/control/acceptor.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

#include "src/base/log.h"

namespace comity::control {
namespace {

constexpr int kBacklog = 1024;
constexpr uint64_t kPauseWithoutDescriptorsMs = 100;
constexpr int kAcceptsPerTurn = 64;

uint16_t configured_port(const std::vector<SocketAddress>& configured, size_t index) {
  return index < configured.size() ? configured[index].port() : uint16_t{0};
}

// The best kMaxListeners; where there are more, at least one of each family.
void choose(std::vector<NetworkInterface>& interfaces) {
  if (interfaces.size() <= kMaxListeners) return;
  const int first_family = interfaces.front().address.family();
  const auto other = std::find_if(interfaces.begin(), interfaces.end(), [&](const NetworkInterface& each) {
    return each.address.family() != first_family;
  });
  if (other != interfaces.end() && other - interfaces.begin() >= static_cast<ptrdiff_t>(kMaxListeners))
    std::iter_swap(interfaces.begin() + kMaxListeners - 1, other);
  interfaces.resize(kMaxListeners);
}

bool has(const std::vector<SocketAddress>& addresses, const SocketAddress& one) {
  return std::any_of(addresses.begin(), addresses.end(),
                     [&](const SocketAddress& other) { return other.text() == one.text(); });
}

}  // namespace

Result<Listeners> open_listeners(const Settings& settings, bool configured_ports) {
  COMITY_ASSIGN_OR_RETURN(std::vector<NetworkInterface> interfaces, usable_interfaces(settings));
  COMITY_ASSIGN_OR_RETURN(const std::vector<SocketAddress> configured, configured_addresses(settings));
  Listeners listeners;
  Status first_error;
  const size_t usable = interfaces.size();
  choose(interfaces);
  for (size_t i = 0; i < interfaces.size(); ++i) {
    SocketAddress address = interfaces[i].address;
    const uint16_t port = configured_ports ? configured_port(configured, i) : uint16_t{0};
    address.set_port(port);
    auto socket = listen_on(address, kBacklog);
    if (!socket.ok() && port != 0) return socket.status();
    if (!socket.ok()) {
      if (first_error.ok()) first_error = socket.status();
      continue;
    }
    listeners.addresses.push_back(local_address_of(socket->get()));
    listeners.sockets.push_back(std::make_unique<KernelListener>(std::move(*socket)));
  }
  listeners.left_out = usable - listeners.sockets.size();
  if (!listeners.sockets.empty()) return listeners;
  return first_error.ok() ? Status(Code::kSystemError, "no network interface to listen on") : first_error;
}

Result<Listeners> open_listeners_at(const Settings& settings, uint16_t port,
                                    const std::vector<SocketAddress>& also) {
  COMITY_ASSIGN_OR_RETURN(std::vector<NetworkInterface> interfaces, usable_interfaces(settings));
  choose(interfaces);
  std::vector<SocketAddress> wanted;
  for (const NetworkInterface& interface : interfaces) wanted.push_back(interface.address);
  wanted.insert(wanted.end(), also.begin(), also.end());
  Listeners listeners;
  Status first_error;
  for (SocketAddress& address : wanted) {
    address.set_port(port);
    if (has(listeners.addresses, address) || has(listeners.taken, address)) continue;
    auto socket = listen_on(address, kBacklog);
    if (socket.ok()) {
      listeners.addresses.push_back(address);
      listeners.sockets.push_back(std::make_unique<KernelListener>(std::move(*socket)));
    } else if (errno == EADDRINUSE) {
      listeners.taken.push_back(address);
    } else if (first_error.ok()) {
      first_error = socket.status();
    }
  }
  if (!listeners.sockets.empty() || !listeners.taken.empty()) return listeners;
  return first_error.ok() ? Status(Code::kSystemError, "no network interface to listen on") : first_error;
}

Acceptor::Acceptor(Loop& loop, SecretLookup lookup, Proven proven)
    : loop_(loop), lookup_(std::move(lookup)), proven_(std::move(proven)) {}

std::shared_ptr<Acceptor> Acceptor::open(Loop& loop, std::vector<ListenerPtr> listeners, SecretLookup lookup,
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
  watches_[index] = loop_.watch(*listeners_[index], EPOLLIN,
                                [self = shared_from_this(), index](uint32_t) { self->on_listener(index); });
}

void Acceptor::on_listener(size_t index) {
  for (int i = 0; i < kAcceptsPerTurn && !closed_; ++i) {
    auto accepted = listeners_[index]->accept();
    if (!accepted.ok()) {
      COMITY_LOG_WARN("control: {}", accepted.status().message());
      if (!pending_.empty()) drop(pending_.begin());
      loop_.unwatch(watches_[index]);
      loop_.after_ms(kPauseWithoutDescriptorsMs,
                     [self = shared_from_this(), index] { self->watch_listener(index); });
      return;
    }
    if (!*accepted) return;
    admit(std::move(*accepted));
  }
}

void Acceptor::admit(StreamPtr stream) {
  if (pending_.size() >= kMaxPending) drop(pending_.begin());
  const auto pending = pending_.emplace(pending_.end());
  pending->handshake = Handshake::accept(*stream, lookup_, Deadline::after_ms(kProofWithinMs, loop_), loop_);
  pending->stream = std::move(stream);
  pending->interest = EPOLLIN;
  const auto advance_it = [self = shared_from_this(), pending] { self->advance(pending); };
  pending->watch = loop_.watch(*pending->stream, EPOLLIN, [advance_it](uint32_t) { advance_it(); });
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
    StreamPtr stream = std::move(pending->stream);
    const HandshakeHello hello = pending->handshake->hello();
    loop_.unwatch(pending->watch);
    drop(pending);
    proven_(std::move(stream), hello);
    return;
  }
  const short wanted = pending->handshake->poll_events();
  if (wanted != pending->interest) loop_.change(pending->watch, static_cast<uint32_t>(wanted));
  pending->interest = wanted;
}

}  // namespace comity::control
