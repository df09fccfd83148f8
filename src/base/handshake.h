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
// Proofs are keyed hashes (libsodium crypto_generichash, 32 bytes) whose key is derived from the secret; the
// secret never crosses the wire, and a proof binds role, epoch, ranks and both nonces, so it cannot be
// replayed or reflected. Handshake is a pollable state machine on a non-blocking socket: poll() never blocks,
// reads not one byte past the handshake, and fails once its deadline passed. One thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "comity/plugin/result.h"
#include "src/base/clock.h"
#include "src/base/random.h"
#include "src/base/stream.h"

namespace comity {

using Secret = std::array<std::byte, 32>;

// What a socket is for; part of the proof.
enum class SocketRole : uint16_t { kMeeting = 1, kTree = 2, kDescriptor = 3, kData = 4 };

// What the initiator says of itself. All of it is covered by the proof. `detail` is the role's own (a rail
// number).
struct HandshakeHello {
  SocketRole role = SocketRole::kMeeting;
  uint32_t epoch = 0;
  uint32_t rank = 0;       // of the initiator
  uint32_t peer_rank = 0;  // whom it expects; UINT32_MAX: anyone
  uint64_t detail = 0;
  uint64_t communicator = 0;  // public id of the communicator, so that one listener can serve several
};

// The secret that a hello (not yet proven) must be checked against; null: nothing here goes by that
// communicator. Called once, inside poll(); the secret is copied before poll() returns.
using SecretLookup = std::function<const Secret*(const HandshakeHello& claimed)>;

class Handshake {
 public:
  enum class State { kInProgress, kDone };

  // Starts the initiator's side on a connected or connecting stream, which stays the caller's and must
  // outlive this, as must `random`, where the nonce comes from.
  static Handshake initiate(Stream& stream, const Secret& secret, const HandshakeHello& hello,
                            Deadline deadline, Random& random = system_random());
  // Starts the acceptor's side of a listener that serves several communicators.
  static Handshake accept(Stream& stream, SecretLookup lookup, Deadline deadline,
                          Random& random = system_random());
  // The same with a non-blocking socket of the kernel, which stays the caller's; accept() also with the one
  // secret that a listener serves.
  static Handshake initiate(int fd, const Secret& secret, const HandshakeHello& hello, Deadline deadline);
  static Handshake accept(int fd, const Secret& secret, Deadline deadline);
  static Handshake accept(int fd, SecretLookup lookup, Deadline deadline);

  // Advances as far as the socket lets it. Errors: kRemoteError (closed, garbage, wrong secret, other
  // version: the message says which), kTimeout. After an error the caller closes the socket. That peer_rank
  // is oneself is for the acceptor's caller to check: only it knows which ranks it speaks for.
  Result<State> poll();
  // What to wait for before the next poll(): POLLIN or POLLOUT (whose values are those of EPOLLIN and
  // EPOLLOUT).
  short poll_events() const;
  // After an error: whether the peer showed itself to be something else (garbage, other version, wrong
  // secret), so that trying the same address again is useless.
  bool met_stranger() const;
  // After an error: that of the socket, as errno (ECONNREFUSED: nobody listens there; ECONNRESET also when
  // the peer closed); 0 if the error is another one.
  int socket_error() const;
  // The peer's hello, proven once poll() said kDone. For the initiator: its own.
  const HandshakeHello& hello() const;

  Handshake(Handshake&&) noexcept;
  Handshake& operator=(Handshake&&) noexcept;
  ~Handshake();

 private:
  struct Impl;
  explicit Handshake(std::unique_ptr<Impl> impl);
  static Handshake begin(std::unique_ptr<Impl> impl, const Secret& secret, const HandshakeHello& hello);
  static Handshake listen(std::unique_ptr<Impl> impl, SecretLookup lookup);
  std::unique_ptr<Impl> impl_;
};

// A key for one purpose, derived from `secret`: the keyed hash of `purpose`. Pure; knowing one derived key
// tells nothing of the secret or of another purpose's key.
Secret derive_secret(const Secret& secret, std::string_view purpose);
// Hash of anything, 32 bytes, not keyed. Equal on every machine.
std::array<std::byte, 32> hash_of(std::span<const std::byte> bytes);

// Fills with random bytes (libsodium). Any thread.
void random_bytes(void* to, size_t bytes);
uint64_t random_u64();

}  // namespace comity
