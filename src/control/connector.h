// Reaches one of several addresses of a peer and proves itself there: the initiator's half of every control
// socket.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/handshake.h"
#include "src/base/settings.h"
#include "src/base/socket.h"
#include "src/base/stream.h"
#include "src/control/loop.h"

namespace comity::control {

struct ConnectTarget {
  std::vector<SocketAddress> addresses;  // tried in this order
  // Of the communicator: which interfaces of this host lead to link-local ones; null: the process's.
  std::shared_ptr<const Settings> settings;
  Secret secret{};
  HandshakeHello hello;
  uint64_t per_address_ms = 1500;
  // Whether one that closes during the handshake is tried again within its time: a process that ends closes
  // what waits at its listener first, and refuses afterwards.
  bool retry_closed = false;
};

class Connector : public std::enable_shared_from_this<Connector> {
 public:
  // What the addresses that failed have in common.
  enum class Answer {
    kNone,      // at least one did not answer, or the system could not ask: nothing is known
    kRefused,   // nobody listens there any more
    kStranger,  // someone else does (wrong secret, no handshake), at one of them at least
  };
  // One connection, or why none: kTimeout if an address did not answer in time, else kSystemError or
  // kRemoteError; the message names each address.
  using Done = std::function<void(Result<StreamPtr> stream, Answer answer)>;

  // Tries each address once, link-local ones through every interface of this host; calls `done` once, later,
  // unless cancelled. Where an address is silent the next one is tried beside it, so that many that lead
  // nowhere (bridges of the other host, networks that this one has no part in) cost a fraction of a second
  // each; a host that took a connection and is slow to answer is not asked again. Control thread only.
  static std::shared_ptr<Connector> start(Loop& loop, ConnectTarget target, Done done);
  // No call of `done` any more.
  void cancel();

 private:
  struct Attempt {
    SocketAddress to;
    StreamPtr stream;
    std::optional<Handshake> handshake;
    uint64_t watch = 0;
    uint64_t timer = 0;
    short interest = 0;
    uint64_t until_ns = 0;
  };
  using Iterator = std::list<Attempt>::iterator;

  Connector(Loop& loop, ConnectTarget target, Done done);
  void begin_next();
  void begin(Iterator attempt);
  void on_silence();
  void advance(Iterator attempt);
  void give_up(Iterator attempt, const Status& failure, Answer answer);
  void stop_watching(Attempt& attempt);
  void stop_all();

  Loop& loop_;
  ConnectTarget target_;
  Done done_;
  size_t next_ = 0;
  std::list<Attempt> attempts_;
  uint64_t silence_timer_ = 0;
  Code code_ = Code::kSystemError;
  Answer answer_ = Answer::kRefused;  // of all so far
  std::string failures_;
};

}  // namespace comity::control
