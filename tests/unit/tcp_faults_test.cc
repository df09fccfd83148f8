// What strangers, bad frames, small kernel buffers and dying peers do to the TCP transport.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "src/base/clock.h"
#include "src/base/handshake.h"
#include "src/base/socket.h"
#include "tests/conformance/transport_party.h"
#include "transports/tcp/rails.h"
#include "transports/tcp/tcp_endpoint.h"
#include "transports/tcp/tcp_transport.h"

namespace comity::tcp {
namespace {

using conformance::Recorder;

constexpr uint64_t kCommunicator = 0xABCDEF0012345678u;

TransportContext context_of(uint32_t rank, uint32_t nranks, uint8_t secret = 1) {
  TransportContext context;
  context.rank = rank;
  context.nranks = nranks;
  context.communicator = kCommunicator;
  context.secret.fill(static_cast<std::byte>(secret));
  return context;
}

std::unique_ptr<Transport> make(const TransportContext& context) {
  ::setenv("COMITY_SOCKET_ADDRESS", "127.0.0.1", 1);
  auto made = make_tcp_transport(context);
  ::unsetenv("COMITY_SOCKET_ADDRESS");
  EXPECT_TRUE(made.ok()) << made.status().message();
  return std::move(made).value();
}

SocketAddress listener_of(const Transport& transport) {
  return decode(transport.address())->rails[0].address;
}

void meet(Transport& a, uint32_t rank_a, Transport& b, uint32_t rank_b) {
  ASSERT_TRUE(a.reach(rank_b, b.address()).ok());
  ASSERT_TRUE(b.reach(rank_a, a.address()).ok());
}

Endpoint& endpoint_of(Transport& transport, uint32_t peer) {
  return *(*transport.endpoints(peer))[0];
}

SegmentHeader header_of(uint64_t number, uint32_t length) {
  SegmentHeader header;
  header.number = number;
  header.length = length;
  header.communicator = static_cast<uint32_t>(kCommunicator);
  return header;
}

bool wait_until(const std::function<bool()>& finished, uint64_t limit_ms = 20'000) {
  const Deadline deadline = Deadline::after_ms(limit_ms);
  while (!finished()) {
    if (deadline.passed()) return false;
  }
  return true;
}

// A blocking connection that has not said anything.
UniqueFd call(const SocketAddress& to) {
  UniqueFd fd(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.length), 0);
  return fd;
}

// True once the other side closed the connection.
bool is_closed(int fd) {
  std::byte byte;
  const ssize_t n = ::recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
  return n == 0 || (n < 0 && errno != EAGAIN);
}

// --- strangers ---------------------------------------------------------------------------------------------

TEST(TcpFaults, SilentAndGarbageConnectionsStallNobody) {
  auto first = make(context_of(0, 2));
  auto second = make(context_of(1, 2));
  meet(*first, 0, *second, 1);
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 40; ++i) silent.push_back(call(listener_of(*first)));
  std::vector<UniqueFd> noisy;
  const std::vector<std::byte> garbage(1000, std::byte{0x47});
  for (int i = 0; i < 40; ++i) {
    noisy.push_back(call(listener_of(*first)));
    EXPECT_EQ(::send(noisy.back().get(), garbage.data(), garbage.size(), MSG_NOSIGNAL), 1000);
  }
  Endpoint& out = endpoint_of(*second, 0);
  Endpoint& in = endpoint_of(*first, 1);
  Recorder recorder;
  Recorder unused;
  const auto payload = conformance::payload_of(0, 0, 100);
  const uint64_t start_ns = now_ns();
  bool sent = false;
  EXPECT_TRUE(wait_until([&] {
    EXPECT_TRUE(first->progress().ok());
    EXPECT_TRUE(second->progress().ok());
    sent = sent || out.try_send(header_of(0, 100), payload.data());
    in.progress(recorder);
    out.progress(unused);
    return !recorder.arrivals.empty();
  }));
  EXPECT_LT(now_ns() - start_ns, 4'000'000'000u) << "a stranger delayed the peer";
  for (const UniqueFd& fd : noisy) {
    EXPECT_TRUE(wait_until([&] { return first->progress().ok() && is_closed(fd.get()); }));
  }
  for (const UniqueFd& fd : silent) {  // until the deadline of handshakes
    EXPECT_TRUE(wait_until([&] { return first->progress().ok() && is_closed(fd.get()); }));
  }
  EXPECT_TRUE(in.status().ok()) << in.status().message();
}

TEST(TcpFaults, MoreSilentConnectionsThanPlacesDoNotKeepAPeerOut) {
  auto first = make(context_of(0, 2));
  auto second = make(context_of(1, 2));
  meet(*first, 0, *second, 1);
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 140; ++i) silent.push_back(call(listener_of(*first)));
  Endpoint& in = endpoint_of(*first, 1);
  Endpoint& out = endpoint_of(*second, 0);
  EXPECT_TRUE(wait_until([&] {
    EXPECT_TRUE(first->progress().ok());
    EXPECT_TRUE(second->progress().ok());
    return in.describe().find("not connected") == std::string::npos &&
           out.describe().find("not connected") == std::string::npos;
  }));
}

