// The handshake: who passes, who does not, and that it reads no further than itself.
#include "src/base/handshake.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <random>
#include <string>
#include <vector>

#include "src/base/unique_fd.h"

namespace comity {
namespace {

using State = Handshake::State;

Secret secret_of(unsigned char fill) {
  Secret secret;
  secret.fill(static_cast<std::byte>(fill));
  return secret;
}

struct Pair {
  UniqueFd a;
  UniqueFd b;
};
Pair socket_pair() {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

HandshakeHello some_hello() {
  HandshakeHello hello;
  hello.role = SocketRole::kData;
  hello.epoch = 3;
  hello.rank = 7;
  hello.peer_rank = 9;
  hello.detail = 0x1122334455667788;
  hello.communicator = 42;
  return hello;
}

// Polls both in turn until both ended; the second of each pair of turns sees what the first sent.
void run_both(Handshake& one, Handshake& other, Status& of_one, Status& of_other) {
  bool one_ended = false;
  bool other_ended = false;
  const auto step = [](Handshake& side, Status& status, bool& ended) {
    if (ended) return;
    const auto state = side.poll();
    ended = !state.ok() || *state == State::kDone;
    if (!state.ok()) status = state.status();
  };
  for (int turn = 0; turn < 20 && !(one_ended && other_ended); ++turn) {
    step(one, of_one, one_ended);
    step(other, of_other, other_ended);
  }
}

TEST(Handshake, BothWhoKnowTheSecretPassAndTheHelloArrivesWhole) {
  const Pair pair = socket_pair();
  Handshake initiator =
      Handshake::initiate(pair.a.get(), secret_of(1), some_hello(), Deadline::after_ms(5000));
  Handshake acceptor = Handshake::accept(pair.b.get(), secret_of(1), Deadline::after_ms(5000));
  Status of_initiator;
  Status of_acceptor;
  run_both(initiator, acceptor, of_initiator, of_acceptor);
  EXPECT_TRUE(of_initiator.ok()) << of_initiator.message();
  EXPECT_TRUE(of_acceptor.ok()) << of_acceptor.message();
  EXPECT_EQ(*initiator.poll(), State::kDone);
  EXPECT_EQ(*acceptor.poll(), State::kDone);
  const HandshakeHello& hello = acceptor.hello();
  EXPECT_EQ(hello.role, SocketRole::kData);
  EXPECT_EQ(hello.epoch, 3u);
  EXPECT_EQ(hello.rank, 7u);
  EXPECT_EQ(hello.peer_rank, 9u);
  EXPECT_EQ(hello.detail, 0x1122334455667788u);
  EXPECT_EQ(hello.communicator, 42u);
}

TEST(Handshake, OtherSecretsFailTheInitiatorFirstWhichSendsNoProof) {
  const Pair pair = socket_pair();
  Handshake initiator =
      Handshake::initiate(pair.a.get(), secret_of(1), some_hello(), Deadline::after_ms(5000));
  Handshake acceptor = Handshake::accept(pair.b.get(), secret_of(2), Deadline::after_ms(50));
  Status of_initiator;
  Status of_acceptor;
  run_both(initiator, acceptor, of_initiator, of_acceptor);
  EXPECT_EQ(of_initiator.code(), Code::kRemoteError);
  EXPECT_NE(of_initiator.message().find("does not know the secret"), std::string::npos);
  EXPECT_TRUE(initiator.met_stranger());
  char byte = 0;
  EXPECT_EQ(::recv(pair.b.get(), &byte, 1, MSG_DONTWAIT), -1) << "the initiator sent something to a stranger";
}

// Runs an acceptor of secret 1 while `forge` turns each whole message from an honest initiator into another.
template <typename Forge>
Status accept_forged(Forge forge) {
  const Pair left = socket_pair();
  const Pair right = socket_pair();
  Handshake initiator =
      Handshake::initiate(left.a.get(), secret_of(1), some_hello(), Deadline::after_ms(5000));
  Handshake acceptor = Handshake::accept(right.b.get(), secret_of(1), Deadline::after_ms(5000));
  const auto carry = [](int from, int to, auto change) {
    std::vector<unsigned char> bytes(4096);
    const ssize_t n = ::recv(from, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (n <= 0) return;
    bytes.resize(static_cast<size_t>(n));
    change(bytes);
    EXPECT_EQ(::send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  };
  int message = 0;
  for (int turn = 0; turn < 10; ++turn) {
    (void)initiator.poll();
    carry(left.b.get(), right.a.get(), [&](auto& bytes) { forge(message++, bytes); });
    const auto state = acceptor.poll();
    if (!state.ok()) return state.status();
    if (*state == State::kDone) return {};
    carry(right.a.get(), left.b.get(), [](auto&) {});
  }
  return Status(Code::kTimeout, "stuck");
}

TEST(Handshake, AnUntouchedRelayPasses) {
  EXPECT_TRUE(accept_forged([](int, auto&) {}).ok());
}

TEST(Handshake, EveryChangedByteOfTheHelloOrTheProofIsFound) {
  for (int message = 0; message < 2; ++message) {
    const size_t size = message == 0 ? 72 : 32;
    for (size_t at = 0; at < size; ++at) {
      const Status status = accept_forged([&](int index, auto& bytes) {
        ASSERT_TRUE(index != message || bytes.size() == size);
        if (index == message) bytes[at] ^= 4;
      });
      ASSERT_FALSE(status.ok()) << "message " << message << " byte " << at;
    }
  }
}

TEST(Handshake, AReplayedProofIsRefused) {
  std::vector<unsigned char> hello;
  std::vector<unsigned char> proof;
  ASSERT_TRUE(accept_forged([&](int index, auto& bytes) { (index == 0 ? hello : proof) = bytes; }).ok());
  // Whoever recorded that conversation repeats its half word for word.
  const Pair pair = socket_pair();
  Handshake acceptor = Handshake::accept(pair.b.get(), secret_of(1), Deadline::after_ms(5000));
  ASSERT_EQ(::send(pair.a.get(), hello.data(), hello.size(), MSG_NOSIGNAL), 72);
  ASSERT_EQ(*acceptor.poll(), State::kInProgress);
  ASSERT_EQ(::send(pair.a.get(), proof.data(), proof.size(), MSG_NOSIGNAL), 32);
  const auto replayed = acceptor.poll();
  EXPECT_EQ(replayed.status().code(), Code::kRemoteError);
  EXPECT_NE(replayed.status().message().find("does not know the secret"), std::string::npos);
}

TEST(Handshake, AReflectedInitiatorDoesNotPass) {
  // Whoever knows nothing sends everything back to whom it came from.
  const Pair pair = socket_pair();
  Handshake initiator =
      Handshake::initiate(pair.a.get(), secret_of(1), some_hello(), Deadline::after_ms(5000));
  Status status;
  for (int turn = 0; turn < 5 && status.ok(); ++turn) {
    const auto state = initiator.poll();
    ASSERT_FALSE(state.ok() && *state == State::kDone);
    if (!state.ok()) status = state.status();
    unsigned char bytes[4096] = {};
    const ssize_t n = ::recv(pair.b.get(), bytes, sizeof(bytes), MSG_DONTWAIT);
    // Padded: the initiator waits for a longer message than it sent.
    if (n <= 0) continue;
    ASSERT_EQ(::send(pair.b.get(), bytes, 100, MSG_NOSIGNAL), 100);
  }
  EXPECT_EQ(status.code(), Code::kRemoteError);
}

TEST(Handshake, AnotherVersionIsSaidToBoth) {
  const Pair left = socket_pair();
  Handshake initiator =
      Handshake::initiate(left.a.get(), secret_of(1), some_hello(), Deadline::after_ms(5000));
  (void)initiator.poll();
  std::vector<unsigned char> hello(72);
  ASSERT_EQ(::recv(left.b.get(), hello.data(), 72, MSG_DONTWAIT), 72);
  hello[8] = 99;
  const Pair right = socket_pair();
  ASSERT_EQ(::send(right.a.get(), hello.data(), 72, MSG_NOSIGNAL), 72);
  Handshake acceptor = Handshake::accept(right.b.get(), secret_of(1), Deadline::after_ms(5000));
  const auto refused = acceptor.poll();
  EXPECT_NE(refused.status().message().find("version 99"), std::string::npos) << refused.status().message();
  std::vector<unsigned char> answer(80);
  ASSERT_EQ(::recv(right.a.get(), answer.data(), 80, MSG_DONTWAIT), 80);
  answer[8] = 98;
  ASSERT_EQ(::send(left.b.get(), answer.data(), 80, MSG_NOSIGNAL), 80);
  const auto told = initiator.poll();
  EXPECT_NE(told.status().message().find("version 98"), std::string::npos) << told.status().message();
}

TEST(Handshake, GarbageSilenceAndAnEarlyEndFailWithTheirReason) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 200; ++round) {
    const Pair pair = socket_pair();
    std::vector<unsigned char> bytes(72 + random() % 100);
    for (auto& byte : bytes) byte = static_cast<unsigned char>(random());
    ASSERT_GT(::send(pair.a.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), 0);
    Handshake acceptor = Handshake::accept(pair.b.get(), secret_of(1), Deadline::after_ms(5000));
    EXPECT_EQ(acceptor.poll().status().code(), Code::kRemoteError);
    EXPECT_TRUE(acceptor.met_stranger());
  }
  Pair pair = socket_pair();
  Handshake silent = Handshake::accept(pair.b.get(), secret_of(1), Deadline::after_ms(0));
  EXPECT_EQ(silent.poll().status().code(), Code::kTimeout);
  EXPECT_FALSE(silent.met_stranger());
  pair.a.reset();
  Handshake ended = Handshake::accept(pair.b.get(), secret_of(1), Deadline::after_ms(5000));
  EXPECT_EQ(ended.poll().status().code(), Code::kRemoteError);
}

TEST(Handshake, ReadsNotOneByteOfWhatFollows) {
  const Pair pair = socket_pair();
  Handshake initiator =
      Handshake::initiate(pair.a.get(), secret_of(1), some_hello(), Deadline::after_ms(5000));
  Handshake acceptor = Handshake::accept(pair.b.get(), secret_of(1), Deadline::after_ms(5000));
  (void)initiator.poll();
  (void)acceptor.poll();
  (void)initiator.poll();
  // After its proof the initiator's own bytes follow at once, and after its welcome the acceptor's.
  ASSERT_EQ(::send(pair.a.get(), "from a", 6, 0), 6);
  EXPECT_EQ(*acceptor.poll(), State::kDone);
  ASSERT_EQ(::send(pair.b.get(), "from b", 6, 0), 6);
  EXPECT_EQ(*initiator.poll(), State::kDone);
  char text[7] = {};
  EXPECT_EQ(::recv(pair.a.get(), text, 6, MSG_DONTWAIT), 6);
  EXPECT_STREQ(text, "from b");
  EXPECT_EQ(::recv(pair.b.get(), text, 6, MSG_DONTWAIT), 6);
  EXPECT_STREQ(text, "from a");
}

TEST(Handshake, TheSecretIsLookedUpByTheClaimedCommunicator) {
  for (const uint64_t communicator : {42u, 43u}) {
    const Pair pair = socket_pair();
    HandshakeHello hello = some_hello();
    hello.communicator = communicator;
    const Secret known = secret_of(1);
    Handshake initiator = Handshake::initiate(pair.a.get(), known, hello, Deadline::after_ms(5000));
    Handshake acceptor = Handshake::accept(
        pair.b.get(),
        [&](const HandshakeHello& claimed) { return claimed.communicator == 42 ? &known : nullptr; },
        Deadline::after_ms(50));
    Status of_initiator;
    Status of_acceptor;
    run_both(initiator, acceptor, of_initiator, of_acceptor);
    EXPECT_EQ(of_acceptor.ok(), communicator == 42) << of_acceptor.message();
  }
}

TEST(Secrets, DerivedKeysDifferByPurposeAndSecret) {
  EXPECT_NE(derive_secret(secret_of(1), "a"), derive_secret(secret_of(1), "b"));
  EXPECT_NE(derive_secret(secret_of(1), "a"), derive_secret(secret_of(2), "a"));
  EXPECT_EQ(derive_secret(secret_of(1), "a"), derive_secret(secret_of(1), "a"));
  EXPECT_NE(random_u64(), random_u64());
}

}  // namespace
}  // namespace comity
