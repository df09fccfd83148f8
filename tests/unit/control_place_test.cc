// Meeting points at a port that the ranks know beforehand, which somebody else may hold.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "src/base/socket.h"
#include "src/control/control.h"

namespace comity::control {
namespace {

using Who = Found::Who;

constexpr uint64_t kPatienceMs = 60'000;

// Another program's listener; 127.0.0.3 is this host's, as all of 127.0.0.0/8. At a port below those that the
// system gives to sockets, since a meeting is held at each address of the host, where others may have one.
class Holder {
 public:
  explicit Holder(const std::string& host) {
    constexpr uint16_t kFirst = 20'000, kPorts = 9'000;
    static int next = ::getpid() * 7;  // a meeting of before may last
    for (int i = 0; i < kPorts && !socket_.valid(); ++i, ++next) {
      SocketAddress address = *SocketAddress::parse(host);
      address.set_port(static_cast<uint16_t>(kFirst + next % kPorts));
      if (auto socket = listen_on(address, 16); socket.ok()) socket_ = std::move(*socket);
    }
    EXPECT_TRUE(socket_.valid()) << "no port is free";
    address_ = local_address_of(socket_.get());
  }
  const SocketAddress& address() const { return address_; }
  uint16_t port() const { return address_.port(); }
  // Blocks until somebody connected; then hangs up.
  void hang_up_on_one() {
    pollfd waiting{socket_.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&waiting, 1, static_cast<int>(kPatienceMs)), 1);
    const auto guest = accept_from(socket_.get());
    ASSERT_TRUE(guest.ok() && guest->valid());
  }
  void close() { socket_.reset(); }

 private:
  UniqueFd socket_;
  SocketAddress address_;
};

SocketAddress at(const std::string& host, uint16_t port) {
  SocketAddress address = *SocketAddress::parse(host);
  address.set_port(port);
  return address;
}

MeetingPlace place_at(uint16_t port, std::byte secret, const std::vector<std::string>& also) {
  MeetingPlace place;
  place.secret.fill(secret);
  place.port = port;
  place.nranks = 2;
  for (const std::string& host : also) place.also.push_back(at(host, 0));
  return place;
}

bool says(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

TEST(ControlPlace, APortThatAnotherProgramHoldsIsNamed) {
  Holder holder("127.0.0.3");
  std::thread program([&] { holder.hang_up_on_one(); });
  const MeetingPlace place = place_at(holder.port(), std::byte{1}, {"127.0.0.2", "127.0.0.3"});
  const auto id = create_unique_id_at(place);
  program.join();
  ASSERT_FALSE(id.ok());
  EXPECT_EQ(id.status().code(), Code::kSystemError);
  const std::string why(id.status().message());
  EXPECT_TRUE(says(why, holder.address().text())) << why;
  EXPECT_TRUE(says(why, "another program")) << why;
  // Who looks at an address that is free hears it, too.
  const Found found = look_for_meeting(unique_id_at({at("127.0.0.2", place.port)}, place.secret), 1);
  EXPECT_EQ(found.who, Who::kFailed);
  EXPECT_EQ(found.what, why);
}

TEST(ControlPlace, AHolderThatTakesConnectionsAndSaysNothingIsToldFromNobody) {
  Holder holder("127.0.0.3");  // the kernel takes them
  const MeetingPlace place = place_at(holder.port(), std::byte{6}, {"127.0.0.3"});
  const UniqueId there = unique_id_at({holder.address()}, place.secret);
  const Found found = look_for_meeting(there, 1);
  EXPECT_EQ(found.who, Who::kSilent);
  EXPECT_TRUE(says(found.what, holder.address().text() + ": it takes connections and says nothing"))
      << found.what;
  // Rank 0 may still come where an address is free.
  const auto free = at("127.0.0.4", holder.port());
  EXPECT_EQ(look_for_meeting(unique_id_at({holder.address(), free}, place.secret), 1).who, Who::kNobody);
  const auto id = create_unique_id_at(place);
  ASSERT_FALSE(id.ok());
  EXPECT_TRUE(says(std::string(id.status().message()), "says nothing")) << id.status().message();
}

TEST(ControlPlace, APortThatBecomesFreeIsTaken) {
  Holder holder("127.0.0.3");
  MeetingPlace place = place_at(holder.port(), std::byte{2}, {"127.0.0.3"});
  place.patience = Deadline::after_ms(kPatienceMs);
  std::thread program([&] {
    holder.hang_up_on_one();  // it was found taken
    holder.close();
  });
  const auto id = create_unique_id_at(place);
  program.join();
  ASSERT_TRUE(id.ok()) << id.status().message();
  EXPECT_EQ(look_for_meeting(*id, 1).who, Who::kMeeting);
}

TEST(ControlPlace, ASecondMeetingOfTheSameSecretEndsBoth) {
  Holder probe("127.0.0.3");
  MeetingPlace place = place_at(probe.port(), std::byte{3}, {"127.0.0.3"});
  probe.close();
  const auto first = create_unique_id_at(place);
  ASSERT_TRUE(first.ok()) << first.status().message();
  place.patience = Deadline::after_ms(kPatienceMs);
  const auto second = create_unique_id_at(place);
  ASSERT_FALSE(second.ok());
  EXPECT_TRUE(says(std::string(second.status().message()), "an earlier run of this job has not ended"))
      << second.status().message();
  const Found found = look_for_meeting(*first, 1);
  EXPECT_EQ(found.who, Who::kFailed);
  EXPECT_EQ(found.what, second.status().message());
}

TEST(ControlPlace, AMeetingOfAnotherSecretIsAStranger) {
  Holder probe("127.0.0.3");
  const uint16_t port = probe.port();
  probe.close();
  const auto first = create_unique_id_at(place_at(port, std::byte{4}, {"127.0.0.3"}));
  ASSERT_TRUE(first.ok()) << first.status().message();
  const MeetingPlace other = place_at(port, std::byte{5}, {"127.0.0.3"});
  const auto second = create_unique_id_at(other);
  ASSERT_FALSE(second.ok());
  EXPECT_TRUE(says(std::string(second.status().message()), "does not know the secret"))
      << second.status().message();
  const UniqueId wanted = unique_id_at({at("127.0.0.3", port)}, other.secret);
  EXPECT_EQ(look_for_meeting(wanted, 1).who, Who::kStranger);
  // Not while one of its addresses is free.
  EXPECT_EQ(
      look_for_meeting(unique_id_at({at("127.0.0.3", port), at("127.0.0.4", port)}, other.secret), 1).who,
      Who::kNobody);
  EXPECT_EQ(look_for_meeting(*first, 1).who, Who::kMeeting);  // and undisturbed
}

}  // namespace
}  // namespace comity::control