TEST(TcpFaults, AnotherSecretIsRefusedAndTheReasonTold) {
  ::setenv("COMITY_INIT_TIMEOUT_MS", "300", 1);
  auto first = make(context_of(0, 2, 1));
  auto second = make(context_of(1, 2, 2));
  ::unsetenv("COMITY_INIT_TIMEOUT_MS");
  meet(*first, 0, *second, 1);
  Endpoint& in = endpoint_of(*first, 1);
  Endpoint& out = endpoint_of(*second, 0);
  EXPECT_TRUE(wait_until([&] {
    EXPECT_TRUE(first->progress().ok());
    EXPECT_TRUE(second->progress().ok());
    return !out.status().ok();
  }));
  EXPECT_NE(out.status().message().find("secret"), std::string::npos) << out.status().message();
  EXPECT_NE(out.status().message().find("rank 0"), std::string::npos) << out.status().message();
  EXPECT_NE(in.describe().find("not connected"), std::string::npos);
}

TEST(TcpFaults, AnUnreachableListenerEndsInATimeoutThatNamesIt) {
  ::setenv("COMITY_INIT_TIMEOUT_MS", "200", 1);
  auto first = make(context_of(0, 2));
  auto second = make(context_of(1, 2));
  ::unsetenv("COMITY_INIT_TIMEOUT_MS");
  meet(*first, 0, *second, 1);
  const std::string address = listener_of(*first).text();
  first.reset();
  Endpoint& out = endpoint_of(*second, 0);
  EXPECT_TRUE(wait_until([&] { return second->progress().ok() && !out.status().ok(); }));
  EXPECT_EQ(out.status().code(), Code::kTimeout);
  EXPECT_NE(out.status().message().find(address), std::string::npos) << out.status().message();
}

