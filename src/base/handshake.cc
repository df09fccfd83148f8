#include "src/base/handshake.h"

#include <fmt/core.h>
#include <poll.h>
#include <sodium.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "src/base/bytes.h"

namespace comity {
namespace {

constexpr uint64_t kHelloMagic = 0x314f4c4c'48594d43;      // "CMYHLLO1"
constexpr uint64_t kChallengeMagic = 0x314c4c48'43594d43;  // "CMYCHLL1"
constexpr uint16_t kVersion = 1;
constexpr std::byte kWelcome{0xC7};

using Nonce = std::array<std::byte, 32>;
using Proof = std::array<std::byte, 32>;

constexpr size_t kHelloBytes = 8 + 2 + 2 + 4 + 4 + 4 + 8 + 8 + sizeof(Nonce);
constexpr size_t kChallengeBytes = 8 + 2 + 6 + sizeof(Nonce) + sizeof(Proof);

void ensure_sodium() {
  static const bool ready = sodium_init() >= 0;
  if (ready) return;
  fmt::print(stderr, "comity: libsodium cannot be initialised (no source of randomness)\n");
  std::abort();
}

const unsigned char* raw(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}
unsigned char* raw(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}

std::array<std::byte, 32> keyed_hash(const Secret* key, std::span<const std::byte> bytes) {
  ensure_sodium();
  std::array<std::byte, 32> hash{};
  crypto_generichash(raw(hash.data()), hash.size(), raw(bytes.data()), bytes.size(),
                     key == nullptr ? nullptr : raw(key->data()), key == nullptr ? 0 : key->size());
  return hash;
}

Nonce new_nonce(Random& random) {
  Nonce nonce{};
  random.fill(nonce.data(), nonce.size());
  return nonce;
}

class SystemRandom final : public Random {
 public:
  void fill(void* to, size_t bytes) override { random_bytes(to, bytes); }
};

Bytes encode(const HandshakeHello& hello, const Nonce& nonce) {
  ByteWriter writer;
  writer.put(kHelloMagic)
      .put(kVersion)
      .put(static_cast<uint16_t>(hello.role))
      .put(hello.epoch)
      .put(hello.rank);
  writer.put(hello.peer_rank).put(hello.detail).put(hello.communicator).put(nonce);
  return writer.take();
}

Status remote(std::string message) {
  return Status(Code::kRemoteError, std::move(message));
}
Status other_version(unsigned theirs) {
  return remote(
      fmt::format("the peer speaks version {} of Comity's handshake and this process version {}; run the "
                  "same release everywhere",
                  theirs, kVersion));
}

}  // namespace

// Stages in order. Each sends what `out` holds, then reads `wanted` bytes into `in`, then takes the next.
struct Handshake::Impl {
  enum class Stage { kAwaitChallenge, kAwaitWelcome, kAwaitHello, kAwaitProof, kRefused, kDone };

  Impl(int fd, Deadline limit) : borrowed(fd), stream(*borrowed), deadline(limit), random(system_random()) {}
  Impl(Stream& socket, Deadline limit, Random& source) : stream(socket), deadline(limit), random(source) {}
  ~Impl() { sodium_memzero(key.data(), key.size()); }

  Result<State> advance();
  Result<bool> flush();  // true: everything is sent
  Result<bool> fill();   // true: `wanted` bytes are in
  Status take_message();
  Status take_hello();
  Status take_challenge();
  Status take_proof();
  void expect(Stage next, size_t bytes) {
    stage = next;
    wanted = bytes;
    in.clear();
  }
  Proof proof(std::string_view side) const {
    ByteWriter writer;
    writer.put_text(side).put_blob(hello_bytes).put(acceptor_nonce);
    return keyed_hash(&key, writer.bytes());
  }
  Bytes challenge(const Proof& value) const {
    ByteWriter writer;
    writer.put(kChallengeMagic).put(kVersion).put(std::array<std::byte, 6>{}).put(acceptor_nonce).put(value);
    return writer.take();
  }

