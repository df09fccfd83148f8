// Connections that are given up when nothing goes over them, and made anew when something does; and peers
// that are reached while they make no call.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "src/base/clock.h"
#include "src/control/background.h"
#include "src/control/control.h"
#include "tests/conformance/transport_party.h"
#include "tests/support/spawn.h"
#include "transports/tcp/rails.h"
#include "transports/tcp/tcp_transport.h"

namespace comity::tcp {
namespace {

using conformance::Recorder;
using test::ScopedEnv;

constexpr uint32_t kBytes = 1000;

bool wait_until(const std::function<bool()>& finished, uint64_t limit_ms = 20'000) {
  const Deadline deadline = Deadline::after_ms(limit_ms);
  while (!finished()) {
    if (deadline.passed()) return false;
  }
  return true;
}

// Connected sockets over the loopback among this process's descriptors, for which `counts(descriptor)`.
template <typename Counts>
size_t connections(Counts counts) {
  size_t count = 0;
  for (int fd = 3; fd < 1024; ++fd) {
    sockaddr_storage peer{};
    socklen_t length = sizeof(peer);
    const bool connected = ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) == 0;
    if (connected && peer.ss_family == AF_INET && counts(fd)) ++count;
  }
  return count;
}

size_t connections() {
  return connections([](int) { return true; });
}

// One of two ranks, with what it has sent and received.
class Rank {
 public:
  Rank(uint32_t rank, control::LoopBackground* background) : rank_(rank) {
    TransportContext context;
    context.rank = rank;
    context.nranks = 2;
    context.communicator = 77;
    context.secret.fill(std::byte{9});
    context.background = background;
    context.connections = &keeper_;
    const ScopedEnv address("COMITY_SOCKET_ADDRESS", "127.0.0.1");
    auto made = make_tcp_transport(context);
    EXPECT_TRUE(made.ok()) << made.status().message();
    transport_ = std::move(made).value();
  }

  void reach(const Rank& other) { reach(other.transport_->address()); }
  void reach(const std::vector<std::byte>& address) {
    EXPECT_TRUE(transport_->reach(1 - rank_, address).ok());
  }
  Endpoint& endpoint() { return *(*transport_->endpoints(1 - rank_))[0]; }
  // Whether the next segment was accepted.
  bool send() {
    payload_.assign(kBytes, static_cast<std::byte>(sent_ % 251));
    SegmentHeader header;
    header.number = sent_;
    header.length = kBytes;
    if (!endpoint().try_send(header, payload_.data())) return false;
    EXPECT_TRUE(wait_until([&] { return step(), endpoint().transmitted() > sent_; }));
    ++sent_;
    return true;
  }
  void step() {
    EXPECT_TRUE(transport_->progress().ok());
    endpoint().progress(recorder_);
    EXPECT_TRUE(endpoint().status().ok()) << endpoint().status().message();
  }
  uint64_t sent() const { return sent_; }
  // Each of those numbers came once, with what it was sent with.
  bool received_all(uint64_t count) const {
    std::set<uint64_t> numbers;
    for (const auto& [header, payload] : recorder_.arrivals) {
      EXPECT_TRUE(numbers.insert(header.number).second) << header.number << " came twice";
      EXPECT_EQ(payload, std::vector<std::byte>(kBytes, static_cast<std::byte>(header.number % 251)));
    }
    return numbers.size() == count;
  }
  size_t arrivals() const { return recorder_.arrivals.size(); }
  Transport& transport() { return *transport_; }
  std::unique_ptr<Transport> take() { return std::move(transport_); }

 private:
  struct Keeper final : ConnectionKeeper {
    void keep(int socket, std::span<const std::byte> unsent) override {
      control::finish_connection(UniqueFd(socket), {unsent.begin(), unsent.end()});
    }
  };
  Keeper keeper_;
  uint32_t rank_;
  std::unique_ptr<Transport> transport_;
  std::vector<std::byte> payload_;
  uint64_t sent_ = 0;
  Recorder recorder_;
};

struct Pair {
  using Address = std::vector<std::byte>;
  explicit Pair(
      const char* idle_ms,
      const std::function<Address(Address)>& seen = [](Address address) { return address; })
      : idle("COMITY_IDLE_CLOSE_MS", idle_ms), lower(0, &background), higher(1, &background) {
    lower.reach(seen(higher.transport().address()));
    higher.reach(lower);
  }
  void step() {
    lower.step();
    higher.step();
  }
  void exchange(uint64_t count) {
    const uint64_t before = lower.arrivals();
    EXPECT_TRUE(wait_until([&] {
      step();
      if (higher.sent() < before + count) higher.send();
      if (lower.sent() < before + count) lower.send();
      return lower.arrivals() == before + count && higher.arrivals() == before + count;
    }));
  }

