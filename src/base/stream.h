// Byte streams between processes, as an interface so that simulation can own them; the kernel's sockets are
// one implementation. Nothing here blocks. One thread at a time per object.
//
// Failures are told as the system calls tell them: -1, and errno says why (EAGAIN: not now).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "comity/plugin/result.h"
#include "src/base/unique_fd.h"

namespace comity {

// What an event loop can watch until it is ready.
class Pollable {
 public:
  virtual ~Pollable() = default;
  // The kernel's descriptor; -1 in a simulation.
  virtual int fd() const { return -1; }
};

// When a connection whose peer does not answer is taken for broken (ETIMEDOUT).
struct SilenceLimits {
  int idle_s;                  // without a byte, until the peer's system is asked
  int interval_s;              // between questions
  int probes;                  // questions without answer
  unsigned unacknowledged_ms;  // of what was sent
};

// A connected, or connecting, socket. Destroying it closes it: what the peer has not taken yet may be lost
// (drain.h).
class Stream : public Pollable {
 public:
  // The bytes that were taken. An error of a connection that could not be made shows here and in read().
  virtual ssize_t write(std::span<const std::byte> bytes) = 0;
  // The bytes that came, 0 once the peer ended its direction and all is read.
  virtual ssize_t read(std::span<std::byte> into) = 0;
  // Ends this side's direction behind what was written.
  virtual void end() = 0;
  // Whether the connection was made.
  virtual bool connected() const = 0;
  // Bytes that came and are not read.
  virtual size_t unread() const = 0;
  // Bytes (the end counts as one) that the peer's system has not acknowledged; -1 if the connection broke.
  virtual int64_t unacknowledged() const = 0;
  virtual void notice_silence(const SilenceLimits& limits) = 0;
};
using StreamPtr = std::unique_ptr<Stream>;

// Where connections come in. Destroying it refuses further ones.
class Listener : public Pollable {
 public:
  // The next connection, or null if none waits. kSystemError: this process has no descriptors or memory left;
  // the listener stays usable.
  virtual Result<StreamPtr> accept() = 0;
};
using ListenerPtr = std::unique_ptr<Listener>;

// A descriptor of somebody else's as a stream; it stays theirs.
class BorrowedStream : public Stream {
 public:
  explicit BorrowedStream(int fd) : fd_(fd) {}
  int fd() const final { return fd_; }
  ssize_t write(std::span<const std::byte> bytes) final;
  ssize_t read(std::span<std::byte> into) final;
  void end() final;
  bool connected() const final;
  size_t unread() const final;
  int64_t unacknowledged() const final;
  void notice_silence(const SilenceLimits& limits) final;

 private:
  const int fd_;
};

// A connected or connecting, non-blocking socket of the kernel.
class KernelStream final : public BorrowedStream {
 public:
  explicit KernelStream(UniqueFd fd) : BorrowedStream(fd.get()), owner_(std::move(fd)) {}

 private:
  UniqueFd owner_;
};

// A listening, non-blocking socket of the kernel.
class KernelListener final : public Listener {
 public:
  explicit KernelListener(UniqueFd fd) : fd_(std::move(fd)) {}
  int fd() const override { return fd_.get(); }
  Result<StreamPtr> accept() override;

 private:
  UniqueFd fd_;
};

// Any other descriptor that becomes ready (a pidfd).
class KernelFile final : public Pollable {
 public:
  explicit KernelFile(UniqueFd fd) : fd_(std::move(fd)) {}
  int fd() const override { return fd_.get(); }

 private:
  UniqueFd fd_;
};

}  // namespace comity
