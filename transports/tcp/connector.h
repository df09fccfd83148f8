// Making connections: the higher rank dials, the lower one accepts; both prove the secret before data flows.
//
// Nothing here blocks. A connection from outside that is silent, talks garbage or does not know the secret is
// closed at a deadline, and cannot stall others: all are looked at side by side, and their number is bounded.
#pragma once

#include <poll.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/handshake.h"
#include "src/base/socket.h"
#include "src/base/unique_fd.h"
#include "transports/tcp/rails.h"

namespace comity::tcp {

inline constexpr size_t kMaxUnauthenticated = 128;
inline constexpr uint64_t kHandshakeMs = 5'000;  // for a stranger to prove that it is none
inline constexpr uint64_t kGraceMs = 500;        // and when others wait behind the most of them

struct DialPlan {
  struct Way {
    SocketAddress from;  // port 0
    SocketAddress to;
  };
  std::vector<Way> ways;  // tried in turn; at least one
  Secret secret{};
  HandshakeHello hello;
  std::string congestion;         // may be empty
  uint64_t patience_ms = 60'000;  // for the peer's listener to be reachable
};

// From a rank's addresses to a peer's on the rail that `pair` is, one of them the higher rank of the two; all
// from link-local ones to link-local ones where the pair is one of those.
std::vector<DialPlan::Way> ways_between(const RankAddress& mine, const RankAddress& theirs,
                                        const RailPair& pair, bool mine_is_higher);

// Connects, again and again until patience ends. Once the peer's kernel took the connection it waits without
// limit, as the peer answers only when it progresses; that peer's death ends the connection.
class Dialer {
 public:
  explicit Dialer(DialPlan plan);
  // Advances. True once the connection stands: take() it. Errors: kTimeout, with the last cause.
  Result<bool> step(uint64_t now_ns);
  UniqueFd take() { return std::move(socket_); }
  // For sleeping: the socket to wait for, or fd -1 between attempts.
  pollfd waits_for() const;

 private:
  Status begin();
  Result<bool> failed(const Status& why, uint64_t now_ns);

  const DialPlan::Way& way() const { return plan_.ways[turn_ % plan_.ways.size()]; }

  DialPlan plan_;
  size_t turn_ = 0;
  uint64_t silent_until_ns_ = 0;  // then another way is tried, if there is one
  UniqueFd socket_;
  std::optional<Handshake> handshake_;
  Deadline deadline_;
  uint64_t pause_ns_;
  uint64_t next_ns_ = 0;
};

// Listens on several addresses.
class Acceptor {
 public:
  struct Accepted {
    UniqueFd socket;
    HandshakeHello hello;  // proven
  };

  Acceptor(const Secret& secret, uint64_t handshake_ms) : secret_(secret), handshake_ms_(handshake_ms) {}
  // Adds a listener; returns its address with the port. Errors: kSystemError.
  Result<SocketAddress> listen(const SocketAddress& address, const std::string& congestion);
  // Takes waiting connections, advances handshakes, appends what is proven to `accepted`.
  // Errors: kSystemError (no descriptors).
  Status step(std::vector<Accepted>& accepted);
  bool has_strangers() const { return !strangers_.empty(); }
  // Appends what to wait for.
  void wait_for(std::vector<pollfd>& polled) const;

 private:
  struct Stranger {
    UniqueFd socket;
    Handshake handshake;
    uint64_t since_ns = 0;
  };
  Status take_waiting();
  void make_room();

  Secret secret_;
  uint64_t handshake_ms_;
  std::vector<UniqueFd> listeners_;
  std::vector<Stranger> strangers_;
};

}  // namespace comity::tcp