  control::LoopBackground background;
  ScopedEnv idle;
  Rank lower, higher;
};

TEST(TcpIdlePair, IsClosedByBothEndsAndConnectedAnewWhenItIsNeeded) {
  const size_t before = connections();
  Pair pair("40");
  for (int round = 1; round <= 5; ++round) {
    pair.exchange(20);
    EXPECT_GT(connections(), before);
    EXPECT_TRUE(wait_until([&] { return pair.step(), connections() == before; })) << "round " << round;
  }
  EXPECT_TRUE(pair.lower.received_all(100));
  EXPECT_TRUE(pair.higher.received_all(100));
}

TEST(TcpIdlePair, LosesNothingHoweverSendsAndFarewellsMeet) {
  Pair pair("1");
  static_cast<void>(pair.lower.endpoint());
  static_cast<void>(pair.higher.endpoint());
  constexpr uint64_t kSegments = 400;
  const auto work = [](Rank& rank, uint32_t seed) {
    std::mt19937 random(seed);
    uint64_t next_ns = 0;
    EXPECT_TRUE(wait_until([&] {
      rank.step();
      if (rank.sent() < kSegments && now_ns() >= next_ns && rank.send())
        next_ns = now_ns() + random() % 4 * 1'000'000u;
      return rank.sent() == kSegments && rank.arrivals() == kSegments;
    }));
  };
  std::thread other(work, std::ref(pair.lower), 1);
  work(pair.higher, 2);
  other.join();
  EXPECT_TRUE(pair.lower.received_all(kSegments));
  EXPECT_TRUE(pair.higher.received_all(kSegments));
}

// It makes no call at all until the segment was sent.
TEST(TcpIdlePair, ALowerRankReachesAHigherOneThatMakesNoCall) {
  Pair pair("0");
  EXPECT_TRUE(wait_until([&] { return pair.lower.step(), pair.lower.send(); }));
  EXPECT_TRUE(wait_until([&] { return pair.step(), pair.higher.arrivals() == 1; }));
  pair.exchange(10);
}

TEST(TcpIdlePair, AHigherRankReachesALowerOneThatMakesNoCall) {
  Pair pair("0");
  EXPECT_TRUE(wait_until([&] { return pair.higher.step(), pair.higher.send(); }));
  EXPECT_TRUE(wait_until([&] { return pair.step(), pair.lower.arrivals() == 1; }));
}

// As behind a firewall: the lower rank's connections come nowhere.
TEST(TcpIdlePair, IsConnectedAnewByTheOneThatCanWhereTheOtherWaits) {
  const size_t before = connections();
  Pair pair("40", [](std::vector<std::byte> address) {
    RankAddress elsewhere = *decode(address);
    for (RailAddress& rail : elsewhere.rails) rail.address.set_port(1);
    return encode(elsewhere);
  });
  pair.exchange(5);
  ASSERT_TRUE(wait_until([&] { return pair.step(), connections() == before; }));
  const uint64_t arrived = pair.higher.arrivals();
  EXPECT_TRUE(wait_until([&] {
    pair.step();
    if (pair.lower.sent() == arrived) pair.lower.send();
    return pair.higher.arrivals() == arrived + 1;
  }));
}

// Segments of any length and number, of which several may be on their way at once.
class Pieces final : public SegmentSink {
 public:
  std::byte* place(const SegmentHeader& header) override {
    auto& piece = pieces_[header.number];
    piece.resize(header.length);
    return piece.data();
  }
  bool arrived(const SegmentHeader& header, const std::byte* payload) override {
    std::byte* piece = place(header);
    if (payload != piece) std::memcpy(piece, payload, header.length);
    ++count_;
    return true;
  }
  uint64_t count() const { return count_; }
  bool all_hold(std::byte value) const {
    return std::all_of(pieces_.begin(), pieces_.end(), [value](const auto& each) {
      return std::all_of(each.second.begin(), each.second.end(),
                         [value](std::byte one) { return one == value; });
    });
  }

