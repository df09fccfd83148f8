#include "transports/tcp/rails.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <utility>

namespace comity::tcp {
namespace {

RankAddress rank_at(uint64_t host, std::initializer_list<std::pair<const char*, uint8_t>> rails) {
  RankAddress address;
  address.host = host;
  for (const auto& [text, prefix_bits] : rails) {
    auto parsed = SocketAddress::parse(text);
    EXPECT_TRUE(parsed.ok()) << text;
    address.rails.push_back({*parsed, prefix_bits, static_cast<uint8_t>(address.rails.size())});
  }
  return address;
}

std::string text_of(const std::vector<RailPair>& pairs) {
  std::string text;
  for (const RailPair& pair : pairs)
    text += std::to_string(pair.lower) + "-" + std::to_string(pair.higher) + " ";
  return text;
}

TEST(TcpRails, InterfacesOfOneSubnetPairWhateverTheirOrder) {
  const auto a = rank_at(1, {{"10.0.1.1", 24}, {"10.0.2.1", 24}});
  const auto b = rank_at(2, {{"10.0.2.9", 24}, {"10.0.1.9", 24}});
  EXPECT_EQ(text_of(pair_rails(a, b)), "0-1 1-0 ");
}

TEST(TcpRails, AnInterfaceWithoutCounterpartIsLeftOut) {
  const auto a = rank_at(1, {{"10.0.1.1", 24}, {"172.16.0.1", 16}});
  const auto b = rank_at(2, {{"10.0.1.9", 24}, {"192.168.0.1", 24}});
  EXPECT_EQ(text_of(pair_rails(a, b)), "0-0 ");
}

TEST(TcpRails, RoutedNetworksPairByOrder) {
  const auto a = rank_at(1, {{"10.0.1.1", 24}, {"10.0.2.1", 24}});
  const auto b = rank_at(2, {{"10.1.1.1", 24}, {"10.1.2.1", 24}});
  EXPECT_EQ(text_of(pair_rails(a, b)), "0-0 1-1 ");
}

TEST(TcpRails, PrefixesThatEndWithinAByteAreHonoured) {
  const auto a = rank_at(1, {{"10.0.1.1", 25}, {"10.0.1.129", 25}});
  const auto b = rank_at(2, {{"10.0.1.200", 25}, {"10.0.1.100", 25}});
  EXPECT_EQ(text_of(pair_rails(a, b)), "0-1 1-0 ");
}

TEST(TcpRails, LoopbackJoinsOneMachineOnly) {
  const auto a = rank_at(1, {{"127.0.0.1", 8}});
  EXPECT_EQ(text_of(pair_rails(a, rank_at(1, {{"127.0.0.1", 8}}))), "0-0 ");
  EXPECT_TRUE(pair_rails(a, rank_at(2, {{"127.0.0.1", 8}})).empty());
  const auto six = rank_at(1, {{"::1", 128}});
  EXPECT_EQ(text_of(pair_rails(six, rank_at(1, {{"::1", 128}}))), "0-0 ");
  EXPECT_TRUE(pair_rails(six, rank_at(2, {{"::1", 128}})).empty());
}

TEST(TcpRails, EqualAddressesOfOneMachinePairWithThemselves) {
  const auto a = rank_at(1, {{"127.0.0.1", 8}, {"127.0.0.2", 8}});
  const auto b = rank_at(1, {{"127.0.0.2", 8}, {"127.0.0.1", 8}});
  EXPECT_EQ(text_of(pair_rails(a, b)), "0-1 1-0 ");
}

TEST(TcpRails, AnInterfaceIsPartOfOneRailWhateverAddressesItHas) {
  auto a = rank_at(1, {{"10.0.1.1", 24}, {"192.168.1.1", 24}, {"fd00::1", 64}});
  auto b = rank_at(2, {{"10.0.1.2", 24}, {"192.168.1.2", 24}, {"fd00::2", 64}});
  for (auto* rank : {&a, &b}) {
    for (RailAddress& rail : rank->rails) rail.interface = 0;
  }
  EXPECT_EQ(text_of(pair_rails(a, b)), "0-0 ");
  b.rails.erase(b.rails.begin());  // only the second address meets
  EXPECT_EQ(text_of(pair_rails(a, b)), "1-0 ");
}

TEST(TcpRails, EqualAddressesOfTwoMachinesLeadNowhere) {
  const auto a = rank_at(1, {{"172.17.0.1", 16}, {"10.0.0.1", 24}});
  const auto b = rank_at(2, {{"172.17.0.1", 16}, {"10.0.0.2", 24}});
  EXPECT_EQ(text_of(pair_rails(a, b)), "1-1 ");
  EXPECT_TRUE(pair_rails(rank_at(1, {{"172.17.0.1", 16}}), rank_at(2, {{"172.17.0.1", 16}})).empty());
}

TEST(TcpRails, LinkLocalAddressesJoinWhereThereIsNothingElse) {
  const auto a = rank_at(1, {{"127.0.0.1", 8}, {"fe80::1", 64}, {"fe80::2", 64}});
  const auto b = rank_at(2, {{"127.0.0.1", 8}, {"fe80::3", 64}, {"fe80::4", 64}});
  const auto pairs = pair_rails(a, b);
  EXPECT_EQ(text_of(pairs), "1-1 ");
  EXPECT_TRUE(pairs.at(0).link_local);
  const auto near = rank_at(1, {{"127.0.0.1", 8}, {"fe80::1", 64}});
  EXPECT_EQ(text_of(pair_rails(a, near)), "0-0 ");
}

TEST(TcpRails, RoutedAddressesOfTheLoopbackInterfaceJoin) {
  const auto a = rank_at(1, {{"10.255.0.1", 32}});
  EXPECT_EQ(text_of(pair_rails(a, rank_at(2, {{"10.255.0.2", 32}}))), "0-0 ");
}

TEST(TcpRails, FamiliesDoNotMix) {
  EXPECT_TRUE(pair_rails(rank_at(1, {{"10.0.0.1", 24}}), rank_at(2, {{"fd00::1", 64}})).empty());
  const auto a = rank_at(1, {{"10.0.0.1", 24}, {"fd00::1", 64}});
  const auto b = rank_at(2, {{"fd00::2", 64}});
  EXPECT_EQ(text_of(pair_rails(a, b)), "1-0 ");
}

TEST(TcpRails, AddressesSurviveTheWire) {
  auto sent = rank_at(0x1234567890, {{"10.0.0.1:5000", 24}, {"[fd00::1]:6000", 64}});
  sent.connections = 3;
  const auto received = decode(encode(sent));
  ASSERT_TRUE(received.ok()) << received.status().message();
  EXPECT_EQ(received->host, sent.host);
  EXPECT_EQ(received->connections, 3u);
  ASSERT_EQ(received->rails.size(), 2u);
  EXPECT_EQ(received->rails[0].address.text(), "10.0.0.1:5000");
  EXPECT_EQ(received->rails[1].address.text(), "[fd00::1]:6000");
  EXPECT_EQ(received->rails[1].prefix_bits, 64);
}

TEST(TcpRails, BoundsOfTheWireAreChecked) {
  auto sent = rank_at(1, {{"10.0.0.1", 24}});
  sent.connections = 0;
  EXPECT_FALSE(decode(encode(sent)).ok());
  sent.connections = kMaxConnections + 1;
  EXPECT_FALSE(decode(encode(sent)).ok());
  sent.connections = 1;
  sent.rails.clear();
  EXPECT_FALSE(decode(encode(sent)).ok());
  sent.rails.assign(kMaxRails + 1, rank_at(1, {{"10.0.0.1", 24}}).rails[0]);
  EXPECT_FALSE(decode(encode(sent)).ok());
}

}  // namespace
}  // namespace comity::tcp
