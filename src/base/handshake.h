// The socket handshake: both ends prove knowledge of the secret before a byte from the other is believed.
//
//   initiator                              acceptor
//     hello: magic, version, role, epoch,
//            rank, peer rank, nonce  ---->
//                                   <----  challenge: nonce, proof over (both nonces, hello, "acceptor")
//     proof over (both nonces, hello,
//            "initiator")            ---->
//                                   <----  one byte: welcome
//
// Proofs are keyed hashes (libsodium crypto_generichash, 32 bytes) whose key is derived from the secret; the secret
// never crosses the wire, and a proof binds role, epoch, ranks and both nonces, so it cannot be replayed or reflected.
// Handshake is a pollable state machine on a non-blocking socket: poll() never blocks, reads not one byte past the
// handshake, and fails once its deadline passed. One thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "comity/plugin/result.h"
#include "src/base/clock.h"

namespace comity {

using Secret = std::array<std::byte, 32>;

// What a socket is for; part of the proof.
enum class SocketRole : uint16_t { kMeeting = 1, kTree = 2, kDescriptor = 3, kData = 4 };

// What the initiator says of itself. All of it is covered by the proof. `detail` is the role's own (a rail number).
struct HandshakeHello {
  SocketRole role = SocketRole::kMeeting;
  uint32_t epoch = 0;
  uint32_t rank = 0;       // of the initiator
  uint32_t peer_rank = 0;  // whom it expects; UINT32_MAX: anyone
  uint64_t detail = 0;
  uint64_t communicator = 0;  // public id of the communicator, so that one listener can serve several
};

class Handshake {
 public:
  enum class State { kInProgress, kDone };

  // Starts the initiator's side. `fd` is a connected or connecting non-blocking socket; it stays the caller's.
  static Handshake initiate(int fd, const Secret& secret, const HandshakeHello& hello, Deadline deadline);
  // Starts the acceptor's side. `secret` may be looked up once the hello is known: see hello().
  static Handshake accept(int fd, const Secret& secret, Deadline deadline);

  // Advances as far as the socket lets it. Errors: kRemoteError (closed, garbage, wrong secret, other version: the
  // message says which), kTimeout. After an error the caller closes the socket.
  Result<State> poll();
  // The peer's hello, proven once poll() said kDone. For the initiator: its own.
  const HandshakeHello& hello() const;

  Handshake(Handshake&&) noexcept;
  Handshake& operator=(Handshake&&) noexcept;
  ~Handshake();

 private:
  struct Impl;
  explicit Handshake(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Fills with random bytes (libsodium). Any thread.
void random_bytes(void* to, size_t bytes);
uint64_t random_u64();

}  // namespace comity
