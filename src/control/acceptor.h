// Listening sockets whose connections are handshaked side by side, so that silent, garbage and wrong-secret
// connections cost a table entry for some seconds and stall nobody.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/handshake.h"
#include "src/base/settings.h"
#include "src/base/socket.h"
#include "src/base/stream.h"
#include "src/control/loop.h"

namespace comity::control {

struct Listeners {
  std::vector<ListenerPtr> sockets;
  std::vector<SocketAddress> addresses;  // of the sockets, with their ports
  size_t left_out = 0;                   // usable addresses beyond these
  std::vector<SocketAddress> taken;      // wanted, and held by another socket
};
inline constexpr size_t kMaxListeners = 8;
// Listens on up to kMaxListeners of usable_interfaces(), the best ones. With `configured_ports` the ports in
// COMITY_SOCKET_ADDRESS are used, else the system chooses. kSystemError (a configured port in use, no
// interface on which one can listen).
Result<Listeners> open_listeners(const Settings& settings, bool configured_ports);
// The same on one port of all of them, and on those of `also` that are addresses of this host (the loopback,
// of which usable_interfaces() says nothing where there is more). Those that are held by others are in
// `taken`. kSystemError: there is no address to listen on, nor one that is taken.
Result<Listeners> open_listeners_at(const Settings& settings, uint16_t port,
                                    const std::vector<SocketAddress>& also);

class Acceptor : public std::enable_shared_from_this<Acceptor> {
 public:
  static constexpr size_t kMaxPending =
      256;  // unproven connections at once; a further one displaces the oldest
  static constexpr uint64_t kProofWithinMs =
      5000;  // a connection that has not proven itself by then is closed
  using Proven = std::function<void(StreamPtr stream, const HandshakeHello& hello)>;

  // Accepts until close(). Control thread only. `proven` gets each connection that knows the secret; it may
  // close().
  static std::shared_ptr<Acceptor> open(Loop& loop, std::vector<ListenerPtr> listeners, SecretLookup lookup,
                                        Proven proven);
  // Closes the listeners and all unproven connections. Must be called to release it.
  void close();

 private:
  struct Pending {
    StreamPtr stream;
    std::optional<Handshake> handshake;
    uint64_t watch = 0;
    uint64_t timer = 0;
    short interest = 0;
  };
  using PendingIterator = std::list<Pending>::iterator;

  Acceptor(Loop& loop, SecretLookup lookup, Proven proven);
  void watch_listener(size_t index);
  void on_listener(size_t index);
  void admit(StreamPtr stream);
  void advance(PendingIterator pending);
  void drop(PendingIterator pending);

  Loop& loop_;
  SecretLookup lookup_;
  Proven proven_;
  std::vector<ListenerPtr> listeners_;
  std::vector<uint64_t> watches_;  // of the listeners
  std::list<Pending> pending_;     // oldest first
  bool closed_ = false;
};

}  // namespace comity::control