// The proven connection of a peer that breaks the protocol afterwards.
class TcpRoguePeer : public testing::Test {
 protected:
  void SetUp() override {
    transport_ = make(context_of(0, 3));
    auto peer = make(context_of(1, 3));
    ASSERT_TRUE(transport_->reach(1, peer->address()).ok());
    endpoint_ = &endpoint_of(*transport_, 1);
  }
  // Connects and proves the secret with this hello; true if the transport took the connection.
  bool connect(const HandshakeHello& hello) {
    socket_ = call(listener_of(*transport_));
    Handshake handshake =
        Handshake::initiate(socket_.get(), context_of(1, 3).secret, hello, Deadline::after_ms(10'000));
    EXPECT_TRUE(wait_until([&] {
      EXPECT_TRUE(transport_->progress().ok());
      const auto state = handshake.poll();
      EXPECT_TRUE(state.ok()) << state.status().message();
      return !state.ok() || *state == Handshake::State::kDone;
    }));
    EXPECT_TRUE(wait_until([&] {
      EXPECT_TRUE(transport_->progress().ok());
      return endpoint_->describe().find("not connected") == std::string::npos || is_closed(socket_.get());
    }));
    return !is_closed(socket_.get());
  }
  static HandshakeHello hello() { return {SocketRole::kData, 0, 1, 0, 0, kCommunicator}; }
  void send(const void* bytes, size_t size) {
    EXPECT_EQ(::send(socket_.get(), bytes, size, MSG_NOSIGNAL), static_cast<ssize_t>(size));
  }
  std::string failure() {
    EXPECT_TRUE(wait_until([&] {
      endpoint_->progress(recorder_);
      return !endpoint_->status().ok();
    }));
    EXPECT_EQ(endpoint_->status().code(), Code::kRemoteError);
    return std::string(endpoint_->status().message());
  }

  std::unique_ptr<Transport> transport_;
  Endpoint* endpoint_ = nullptr;
  UniqueFd socket_;
  Recorder recorder_;
};

TEST_F(TcpRoguePeer, AHelloThatDoesNotFitIsRefusedThoughItKnowsTheSecret) {
  for (const auto& spoil : std::vector<std::function<void(HandshakeHello&)>>{
           [](HandshakeHello& h) { h.role = SocketRole::kTree; }, [](HandshakeHello& h) { h.epoch = 1; },
           [](HandshakeHello& h) { h.rank = 0; }, [](HandshakeHello& h) { h.rank = 3; },
           [](HandshakeHello& h) { h.rank = UINT32_MAX; }, [](HandshakeHello& h) { h.peer_rank = 2; },
           [](HandshakeHello& h) { h.detail = 1; }, [](HandshakeHello& h) { h.detail = UINT64_MAX; },
           [](HandshakeHello& h) { h.communicator = 5; }}) {
    HandshakeHello bad = hello();
    spoil(bad);
    EXPECT_FALSE(connect(bad));
  }
  EXPECT_TRUE(connect(hello()));
}

// What comes on the first is read until the peer says that it was all.
TEST_F(TcpRoguePeer, ASecondConnectionTakesTheFirstsPlaceAndLosesNothing) {
  ASSERT_TRUE(connect(hello()));
  const UniqueFd first = std::move(socket_);
  ASSERT_TRUE(connect(hello()));
  SegmentHeader header = header_of(0, 3);
  EXPECT_EQ(::send(first.get(), &header, sizeof(header), MSG_NOSIGNAL), static_cast<ssize_t>(sizeof(header)));
  EXPECT_EQ(::send(first.get(), "abc", 3, MSG_NOSIGNAL), 3);
  EXPECT_TRUE(wait_until([&] {
    EXPECT_TRUE(transport_->progress().ok());
    endpoint_->progress(recorder_);
    return recorder_.arrivals.size() == 1;
  }));
  EXPECT_TRUE(endpoint_->status().ok()) << endpoint_->status().message();
  SegmentHeader heard;  // its farewell
  EXPECT_EQ(::recv(first.get(), &heard, sizeof(heard), MSG_WAITALL), static_cast<ssize_t>(sizeof(heard)));
  EXPECT_EQ(::recv(first.get(), &heard, sizeof(heard), MSG_WAITALL), 0);
  EXPECT_FALSE(is_closed(socket_.get()));
}

TEST_F(TcpRoguePeer, GarbageAfterTheHandshakeFailsTheEndpointByName) {
  ASSERT_TRUE(connect(hello()));
  const std::vector<std::byte> garbage(500, std::byte{0x7f});
  send(garbage.data(), garbage.size());
  const std::string message = failure();
  EXPECT_NE(message.find("rank 1"), std::string::npos) << message;
  EXPECT_NE(message.find("kind"), std::string::npos) << message;
  EXPECT_NE(message.find("127.0.0.1:"), std::string::npos) << message;
}

TEST_F(TcpRoguePeer, ALengthBeyondTheSegmentFailsBeforeAnyMemoryIsAskedFor) {
  ASSERT_TRUE(connect(hello()));
  SegmentHeader header = header_of(0, UINT32_MAX);
  send(&header, sizeof(header));
  EXPECT_NE(failure().find("4294967295"), std::string::npos);
  EXPECT_TRUE(recorder_.arrivals.empty());
}

TEST_F(TcpRoguePeer, AnEndInTheMiddleOfASegmentSaysSo) {
  ASSERT_TRUE(connect(hello()));
  SegmentHeader header = header_of(0, 1000);
  send(&header, sizeof(header));
  send("abc", 3);
  socket_.reset();
  const std::string message = failure();
  EXPECT_NE(message.find("middle of a segment"), std::string::npos) << message;
}

TEST_F(TcpRoguePeer, AResetIsAnErrorAndRaisesNoSignal) {
  ASSERT_TRUE(connect(hello()));
  const linger now{1, 0};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  socket_.reset();
  const std::vector<std::byte> payload(512 * 1024);
  for (uint64_t n = 0; n < 3; ++n) (void)endpoint_->try_send(header_of(n, 512 * 1024), payload.data());
  EXPECT_NE(failure().find("rank 1"), std::string::npos);
}

TEST_F(TcpRoguePeer, WhatAPeerSentBeforeItLeftStillArrives) {
  ASSERT_TRUE(connect(hello()));
  for (uint64_t n = 0; n < 5; ++n) {
    SegmentHeader header = header_of(n, 8);
    send(&header, sizeof(header));
    send("12345678", 8);
  }
  socket_.reset();
  failure();
  EXPECT_EQ(recorder_.arrivals.size(), 5u);
}

// --- small kernel buffers ----------------------------------------------------------------------------------

// Two endpoints joined by a connection whose kernel buffers hold next to nothing.
struct TinyPair {
  TinyPair() {
    auto listener = listen_on(*SocketAddress::parse("127.0.0.1"), 1);
    EXPECT_TRUE(listener.ok());
    const int tiny = 16 * 1024;  // smaller ones make the kernel wait for its timers
    ::setsockopt(listener->get(), SOL_SOCKET, SO_RCVBUF, &tiny, sizeof(tiny));
    ::setsockopt(listener->get(), SOL_SOCKET, SO_SNDBUF, &tiny, sizeof(tiny));
    auto dialed = connect_to(local_address_of(listener->get()), nullptr);
    EXPECT_TRUE(dialed.ok());
    ::setsockopt(dialed->get(), SOL_SOCKET, SO_RCVBUF, &tiny, sizeof(tiny));
    ::setsockopt(dialed->get(), SOL_SOCKET, SO_SNDBUF, &tiny, sizeof(tiny));
    UniqueFd accepted;
    EXPECT_TRUE(wait_until([&] {
      auto taken = accept_from(listener->get());
      if (taken.ok()) accepted = std::move(taken).value();
      return accepted.valid();
    }));
    a.attach(std::move(dialed).value());
    b.attach(std::move(accepted));
  }
  static EndpointConfig config(uint32_t peer) {
    EndpointConfig made;
    made.peer = peer;
    made.interface = "lo";
    made.traits.segment_bytes = 256 * 1024;
    made.limits = {256 * 1024, 0};
    return made;
  }
  TcpEndpoint a{config(1)};
  TcpEndpoint b{config(0)};
};

TEST(TcpPartial, SegmentsSurviveReadsAndWritesInSmallParts) {
  TinyPair pair;
  Recorder at_a;
  Recorder at_b;
  const std::vector<uint32_t> sizes = {256 * 1024, 1, 8, 100'000, 0, 47, 256 * 1024 - 1, 30'000};
  std::vector<std::vector<std::byte>> payloads;
  for (size_t n = 0; n < sizes.size(); ++n) payloads.push_back(conformance::payload_of(0, n, sizes[n]));
  size_t from_a = 0;
  size_t from_b = 0;
  bool was_refused = false;
  EXPECT_TRUE(wait_until([&] {
    for (auto [endpoint, next] : {std::pair(&pair.a, &from_a), std::pair(&pair.b, &from_b)}) {
      if (*next == sizes.size()) continue;
      const bool taken = endpoint->try_send(header_of(*next, sizes[*next]), payloads[*next].data());
      was_refused |= !taken;
      *next += taken ? 1 : 0;
      EXPECT_LE(endpoint->transmitted(), *next);
    }
    pair.a.progress(at_a);
    pair.b.progress(at_b);
    return at_a.arrivals.size() == sizes.size() && at_b.arrivals.size() == sizes.size();
  }));
  ASSERT_EQ(at_a.arrivals.size(), sizes.size());
  ASSERT_EQ(at_b.arrivals.size(), sizes.size());
  EXPECT_TRUE(was_refused) << "the buffers were not small enough to test anything";
  EXPECT_EQ(pair.a.transmitted(), sizes.size());
  for (size_t n = 0; n < sizes.size(); ++n) {
    EXPECT_EQ(at_a.arrivals[n].payload, payloads[n]) << n;
    EXPECT_EQ(at_b.arrivals[n].payload, payloads[n]) << n;
  }
}

TEST(TcpPartial, NothingIsTransmittedWhileThePeerDoesNotRead) {
  TinyPair pair;
  const std::vector<std::byte> payload(256 * 1024);
  Recorder unused;
  ASSERT_TRUE(pair.a.try_send(header_of(0, 256 * 1024), payload.data()));
  for (int i = 0; i < 1000; ++i) pair.a.progress(unused);
  EXPECT_EQ(pair.a.transmitted(), 0u);
  EXPECT_FALSE(pair.a.try_send(header_of(1, 8), payload.data()));
  EXPECT_TRUE(pair.a.status().ok());
}

// --- settings ----------------------------------------------------------------------------------------------

TEST(TcpSettings, WrongOnesAreRefusedByName) {
  const auto message_with = [](const char* name, const char* value) {
    ::setenv(name, value, 1);
    ::setenv("COMITY_SOCKET_IFNAME", "=lo", 0);
    const auto made = make_tcp_transport(context_of(0, 2));
    ::unsetenv("COMITY_SOCKET_IFNAME");
    ::unsetenv(name);
    EXPECT_EQ(made.status().code(), Code::kInvalidArgument);
    return std::string(made.status().message());
  };
  EXPECT_NE(message_with("COMITY_TCP_CONNECTIONS", "0").find("COMITY_TCP_CONNECTIONS"), std::string::npos);
  EXPECT_NE(message_with("COMITY_TCP_CONNECTIONS", "17").find("COMITY_TCP_CONNECTIONS"), std::string::npos);
  EXPECT_NE(message_with("COMITY_TCP_CONNECTIONS", "two").find("COMITY_TCP_CONNECTIONS"), std::string::npos);
  EXPECT_NE(message_with("COMITY_TCP_CONGESTION", "no_such").find("no_such"), std::string::npos);
  EXPECT_NE(message_with("COMITY_SOCKET_IFNAME", "=nothing9").find("nothing9"), std::string::npos);
}

}  // namespace
}  // namespace comity::tcp
