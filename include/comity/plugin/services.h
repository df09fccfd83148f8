// What a transport is given by who makes it: the control plane's descriptors, letters and thread. The API
// implements all of it; tests have their own.
#pragma once

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"

namespace comity {

// A descriptor of a peer's memory, on its way. One thread at a time.
class DescriptorFetch {
 public:
  virtual ~DescriptorFetch() = default;  // gives it up
  // The descriptor, which becomes the caller's, or -1: not yet. Never blocks; waits for a live owner without
  // an end. Not after it gave a descriptor or an error: kSystemError, kRemoteError, or the owner's.
  virtual Result<int> poll() = 0;
  // Blocks until poll() may get further, `limit_ms` at most. For set-up.
  virtual void wait(int limit_ms) const = 0;
  // Of the arenas said to be held, those that their owner gave back. Once poll() gave the descriptor.
  virtual std::vector<uint32_t> gone() const = 0;
};

// Gives the transport descriptors of peers' memory: the API implements it with the control plane.
class DescriptorSource {
 public:
  virtual ~DescriptorSource() = default;
  // Asks for that of an arena. `held`: arenas of the same process that are mapped here, to hear which of them
  // are gone. Never blocks.
  virtual std::unique_ptr<DescriptorFetch> fetch(std::string_view owner_socket_name, uint32_t arena,
                                                 std::span<const uint32_t> held) = 0;
};

// Connections that are done, of a library that closes them itself: what is left to be said and heard on them.
class Lingering {
 public:
  virtual ~Lingering() = default;  // closes them, at once; in a child of fork() it is not called
  // Advances, on a thread that is not the engine's; never blocks. True: nothing of what was sent can be lost.
  virtual bool step() = 0;
};

// Takes over connections that are done, whose last bytes may still be on their way: the API implements it
// with the control plane.
class ConnectionKeeper {
 public:
  virtual ~ConnectionKeeper() = default;
  // Takes the connected, non-blocking stream socket: sends `unsent`, ends its direction, reads and discards
  // what comes, and closes it when nothing of what was sent can be lost any more. Never blocks.
  virtual void keep(int socket, std::span<const std::byte> unsent) = 0;
  // The same for such connections: steps them every few ms until they are done, for a limited time at the end
  // of the process. By default they are closed.
  virtual void linger(std::unique_ptr<Lingering> /*connections*/) {}
};

// Takes what other ranks' ends of the same transport send by Mail.
class MailReceiver {
 public:
  virtual ~MailReceiver() = default;
  // On a thread that is not the engine's. Blocks for no more than a short lock.
  virtual void came(uint32_t from, std::span<const std::byte> letter) = 0;
};

// Letters between ranks over the authenticated control plane: what a connection needs to begin. The API
// implements it. Once sent a letter comes, in the order of its pair, unless a rank between the two dies.
class Mail {
 public:
  virtual ~Mail() = default;
  // Any thread; neither blocks but for a short lock. What came before open() comes then; after close() no
  // came() is under way or follows.
  virtual void open(MailReceiver& receiver) = 0;
  virtual void close() = 0;
  // At most kMaxLetterBytes. Any thread; does not block.
  virtual void send(uint32_t to, std::span<const std::byte> letter) = 0;
};
inline constexpr size_t kMaxLetterBytes = 4096;

// Work of a transport's that goes on while this rank makes no call.
class BackgroundWork {
 public:
  virtual ~BackgroundWork() = default;
  // Advances, on a thread that is not the engine's. Blocks for no more than a short lock. Appends what to
  // wait for, descriptors that stay open until the next step() begins or end() has returned; returns in how
  // many milliseconds it wants to be called at the latest.
  virtual uint64_t step(std::vector<pollfd>& wait_for) = 0;
};

// Carries it out: the API implements it with the control thread.
class Background {
 public:
  virtual ~Background() = default;
  // Any thread. begin() does not block; after end(), which blocks for some ms, no step is under way or
  // follows. In a child of fork() end() does nothing: the work goes on in its parent.
  virtual void begin(BackgroundWork& work) = 0;
  virtual void end(BackgroundWork& work) = 0;
};

}  // namespace comity
