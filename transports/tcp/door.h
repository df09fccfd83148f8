// Where peers' connections come in: accepts them, has them prove the secret, and keeps them until the
// transport takes them.
//
// With a Background that goes on while this rank makes no call: a peer that connects anew, or for the first
// time, waits for nobody. Without one it goes on in step().
#pragma once

#include <poll.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "transports/tcp/connector.h"

namespace comity::tcp {

class Door final : public BackgroundWork {
 public:
  // `attention` becomes true when something is to be taken, or when connections are to be looked at for long
  // silence, every `look_every_ms` (0: never). It outlives this.
  Door(const Secret& secret, std::atomic<bool>& attention)
      : acceptor_(secret, kHandshakeMs), attention_(attention) {}
  ~Door() override { close(); }
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  // Before open(): listens on these, and adds to `rails` where; returns the interfaces of those rails. An
  // address on which nothing can listen is left out, unless it is the last. Blocks, up to 3 s while a new
  // IPv6 address is not usable yet. Errors: kSystemError.
  Result<std::vector<NetworkInterface>> listen(const std::vector<NetworkInterface>& interfaces,
                                               const std::string& congestion,
                                               std::vector<RailAddress>& rails);
  void open(Background* background, uint64_t look_every_ms);
  void close();
  bool in_background() const { return background_ != nullptr; }

  // Advances what no Background does.
  void step();
  // Appends what is proven. False: nothing is.
  bool take(std::vector<Acceptor::Accepted>& accepted);
  // Why connections cannot be taken at present; success while they can. kSystemError: no descriptors.
  Status status() const;
  // It is time to look for connections that have been silent for long; true once per interval.
  bool look_due(uint64_t now_ns);

  // Sleeping: whoever is on the list is rung when a connection came.
  void add(Sleeper& sleeper);
  void remove(Sleeper& sleeper);
  // Without a Background: what to wait for.
  void wait_for(std::vector<pollfd>& polled) const { acceptor_.wait_for(polled); }
  bool has_strangers() const { return acceptor_.has_strangers(); }

  // BackgroundWork.
  uint64_t step(std::vector<pollfd>& wait_for) override;

 private:
  void advance();

  Acceptor acceptor_;  // of who steps it
  std::atomic<bool>& attention_;
  Background* background_ = nullptr;
  uint64_t look_every_ms_ = 0;
  mutable std::mutex mutex_;
  std::vector<Acceptor::Accepted> arrived_;
  Status status_;
  std::vector<Sleeper*> sleepers_;
  std::atomic<uint64_t> next_look_ns_{UINT64_MAX};
};

}  // namespace comity::tcp
