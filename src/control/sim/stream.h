// Simulated connections, listeners, and ends of processes. Internal to src/control/sim.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <deque>
#include <memory>

#include "src/base/bytes.h"
#include "src/base/stream.h"
#include "src/control/sim/loop.h"

namespace comity::control::sim {

// One end of a connection: what a system knows of it. Its stream and the events on their way hold it.
class End final : public Watched, public std::enable_shared_from_this<End> {
 public:
  explicit End(SimLoop& loop);
  ~End() override;

  // Begins to connect; who cannot be reached does not answer.
  void connect(const SocketAddress& to);
  ssize_t write(std::span<const std::byte> bytes);
  ssize_t read(std::span<std::byte> into);
  void end();
  // Its stream or its process is gone.
  void close();
  // Fails with `error`, as errno.
  void fail(int error);
  // What is sent is lost, and both ends find out after their patience.
  void lose_path();
  void set_silence_ms(uint64_t ms) { silence_ms_ = ms; }

  uint32_t ready() const override;
  bool connected() const { return connected_ && error_ == 0; }
  size_t unread() const { return unread_; }
  int64_t unacknowledged() const { return static_cast<int64_t>(flying_ + (end_flies_ ? 1 : 0)); }
  SimLoop& loop() { return loop_; }
  const std::shared_ptr<End>& peer() const { return peer_; }

 private:
  void establish(const std::shared_ptr<End>& server);
  void arrive(const std::shared_ptr<const Bytes>& bytes);
  void end_arrives();
  void send_reset();
  void on_arrival(World::Action action);  // at the peer, in order
  void notify();
  void settle();
  size_t room() const;
  size_t part_of(size_t most);
  size_t take(std::span<std::byte> into);

  SimLoop& loop_;
  const uint64_t made_;
  std::shared_ptr<End> peer_;  // until either is closed
  std::deque<std::shared_ptr<const Bytes>> arrived_;
  size_t unread_ = 0;             // of arrived_, all in all
  size_t taken_ = 0;              // of the first of arrived_
  size_t flying_ = 0;             // bytes towards the peer
  uint64_t last_arrival_ns_ = 0;  // at the peer
  uint64_t silence_ms_ = 120'000;
  int error_ = 0;
  bool connected_ = false;
  bool ended_ = false;  // this direction
  bool end_flies_ = false;
  bool peer_ended_ = false;
  bool closed_ = false;
  bool lost_ = false;  // the path
};

class SimStream final : public Stream {
 public:
  explicit SimStream(std::shared_ptr<End> end) : end_(std::move(end)) {}
  ~SimStream() override { end_->close(); }
  ssize_t write(std::span<const std::byte> bytes) override { return end_->write(bytes); }
  ssize_t read(std::span<std::byte> into) override { return end_->read(into); }
  void end() override { end_->end(); }
  bool connected() const override { return end_->connected(); }
  size_t unread() const override { return end_->unread(); }
  int64_t unacknowledged() const override { return end_->unacknowledged(); }
  void notice_silence(const SilenceLimits& limits) override;
  Watched& watched() { return *end_; }

 private:
  std::shared_ptr<End> end_;
};

class SimListener final : public Listener, public Watched {
 public:
  SimListener(SimLoop& loop, const SocketAddress& address);
  ~SimListener() override { close(); }
  Result<StreamPtr> accept() override;
  uint32_t ready() const override { return waiting_.empty() ? 0 : uint32_t{EPOLLIN}; }
  void take(std::shared_ptr<End> end);
  void close();
  SimLoop& loop() { return loop_; }

 private:
  SimLoop& loop_;
  const SocketAddress address_;
  const uint64_t made_;
  bool open_ = true;
  std::deque<std::shared_ptr<End>> waiting_;
};

// A process as another one on its host watches it.
class SimProcess final : public Pollable, public Watched {
 public:
  SimProcess(SimLoop& watcher, SimLoop& watched);
  ~SimProcess() override;
  uint32_t ready() const override { return watched_.dead() ? uint32_t{EPOLLIN} : 0; }
  SimLoop& watcher() { return watcher_; }

 private:
  SimLoop& watcher_;
  SimLoop& watched_;
  const uint64_t made_;
};

}  // namespace comity::control::sim
