// Addresses as values, interface selection and socket errors.
#include "src/base/socket.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <cstdlib>
#include <string>

#include "src/base/interface_facts.h"
#include "src/base/settings.h"

namespace comity {
namespace {

// Sets a variable for one test.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  ~Environment() { ::unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
};

std::string parsed(const std::string& text) {
  const auto address = SocketAddress::parse(text);
  return address.ok() ? address->text() : std::string("error");
}

TEST(SocketAddress, ParsesWhatPeopleWrite) {
  EXPECT_EQ(parsed("10.0.0.1"), "10.0.0.1:0");
  EXPECT_EQ(parsed("10.0.0.1:80"), "10.0.0.1:80");
  EXPECT_EQ(parsed("::1"), "[::1]:0");
  EXPECT_EQ(parsed("[::1]:80"), "[::1]:80");
  EXPECT_EQ(parsed("[fd00::2]"), "[fd00::2]:0");
  EXPECT_EQ(parsed("fe80::1%lo"), "[fe80::1%1]:0");
}

TEST(SocketAddress, RefusesWhatIsNoAddressAndSaysWhatToWrite) {
  for (const char* text : {"", "host", "10.0.0", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:-1", "10.0.0.1:8x",
                           "[::1", "[::1]80", "[::1]:", "fe80::1%nothing", "1::2::3", "10.0.0.1:80:80"}) {
    const auto address = SocketAddress::parse(text);
    ASSERT_FALSE(address.ok()) << text;
    EXPECT_EQ(address.status().code(), Code::kInvalidArgument);
    EXPECT_NE(address.status().message().find("10.0.0.1:5000"), std::string::npos);
  }
}

TEST(SocketAddress, EncodesIn28BytesAndBack) {
  for (const char* text : {"10.1.2.3:4567", "[fd00::2]:65535", "[fe80::1%3]:1"}) {
    const auto address = SocketAddress::parse(text);
    ASSERT_TRUE(address.ok()) << text;
    const auto bytes = address->encode();
    ASSERT_EQ(bytes.size(), 28u);
    const auto decoded = SocketAddress::decode(bytes.data(), bytes.size());
    ASSERT_TRUE(decoded.ok());
    EXPECT_EQ(decoded->text(), text);
    EXPECT_EQ(decoded->length, address->length);
  }
}

TEST(SocketAddress, DecodesNoOtherLengthAndNoOtherFamily) {
  auto bytes = SocketAddress::parse("10.1.2.3")->encode();
  EXPECT_FALSE(SocketAddress::decode(bytes.data(), 27).ok());
  EXPECT_FALSE(SocketAddress::decode(bytes.data(), 0).ok());
  bytes[0] = std::byte{9};
  EXPECT_FALSE(SocketAddress::decode(bytes.data(), bytes.size()).ok());
}

TEST(UsableInterfaces, LeaveTheLoopbackOutUnlessItIsAllThereIs) {
  const auto interfaces = usable_interfaces();
  ASSERT_TRUE(interfaces.ok()) << interfaces.status().message();
  ASSERT_FALSE(interfaces->empty());
  for (const NetworkInterface& interface : *interfaces) {
    // Beside it there are link-local addresses at most.
    EXPECT_TRUE(!interface.loopback || interfaces->front().loopback) << interface.name;
    EXPECT_EQ(interface.address.port(), 0);
  }
}

TEST(UsableInterfaces, NamesSelectByPrefixOrExactly) {
  for (const char* names : {"lo", "l", "=lo", "nothing,lo"}) {
    const Environment environment("COMITY_SOCKET_IFNAME", names);
    const auto interfaces = usable_interfaces();
    ASSERT_TRUE(interfaces.ok()) << names << ": " << interfaces.status().message();
    ASSERT_EQ(interfaces->size(), 1u) << names;
    EXPECT_EQ((*interfaces)[0].address.text(), "127.0.0.1:0") << names;
  }
}

TEST(UsableInterfaces, ASignBeforeTheFirstNameHoldsForAll) {
  const Environment environment("COMITY_SOCKET_IFNAME", "^nothing,lo");
  const auto interfaces = usable_interfaces();
  if (!interfaces.ok()) return;  // a machine with a loopback alone
  for (const NetworkInterface& interface : *interfaces) EXPECT_FALSE(interface.loopback);
}

TEST(UsableInterfaces, AFilterThatMatchesNothingIsNamedWithWhatThereIs) {
  for (const char* names : {"nothing", "=l", "lo,^lo"}) {
    const Environment environment("COMITY_SOCKET_IFNAME", names);
    const auto interfaces = usable_interfaces();
    EXPECT_EQ(interfaces.status().code(), Code::kInvalidArgument) << names;
    EXPECT_NE(interfaces.status().message().find(names), std::string::npos) << interfaces.status().message();
    EXPECT_NE(interfaces.status().message().find("lo 127.0.0.1"), std::string::npos)
        << interfaces.status().message();
  }
}

TEST(UsableInterfaces, AnAddressSelectsItsInterface) {
  {
    const Environment environment("COMITY_SOCKET_ADDRESS", "127.0.0.5:7000");
    const auto interfaces = usable_interfaces();
    ASSERT_TRUE(interfaces.ok()) << interfaces.status().message();
    ASSERT_EQ(interfaces->size(), 1u);
    EXPECT_EQ((*interfaces)[0].name, "lo");
    EXPECT_EQ((*interfaces)[0].address.text(), "127.0.0.5:0");
  }
  const Environment environment("COMITY_SOCKET_ADDRESS", "203.0.113.77");
  const auto interfaces = usable_interfaces();
  EXPECT_EQ(interfaces.status().code(), Code::kInvalidArgument);
  EXPECT_NE(interfaces.status().message().find("203.0.113.77"), std::string::npos);
}

// A communicator's config may allow others than the process's settings do.
TEST(UsableInterfaces, WhatIsLeftOutIsByTheSettingsGiven) {
  const auto interfaces = usable_interfaces();
  auto settings = Settings::read();
  ASSERT_TRUE(interfaces.ok() && settings.ok());
  settings->set_by_config("COMITY_SOCKET_IFNAME", "=lo");
  for (const NetworkInterface& interface : *interfaces) {
    if (scope_of(interface.address) != AddressScope::kGlobal) continue;
    const std::string named = interface.name + " ";
    EXPECT_NE(interfaces_left_out(&*settings).find(named), std::string::npos);
    EXPECT_EQ(interfaces_left_out(nullptr).find(named), std::string::npos);
  }
}

// fe80::1 through the loopback's number, which has no link-local address, leads nowhere.
TEST(UsableInterfaces, LinkLocalAddressesGoThroughThoseOfTheSettingsGiven) {
  auto settings = Settings::read();
  ASSERT_TRUE(settings.ok());
  settings->set_by_config("COMITY_SOCKET_IFNAME", "=lo");
  const auto near = SocketAddress::parse("fe80::1%lo"), far = SocketAddress::parse("10.0.0.1:7");
  const auto scoped = with_own_scopes({*near, *far}, &*settings);
  ASSERT_EQ(scoped.size(), 1u);
  EXPECT_EQ(scoped[0].text(), "10.0.0.1:7");
}

TEST(Sockets, APortInUseIsNamedWithWhatToTry) {
  const auto first = listen_on(*SocketAddress::parse("127.0.0.1"), 1);
  ASSERT_TRUE(first.ok());
  const SocketAddress address = local_address_of(first->get());
  ASSERT_NE(address.port(), 0);
  const auto second = listen_on(address, 1);
  EXPECT_EQ(second.status().code(), Code::kSystemError);
  EXPECT_NE(second.status().message().find(address.text()), std::string::npos) << second.status().message();
  EXPECT_NE(second.status().message().find("choose another port"), std::string::npos)
      << second.status().message();
}

TEST(Sockets, ConnectAndAcceptWithoutBlocking) {
  for (const char* host : {"127.0.0.1", "::1"}) {
    const auto listener = listen_on(*SocketAddress::parse(host), 8);
    ASSERT_TRUE(listener.ok()) << listener.status().message();
    auto nobody = accept_from(listener->get());
    ASSERT_TRUE(nobody.ok());
    EXPECT_FALSE(nobody->valid());
    const SocketAddress from = *SocketAddress::parse(host);
    const auto connecting = connect_to(local_address_of(listener->get()), &from);
    ASSERT_TRUE(connecting.ok()) << connecting.status().message();
    pollfd waiting{listener->get(), POLLIN, 0};
    ASSERT_EQ(::poll(&waiting, 1, 5000), 1);
    const auto accepted = accept_from(listener->get());
    ASSERT_TRUE(accepted.ok());
    EXPECT_TRUE(accepted->valid());
  }
}

}  // namespace
}  // namespace comity
