// Leaving in order loses nothing: what was handed to a connection arrives, however late and slowly the peer
// reads, and whatever it sends meanwhile.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <vector>

#include "src/base/clock.h"
#include "src/base/drain.h"
#include "src/base/socket.h"
#include "src/control/control.h"
#include "tests/conformance/transport_party.h"
#include "transports/tcp/tcp_endpoint.h"

namespace comity::tcp {
namespace {

using conformance::Recorder;

constexpr uint32_t kSegmentBytes = 64 * 1024;
constexpr uint32_t kCommunicator = 7;
constexpr auto kFarBeyondAnyLinger = std::chrono::milliseconds(200);

bool wait_until(const std::function<bool()>& finished, uint64_t limit_ms = 60'000) {
  const Deadline deadline = Deadline::after_ms(limit_ms);
  while (!finished()) {
    if (deadline.passed()) return false;
  }
  return true;
}

// A connection over the loopback whose receiver's system holds little and whose sender's holds much.
struct Connection {
  Connection() {
    auto listener = listen_on(*SocketAddress::parse("127.0.0.1"), 1);
    EXPECT_TRUE(listener.ok());
    const int little = 16 * 1024;
    const int much = 1024 * 1024;
    ::setsockopt(listener->get(), SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
    auto dialed = connect_to(local_address_of(listener->get()), nullptr);
    EXPECT_TRUE(dialed.ok());
    ::setsockopt(dialed->get(), SOL_SOCKET, SO_SNDBUF, &much, sizeof(much));
    sender = std::move(dialed).value();
    EXPECT_TRUE(wait_until([&] {
      auto taken = accept_from(listener->get());
      if (taken.ok()) receiver = std::move(taken).value();
      return receiver.valid();
    }));
  }
  UniqueFd sender, receiver;
};

EndpointConfig config_of(uint32_t peer, ConnectionKeeper* keeper = nullptr) {
  EndpointConfig config;
  config.peer = peer;
  config.interface = "lo";
  config.traits.segment_bytes = kSegmentBytes;
  config.limits = {kSegmentBytes, 0};
  config.keeper = keeper;
  return config;
}

SegmentHeader header_of(uint64_t number, uint32_t length, SegmentKind kind = SegmentKind::kData) {
  SegmentHeader header;
  header.kind = kind;
  header.number = number;
  header.length = length;
  header.communicator = kCommunicator;
  return header;
}

// Sends segments until the system takes no more of them whole; returns how many it has.
uint64_t fill(TcpEndpoint& endpoint) {
  std::vector<std::vector<std::byte>> payloads;
  Recorder unused;
  const auto send_one = [&](uint64_t number) {
    payloads.push_back(conformance::payload_of(0, number, kSegmentBytes));
    if (!endpoint.try_send(header_of(number, kSegmentBytes), payloads.back().data())) return false;
    return endpoint.transmitted() == number + 1;
  };
  // Far less than the sender's system holds, far more than the receiver's.
  uint64_t sent = 0;
  while (sent < 10 && send_one(sent)) ++sent;
  EXPECT_EQ(endpoint.transmitted(), 10u) << "the sender's system holds too little for this test";
  return sent;
}

// Reads everything, acknowledging each segment as an engine does, until the peer's stream ends.
void read_all(TcpEndpoint& endpoint, uint64_t expected) {
  Recorder recorder;
  size_t acknowledged = 0;
  EXPECT_TRUE(wait_until([&] {
    endpoint.progress(recorder);
    if (acknowledged < recorder.arrivals.size()) {
      acknowledged += endpoint.try_send(header_of(0, 0, SegmentKind::kDone), nullptr) ? 1 : 0;
    }
    return !endpoint.status().ok();
  }));
  EXPECT_TRUE(endpoint.ended()) << endpoint.status().message();
  ASSERT_EQ(recorder.arrivals.size(), expected) << endpoint.status().message();
  for (uint64_t n = 0; n < expected; ++n) {
    EXPECT_EQ(recorder.arrivals[n].payload, conformance::payload_of(0, n, kSegmentBytes)) << n;
  }
}

TEST(TcpLeaving, AnEndpointWithoutAKeeperWaitsForALateReader) {
  Connection connection;
  auto leaver = std::make_unique<TcpEndpoint>(config_of(1));
  TcpEndpoint reader(config_of(0));
  leaver->attach(std::move(connection.sender));
  reader.attach(std::move(connection.receiver));
  const uint64_t sent = fill(*leaver);
  auto left = std::async(std::launch::async, [&] { leaver.reset(); });
  EXPECT_EQ(left.wait_for(kFarBeyondAnyLinger), std::future_status::timeout)
      << "it did not wait for what the peer's system has not taken";
  read_all(reader, sent);
  left.get();
}

class ControlKeeper final : public ConnectionKeeper {
 public:
  void keep(int socket, std::span<const std::byte> unsent) override {
    control::finish_connection(UniqueFd(socket), Bytes(unsent.begin(), unsent.end()));
  }
};

TEST(TcpLeaving, TheControlThreadKeepsTheConnectionForALateReaderAndNobodyWaits) {
  ControlKeeper keeper;
  Connection connection;
  auto leaver = std::make_unique<TcpEndpoint>(config_of(1, &keeper));
  TcpEndpoint reader(config_of(0));
  leaver->attach(std::move(connection.sender));
  reader.attach(std::move(connection.receiver));
  const uint64_t sent = fill(*leaver);
  const uint64_t began_ns = now_ns();
  leaver.reset();
  EXPECT_LT(now_ns() - began_ns, 1'000'000'000u);
  // Acknowledgements come all the while, and a first one lies unread when the connection is handed over.
  EXPECT_TRUE(reader.try_send(header_of(0, 0, SegmentKind::kDone), nullptr));
  read_all(reader, sent);
}

// An acknowledgement that found no room is finished by who keeps the connection: the peer's stream ends
// between two segments.
TEST(TcpLeaving, AnAcknowledgementCutInTwoIsCompleted) {
  Connection connection;
  const SegmentHeader header = header_of(0, 0, SegmentKind::kDone);
  const auto* bytes = reinterpret_cast<const std::byte*>(&header);
  TcpEndpoint reader(config_of(0));
  reader.attach(std::move(connection.receiver));
  ASSERT_EQ(::send(connection.sender.get(), bytes, 20, MSG_NOSIGNAL), 20);
  control::finish_connection(std::move(connection.sender), Bytes(bytes + 20, bytes + sizeof(header)));
  Recorder recorder;
  EXPECT_TRUE(wait_until([&] {
    reader.progress(recorder);
    return !reader.status().ok();
  }));
  EXPECT_TRUE(reader.ended()) << reader.status().message();
}

TEST(Drain, TellsWhenNothingCanBeLostAndWhenThePeerEnded) {
  Connection connection;
  const std::vector<std::byte> much(512 * 1024);
  Drain drain(std::move(connection.sender), much);
  EXPECT_EQ(drain.step(now_ns()), Drain::State::kSending);
  std::vector<std::byte> buffer(much.size());
  size_t got = 0;
  EXPECT_TRUE(wait_until([&] {
    const ssize_t n = ::recv(connection.receiver.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n > 0) got += static_cast<size_t>(n);
    return drain.step(now_ns()) == Drain::State::kAcknowledged;
  }));
  EXPECT_TRUE(wait_until([&] {
    const ssize_t n = ::recv(connection.receiver.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n > 0) got += static_cast<size_t>(n);
    return n == 0;
  }));
  EXPECT_EQ(got, much.size());
  connection.receiver.reset();
  EXPECT_TRUE(wait_until([&] { return drain.step(now_ns()) == Drain::State::kOver; }));
}

TEST(Drain, APeerThatNeverReadsIsGivenUpWhenNothingMoves) {
  Connection connection;
  const uint64_t began_ns = now_ns();
  drain_and_close(Drain(std::move(connection.sender), std::vector<std::byte>(512 * 1024)), 100);
  EXPECT_GE(now_ns() - began_ns, 100'000'000u);
  EXPECT_LT(now_ns() - began_ns, 20'000'000'000u);
}

}  // namespace
}  // namespace comity::tcp
