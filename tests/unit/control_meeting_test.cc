// Joins that go wrong: missing, duplicate and contradicting ranks, damaged ids, strangers on the port.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <latch>
#include <random>
#include <string>

#include "src/base/socket.h"
#include "src/control/unique_id.h"
#include "src/control/visit_call.h"
#include "tests/support/control_ranks.h"

namespace comity::control {
namespace {

using testing::eventually;
using testing::for_each_rank;
using testing::join_options;

// The error of each rank's join, by index; ranks[i] of nranks[i].
struct Attempt {
  uint32_t rank = 0;
  uint32_t nranks = 1;
  uint64_t within_ms = 20'000;
};
std::vector<Status> join_each(const UniqueId& id, const std::vector<Attempt>& attempts) {
  std::vector<Status> statuses(attempts.size());
  std::vector<std::unique_ptr<Session>> kept(attempts.size());
  for_each_rank(static_cast<uint32_t>(attempts.size()), [&](uint32_t i) {
    auto session =
        Session::join(join_options(id, attempts[i].rank, attempts[i].nranks, attempts[i].within_ms));
    if (session.ok()) {
      kept[i] = std::move(session).value();
    } else {
      statuses[i] = session.status();
    }
  });
  return statuses;
}

bool contains(const Status& status, const std::string& text) {
  return std::string(status.message()).find(text) != std::string::npos;
}

UniqueId new_id() {
  auto id = create_unique_id();
  EXPECT_TRUE(id.ok()) << id.status().message();
  return id.ok() ? *id : UniqueId{};
}

TEST(ControlMeeting, MissingRanksAreNamedToAllOnceTheDeadlinePassed) {
  const uint64_t start_ns = now_ns();
  // 2 and 5 to 7 of 20 are missing, and 10 to 19; the ranks that came all wait until one's deadline.
  const auto statuses = join_each(
      new_id(),
      {{0, 20, 20'000}, {1, 20, 20'000}, {3, 20, 1'000}, {4, 20, 20'000}, {8, 20, 20'000}, {9, 20, 20'000}});
  EXPECT_LT(now_ns() - start_ns, 5'000'000'000u);
  for (const Status& status : statuses) {
    EXPECT_EQ(status.code(), Code::kTimeout);
    EXPECT_TRUE(contains(status, "missing ranks: 2, 5-7, 10-19 of 20")) << status.message();
  }
}

TEST(ControlMeeting, AMissingRank0IsNamed) {
  const auto statuses =
      join_each(new_id(), {{1, 11, 1'000}, {2, 11, 20'000}, {9, 11, 20'000}, {10, 11, 20'000}});
  for (const Status& status : statuses) {
    EXPECT_EQ(status.code(), Code::kTimeout);
    EXPECT_TRUE(contains(status, "missing ranks: 0, 3-8 of 11")) << status.message();
  }
}

TEST(ControlMeeting, ARankThatComesAfterOthersGaveUpIsToldWhy) {
  const UniqueId id = new_id();
  const auto first = join_each(id, {{0, 3, 300}, {1, 3, 300}});
  EXPECT_EQ(first[0].code(), Code::kTimeout);
  const auto late = join_each(id, {{2, 3, 20'000}});
  EXPECT_TRUE(contains(late[0], "missing ranks: 2 of 3")) << late[0].message();
}

TEST(ControlMeeting, ARankGivenTwiceFailsAllAndIsNamed) {
  const auto statuses = join_each(new_id(), {{0, 4}, {1, 4}, {2, 4}, {2, 4}});
  for (const Status& status : statuses) {
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_TRUE(contains(status, "rank 2 of 4 was given twice")) << status.message();
  }
}

TEST(ControlMeeting, RanksThatDisagreeOnTheirNumberFailAllAndAreNamed) {
  const auto statuses = join_each(new_id(), {{0, 3}, {1, 3}, {2, 4}});
  for (const Status& status : statuses) {
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_TRUE(contains(status, "ranks disagree on the number of ranks: rank ")) << status.message();
    EXPECT_TRUE(contains(status, "rank 2 says 4")) << status.message();
  }
}

TEST(ControlMeeting, ARankOutOfRangeIsRefusedAtOnce) {
  const UniqueId id = new_id();
  EXPECT_EQ(Session::join(join_options(id, 4, 4)).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(Session::join(join_options(id, 0, 0)).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(Session::join(join_options(id, 0, UINT32_MAX)).status().code(), Code::kInvalidArgument);
}

TEST(ControlMeeting, ADamagedIdIsRefusedAtEveryByte) {
  const UniqueId id = new_id();
  for (size_t at = 0; at < id.size(); ++at) {
    UniqueId damaged = id;
    damaged[at] ^= std::byte{0x10};
    const auto session = Session::join(join_options(damaged, 0, 1));
    ASSERT_EQ(session.status().code(), Code::kInvalidArgument) << "byte " << at;
    EXPECT_TRUE(contains(session.status(), "damaged")) << session.status().message();
  }
  EXPECT_EQ(Session::join(join_options(UniqueId{}, 0, 1)).status().code(), Code::kInvalidArgument);
}

TEST(ControlMeeting, AWrongSecretIsRefusedAtOnceAndStallsNobody) {
  const UniqueId id = new_id();
  auto content = decode_id(id);
  ASSERT_TRUE(content.ok());
  content->secret[5] ^= std::byte{1};
  const UniqueId forged = encode_id(*content);
  std::latch refused(1);  // the last rank comes after it: the meeting is still open for the forged one
  for_each_rank(4, [&](uint32_t i) {
    if (i == 2) refused.wait();
    const uint64_t start_ns = now_ns();
    auto session = Session::join(join_options(i == 3 ? forged : id, i == 3 ? 1 : i, 3));
    const uint64_t took_ns = now_ns() - start_ns;
    if (i >= 2) {
      EXPECT_LT(took_ns, 3'000'000'000u) << "attempt " << i;
    }
    if (i == 3) {
      refused.count_down();
      EXPECT_EQ(session.status().code(), Code::kRemoteError);
      EXPECT_TRUE(contains(session.status(), "does not know the secret")) << session.status().message();
    } else {
      EXPECT_TRUE(session.ok()) << session.status().message();
      EXPECT_TRUE(session.ok() && (*session)->all_gather({}, Deadline::after_ms(20'000)).ok());
    }
  });
}

TEST(ControlMeeting, AnIdWhoseCreatorIsGoneFailsWithinSecondsAndNamesTheAddress) {
  auto content = decode_id(new_id());
  ASSERT_TRUE(content.ok());
  auto unused = listen_on(*SocketAddress::parse("127.0.0.1:0"), 1);
  ASSERT_TRUE(unused.ok());
  content->addresses = {local_address_of(unused->get())};
  unused->reset();
  const auto session = Session::join(join_options(encode_id(*content), 1, 2));
  EXPECT_EQ(session.status().code(), Code::kRemoteError);
  EXPECT_TRUE(contains(session.status(), content->addresses[0].text())) << session.status().message();
}

TEST(ControlMeeting, CancellingEndsAJoinAndFailsTheOthers) {
  const UniqueId id = new_id();
  std::atomic<bool> cancelled{false};
  std::atomic<int> ended{0};
  for_each_rank(3, [&](uint32_t i) {
    if (i == 2) {
      cancelled = true;
      return;
    }
    JoinOptions options = join_options(id, i, 3);
    if (i == 0) options.cancelled = &cancelled;
    EXPECT_FALSE(Session::join(options).ok());
    ++ended;
  });
  EXPECT_EQ(ended, 2);
}

// As rank 0 of `nranks`, whose listener is at `address`. Returns once the meeting point has answered.
void come_as_rank_0(const UniqueId& id, uint32_t nranks, const SocketAddress& address) {
  const auto content = decode_id(id);
  ASSERT_TRUE(content.ok());
  ConnectTarget target;
  target.addresses = content->addresses;
  target.secret = content->secret;
  target.hello.role = SocketRole::kMeeting;
  target.hello.peer_rank = UINT32_MAX;
  target.hello.communicator = communicator_id_of(content->secret);
  Visit visit;
  visit.nranks = nranks;
  visit.visitor = 7;
  visit.addresses = {address};
  std::latch answered(1);
  Loop& loop = Loop::instance();
  ASSERT_TRUE(loop.post([&] {
    VisitCall::start(loop, target, visit, [&](const Result<Answer>& answer, bool) {
      EXPECT_TRUE(answer.ok() && answer->kind == AnswerKind::kParent);
      answered.count_down();
    });
  }));
  answered.wait();
}

TEST(ControlMeeting, ARankThatItsParentRefusesHearsAtOnceThatTheMeetingFailed) {
  const UniqueId id = new_id();
  auto parent = listen_on(*SocketAddress::parse("127.0.0.1:0"), 1);
  ASSERT_TRUE(parent.ok());
  come_as_rank_0(id, 2, local_address_of(parent->get()));
  uint64_t failed_ns = 0;
  for_each_rank(2, [&](uint32_t rank) {
    if (rank == 1) {
      const Status status = Session::join(join_options(id, 1, 2)).status();
      EXPECT_EQ(status.message(), "rank 0 had enough");
      EXPECT_LT(now_ns() - failed_ns, 1'000'000'000u);  // ten times what is promised
      return;
    }
    EXPECT_TRUE(eventually([&] {
      const auto met = accept_from(parent->get());  // closed at once
      return met.ok() && met->valid();
    }));
    parent->reset();
    failed_ns = now_ns();
    (void)give_up_joining(id, 0, 2, Status(Code::kRemoteError, "rank 0 had enough"));
  });
}

// Connections that never prove themselves, of every kind, held open while ranks join.
std::vector<UniqueFd> intrude(const std::vector<SocketAddress>& addresses, int count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<UniqueFd> held;
  for (int i = 0; i < count; ++i) {
    auto fd = connect_to(addresses[static_cast<size_t>(i) % addresses.size()], nullptr);
    if (!fd.ok()) continue;
    pollfd connecting{fd->get(), POLLOUT, 0};
    ::poll(&connecting, 1, 2000);
    std::vector<unsigned char> bytes;
    switch (i % 4) {
      case 0:  // silence
        break;
      case 1:  // garbage, more than any handshake
        bytes.resize(4096);
        break;
      case 2:  // zeros: no magic, huge or zero lengths whichever way they are read
        bytes.assign(4096, i % 8 == 2 ? 0 : 0xff);
        break;
      case 3:  // half a handshake
        bytes.resize(30);
        break;
    }
    if (i % 4 == 1 || i % 4 == 3) {
      for (auto& byte : bytes) byte = static_cast<unsigned char>(random());
    }
    if (i % 4 == 3) std::copy_n("CMYHLLO1", 8, bytes.begin());
    if (!bytes.empty()) {
      [[maybe_unused]] const ssize_t sent = ::send(fd->get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }
    held.push_back(std::move(*fd));
  }
  return held;
}

TEST(ControlIntruders, AJoinFinishesPromptlyAmidSilentGarbageAndHalfHandshakes) {
  const UniqueId id = new_id();
  const auto content = decode_id(id);
  ASSERT_TRUE(content.ok());
  const auto held = intrude(content->addresses, 200, 7);
  ASSERT_GT(held.size(), 150u);
  const uint64_t start_ns = now_ns();
  for_each_rank(9, [&](uint32_t rank) {
    auto session = Session::join(join_options(id, rank, 9));
    ASSERT_TRUE(session.ok()) << session.status().message();
    EXPECT_TRUE((*session)->all_gather({}, Deadline::after_ms(20'000)).ok());
  });
  EXPECT_LT(now_ns() - start_ns, 3'000'000'000u);
}

TEST(ControlIntruders, MoreSilentConnectionsThanTheCapDisplaceEachOtherAndNotTheRanks) {
  const UniqueId id = new_id();
  const auto content = decode_id(id);
  ASSERT_TRUE(content.ok());
  std::vector<UniqueFd> held;
  for (int i = 0; i < 350; ++i) {
    auto fd = connect_to(content->addresses[0], nullptr);
    if (fd.ok()) held.push_back(std::move(*fd));
  }
  const uint64_t start_ns = now_ns();
  for_each_rank(3, [&](uint32_t rank) {
    auto session = Session::join(join_options(id, rank, 3));
    EXPECT_TRUE(session.ok()) << session.status().message();
  });
  EXPECT_LT(now_ns() - start_ns, 3'000'000'000u);
}

TEST(ControlIntruders, AProvenVisitorThatSendsAMalformedVisitIsDroppedAlone) {
  const UniqueId id = new_id();
  const auto content = decode_id(id);
  ASSERT_TRUE(content.ok());
  for (const uint32_t length : {0u, 3u, 0xffffffffu}) {
    auto fd = connect_to(content->addresses[0], nullptr);
    ASSERT_TRUE(fd.ok());
    HandshakeHello hello;
    hello.role = SocketRole::kMeeting;
    hello.peer_rank = UINT32_MAX;
    Handshake handshake = Handshake::initiate(fd->get(), content->secret, hello, Deadline::after_ms(5000));
    ASSERT_TRUE(eventually([&] {
      const auto state = handshake.poll();
      return state.ok() && *state == Handshake::State::kDone;
    }));
    const uint32_t frame[3] = {length, 1, 0x03020100};
    ASSERT_EQ(::send(fd->get(), frame, sizeof(frame), MSG_NOSIGNAL), 12);
    pollfd closed{fd->get(), POLLIN, 0};
    EXPECT_EQ(::poll(&closed, 1, 5000), 1) << "not dropped";
  }
  for_each_rank(2, [&](uint32_t rank) { EXPECT_TRUE(Session::join(join_options(id, rank, 2)).ok()); });
}

TEST(ControlSettings, TheMeetingPointListensWhereItIsTold) {
  ::setenv("COMITY_SOCKET_ADDRESS", "127.0.0.3", 1);
  const UniqueId id = new_id();
  ::unsetenv("COMITY_SOCKET_ADDRESS");
  const auto content = decode_id(id);
  ASSERT_TRUE(content.ok());
  ASSERT_EQ(content->addresses.size(), 1u);
  EXPECT_EQ(content->addresses[0].text().find("127.0.0.3:"), 0u);
}

TEST(ControlSettings, APortInUseIsNamedWithWhatToTry) {
  auto taken = listen_on(*SocketAddress::parse("127.0.0.1:0"), 1);
  ASSERT_TRUE(taken.ok());
  const std::string address = local_address_of(taken->get()).text();
  ::setenv("COMITY_SOCKET_ADDRESS", address.c_str(), 1);
  const auto id = create_unique_id();
  ::unsetenv("COMITY_SOCKET_ADDRESS");
  EXPECT_EQ(id.status().code(), Code::kSystemError);
  EXPECT_TRUE(contains(id.status(), address)) << id.status().message();
  EXPECT_TRUE(contains(id.status(), "COMITY_SOCKET_ADDRESS")) << id.status().message();
}

}  // namespace
}  // namespace comity::control