  std::optional<BorrowedStream> borrowed;  // which `stream` may be
  Stream& stream;
  Deadline deadline;
  Random& random;
  Secret key{};  // derived, not the secret itself
  SecretLookup lookup;
  HandshakeHello hello;
  Bytes hello_bytes;  // as sent, the initiator's nonce included
  Nonce acceptor_nonce{};
  Stage stage = Stage::kDone;
  size_t wanted = 0;
  Bytes in;
  Bytes out;
  size_t sent = 0;
  Status refusal;  // what to return once the peer was told
  bool stranger = false;
  int socket_error = 0;
};

Result<bool> Handshake::Impl::flush() {
  while (sent < out.size()) {
    const ssize_t n = stream.write(std::span(out).subspan(sent));
    if (n >= 0) {
      sent += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      return false;
    } else if (errno != EINTR) {
      socket_error = errno;
      return remote(
          fmt::format("the peer's connection failed during the handshake: {}", std::strerror(socket_error)));
    }
  }
  out.clear();
  sent = 0;
  return true;
}

Result<bool> Handshake::Impl::fill() {
  while (in.size() < wanted) {
    std::byte buffer[kChallengeBytes];
    const ssize_t n = stream.read(std::span(buffer, std::min(sizeof(buffer), wanted - in.size())));
    if (n > 0) {
      in.insert(in.end(), buffer, buffer + n);
    } else if (n == 0) {
      socket_error = ECONNRESET;
      return remote("the peer closed the connection during the handshake (wrong secret, or it ended)");
    } else if (errno == EAGAIN) {
      return false;
    } else if (errno != EINTR) {
      socket_error = errno;
      return remote(
          fmt::format("the peer's connection failed during the handshake: {}", std::strerror(errno)));
    }
  }
  return true;
}

Status Handshake::Impl::take_hello() {
  ByteReader reader(in);
  const auto magic = reader.get<uint64_t>();
  const auto version = reader.get<uint16_t>();
  if (magic != kHelloMagic) {
    return remote("the peer sent something that is not Comity's handshake (another program on this port?)");
  }
  hello.role = static_cast<SocketRole>(reader.get<uint16_t>());
  hello.epoch = reader.get<uint32_t>();
  hello.rank = reader.get<uint32_t>();
  hello.peer_rank = reader.get<uint32_t>();
  hello.detail = reader.get<uint64_t>();
  hello.communicator = reader.get<uint64_t>();
  hello_bytes = in;
  acceptor_nonce = new_nonce(random);
  if (version != kVersion) {  // tell the peer our version before closing
    refusal = other_version(version);
    out = challenge(Proof{});
    expect(Stage::kRefused, 0);
    return {};
  }
  if (lookup) {
    const Secret* secret = lookup(hello);
    if (secret == nullptr)
      return remote("the peer asks for a communicator that is not alive in this process");
    key = derive_secret(*secret, "comity handshake");
  }
  out = challenge(proof("acceptor"));
  expect(Stage::kAwaitProof, sizeof(Proof));
  return {};
}

Status Handshake::Impl::take_challenge() {
  ByteReader reader(in);
  const auto magic = reader.get<uint64_t>();
  const auto version = reader.get<uint16_t>();
  reader.get<std::array<std::byte, 6>>();
  acceptor_nonce = reader.get<Nonce>();
  const auto claimed = reader.get<Proof>();
  if (magic != kChallengeMagic) {
    return remote(
        "the peer answered with something that is not Comity's handshake (another program on that port?)");
  }
  if (version != kVersion) return other_version(version);
  if (sodium_memcmp(claimed.data(), proof("acceptor").data(), sizeof(Proof)) != 0) {
    return remote("the peer does not know the secret (it belongs to another communicator, or is not Comity)");
  }
  ByteWriter writer;
  writer.put(proof("initiator"));
  out = writer.take();
  expect(Stage::kAwaitWelcome, 1);
  return {};
}

Status Handshake::Impl::take_proof() {
  if (sodium_memcmp(in.data(), proof("initiator").data(), sizeof(Proof)) != 0) {
    return remote("the peer does not know the secret (it belongs to another communicator, or is not Comity)");
  }
  out = {kWelcome};
  expect(Stage::kDone, 0);
  return {};
}

Status Handshake::Impl::take_message() {
  switch (stage) {
    case Stage::kAwaitHello:
      return take_hello();
    case Stage::kAwaitChallenge:
      return take_challenge();
    case Stage::kAwaitProof:
      return take_proof();
    case Stage::kAwaitWelcome:
      if (in[0] != kWelcome) return remote("the peer did not welcome this connection");
      expect(Stage::kDone, 0);
      return {};
    case Stage::kRefused:
      return refusal;
    case Stage::kDone:
      break;
  }
  return {};
}

Result<Handshake::State> Handshake::Impl::advance() {
  while (true) {
    COMITY_ASSIGN_OR_RETURN(const bool sent_all, flush());
    if (sent_all && stage == Stage::kDone) return State::kDone;
    bool has_message = false;
    if (sent_all) {
      COMITY_ASSIGN_OR_RETURN(has_message, fill());
    }
    if (!has_message) {
      if (!deadline.passed()) return State::kInProgress;
      return Status(Code::kTimeout, "the peer did not finish the handshake in time (silent, or not Comity)");
    }
    if (Status taken = take_message(); !taken.ok()) {  // the peer's bytes themselves are wrong
      stranger = true;
      return taken;
    }
  }
}

Handshake Handshake::begin(std::unique_ptr<Impl> impl, const Secret& secret, const HandshakeHello& hello) {
  impl->key = derive_secret(secret, "comity handshake");
  impl->hello = hello;
  impl->hello_bytes = encode(hello, new_nonce(impl->random));
  impl->out = impl->hello_bytes;
  impl->expect(Impl::Stage::kAwaitChallenge, kChallengeBytes);
  return Handshake(std::move(impl));
}

Handshake Handshake::listen(std::unique_ptr<Impl> impl, SecretLookup lookup) {
  impl->lookup = std::move(lookup);
  impl->expect(Impl::Stage::kAwaitHello, kHelloBytes);
  return Handshake(std::move(impl));
}

Handshake Handshake::initiate(Stream& stream, const Secret& secret, const HandshakeHello& hello,
                              Deadline deadline, Random& random) {
  return begin(std::make_unique<Impl>(stream, deadline, random), secret, hello);
}

Handshake Handshake::initiate(int fd, const Secret& secret, const HandshakeHello& hello, Deadline deadline) {
  return begin(std::make_unique<Impl>(fd, deadline), secret, hello);
}

Handshake Handshake::accept(Stream& stream, SecretLookup lookup, Deadline deadline, Random& random) {
  return listen(std::make_unique<Impl>(stream, deadline, random), std::move(lookup));
}

Handshake Handshake::accept(int fd, const Secret& secret, Deadline deadline) {
  auto impl = std::make_unique<Impl>(fd, deadline);
  impl->key = derive_secret(secret, "comity handshake");
  return listen(std::move(impl), nullptr);
}

Handshake Handshake::accept(int fd, SecretLookup lookup, Deadline deadline) {
  return listen(std::make_unique<Impl>(fd, deadline), std::move(lookup));
}

Result<Handshake::State> Handshake::poll() {
  return impl_->advance();
}
short Handshake::poll_events() const {
  return impl_->out.empty() ? POLLIN : POLLOUT;
}
bool Handshake::met_stranger() const {
  return impl_->stranger;
}
int Handshake::socket_error() const {
  return impl_->socket_error;
}
const HandshakeHello& Handshake::hello() const {
  return impl_->hello;
}

Handshake::Handshake(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Handshake::Handshake(Handshake&&) noexcept = default;
Handshake& Handshake::operator=(Handshake&&) noexcept = default;
Handshake::~Handshake() = default;

Secret derive_secret(const Secret& secret, std::string_view purpose) {
  return keyed_hash(&secret, std::as_bytes(std::span(purpose.data(), purpose.size())));
}

std::array<std::byte, 32> hash_of(std::span<const std::byte> bytes) {
  return keyed_hash(nullptr, bytes);
}

void random_bytes(void* to, size_t bytes) {
  ensure_sodium();
  randombytes_buf(to, bytes);
}

Random& system_random() {
  static SystemRandom& random = *new SystemRandom;  // never destroyed: the control thread outlives statics
  return random;
}

uint64_t random_u64() {
  uint64_t value = 0;
  random_bytes(&value, sizeof(value));
  return value;
}

}  // namespace comity