 private:
  std::map<uint64_t, std::vector<std::byte>> pieces_;
  uint64_t count_ = 0;
};

// Both ends of a pair of which the higher rank has given the connection up while the lower one made no call.
class TcpHalfRetired : public testing::Test {
 protected:
  void SetUp() override {
    pair.exchange(3);
    ASSERT_TRUE(wait_until([&] { return pair.higher.step(), half_closed(); }));
  }
  // Whether a connection of this process has heard that nothing follows on it.
  static bool half_closed() {
    return connections([](int fd) {
             pollfd polled{fd, POLLRDHUP, 0};
             return ::poll(&polled, 1, 0) == 1 && (polled.revents & POLLRDHUP) != 0;
           }) > 0;
  }
  // Whether the segment was accepted.
  bool send(uint64_t number, uint32_t bytes) {
    SegmentHeader header;
    header.number = number;
    header.length = bytes;
    return below().try_send(header, payload.data());
  }
  void step_below() {
    EXPECT_TRUE(pair.lower.transport().progress().ok());
    below().progress(received_below);
  }
  void step_above() {
    EXPECT_TRUE(pair.higher.transport().progress().ok());
    above().progress(received);
  }
  Endpoint& below() { return pair.lower.endpoint(); }
  Endpoint& above() { return pair.higher.endpoint(); }

  Pair pair{"20"};
  const std::vector<std::byte> payload{512 * 1024, std::byte{0x5a}};
  Pieces received, received_below;
};

TEST_F(TcpHalfRetired, SegmentsThatAreHalfSentWhenTheFarewellIsHeardArrive) {
  uint64_t accepted = 0;
  while (send(accepted, 512 * 1024)) ++accepted;  // the last one is not out
  ASSERT_GT(accepted, 1u);
  for (int i = 0; i < 10; ++i) step_below();
  EXPECT_TRUE(wait_until([&] { return step_below(), step_above(), received.count() == accepted; }));
  EXPECT_TRUE(below().status().ok()) << below().status().message();
  EXPECT_TRUE(above().status().ok()) << above().status().message();
  EXPECT_TRUE(received.all_hold(std::byte{0x5a}));
  EXPECT_TRUE(wait_until([&] { return step_below(), step_above(), send(accepted, 8); }));
  EXPECT_TRUE(wait_until([&] { return step_below(), step_above(), received.count() == accepted + 1; }));
}

TEST_F(TcpHalfRetired, WhatAPeerSentOnEitherConnectionBeforeItLeftArrives) {
  ASSERT_TRUE(send(0, 400'000));
  const uint64_t before = pair.lower.sent();
  EXPECT_TRUE(wait_until([&] { return step_below(), below().transmitted() == before + 1; }));
  EXPECT_TRUE(wait_until([&] { return step_below(), send(1, 8); }));
  EXPECT_TRUE(wait_until([&] { return step_below(), below().transmitted() == before + 2; }));
  pair.lower.take().reset();
  EXPECT_TRUE(wait_until([&] { return step_above(), !above().status().ok(); }));
  EXPECT_EQ(received.count(), 2u);
  EXPECT_TRUE(above().ended()) << above().status().message();
}

TEST(TcpIdlePair, APeerThatIsGoneIsAnErrorWhenItIsNeededAgain) {
  const ScopedEnv patience("COMITY_INIT_TIMEOUT_MS", "300");
  const size_t before = connections();
  Pair pair("20");
  pair.exchange(3);
  ASSERT_TRUE(wait_until([&] { return pair.step(), connections() == before; }));
  pair.higher.take().reset();
  Endpoint& endpoint = pair.lower.endpoint();
  Recorder recorder;
  const std::vector<std::byte> payload(kBytes);
  SegmentHeader header;
  header.number = 3;
  header.length = kBytes;
  EXPECT_TRUE(wait_until([&] {
    static_cast<void>(endpoint.try_send(header, payload.data()));
    static_cast<void>(pair.lower.transport().progress());
    endpoint.progress(recorder);
    return !endpoint.status().ok();
  }));
  EXPECT_NE(endpoint.status().message().find("rank 1"), std::string::npos) << endpoint.status().message();
}

}  // namespace
}  // namespace comity::tcp
