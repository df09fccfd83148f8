// Which transport joins a pair of ranks.
#include <gtest/gtest.h>

#include <cstdlib>

#include "src/api/transports.h"

namespace comity::api {
namespace {

TransportOffer offer(bool chosen, const std::vector<std::string>& names) {
  TransportOffer made{chosen, {}, {}};
  for (const std::string& name : names) made.addresses.emplace_back(name, Bytes(3, std::byte{7}));
  return made;
}

const std::vector<Candidate> kThree = {
    {"ucx", {20'000, 1'000'000'000}}, {"verbs", {2'500, 10'000'000'000}}, {"tcp", {15'000, 2'000'000'000}}};

std::string chosen(const TransportOffer& lower, const TransportOffer& higher,
                   const std::vector<Candidate>& candidates = kThree) {
  return candidates[choose_transport(lower, higher, candidates)].name;
}

TEST(Transports, TheOneWithTheBestFiguresJoinsAPair) {
  const TransportOffer all = offer(false, {"shm", "verbs", "ucx", "tcp"});
  EXPECT_EQ(chosen(all, all), "verbs");
  EXPECT_EQ(chosen(all, all, {{"verbs", {2'500, 250'000'000}}, {"tcp", {15'000, 2'000'000'000}}}), "tcp")
      << "a slow device is no reason";
}

TEST(Transports, TheLowerRanksOrderDecidesElseTheHigherOnes) {
  const TransportOffer any = offer(false, {"verbs", "ucx", "tcp"});
  EXPECT_EQ(chosen(offer(true, {"tcp", "ucx", "verbs"}), offer(true, {"ucx", "verbs", "tcp"})), "tcp");
  EXPECT_EQ(chosen(any, offer(true, {"ucx", "tcp"})), "ucx");
  EXPECT_EQ(chosen(offer(true, {"shm", "verbs"}), any), "verbs");
}

TEST(Transports, OffersSurviveTheWire) {
  ByteWriter writer;
  TransportOffer sent = offer(true, {"shm", "tcp"});
  sent.rails = {{"tcp", {"eth0", {15'000, 1'250'000'000}}}};
  put(writer, sent);
  ByteReader reader(writer.bytes());
  const TransportOffer read = get_transport_offer(reader);
  EXPECT_TRUE(reader.at_end());
  EXPECT_TRUE(read.chosen);
  EXPECT_EQ(read.names(), "shm, tcp");
  ASSERT_NE(read.address_of("tcp"), nullptr);
  EXPECT_EQ(read.address_of("tcp")->size(), 3u);
  EXPECT_EQ(read.address_of("verbs"), nullptr);
  ASSERT_EQ(read.rails.size(), 1u);
  EXPECT_EQ(read.rails[0].first, "tcp");
  EXPECT_EQ(read.rails[0].second.name, "eth0");
  EXPECT_EQ(read.rails[0].second.figures.bandwidth_bytes_per_s, 1'250'000'000u);
}

TEST(Transports, NamesAreCheckedAndKeepTheirOrder) {
  const auto wanted = [](const char* text) {
    ::setenv("COMITY_TRANSPORTS", text, 1);
    const auto settings = Settings::read();
    EXPECT_TRUE(settings.ok());
    auto found = wanted_transports(*settings);
    ::unsetenv("COMITY_TRANSPORTS");
    return found;
  };
  EXPECT_EQ(wanted("tcp,shm,tcp")->names, (std::vector<std::string>{"tcp", "shm"}));
  EXPECT_TRUE(wanted("tcp")->chosen);
  EXPECT_FALSE(wanted("")->chosen);
  EXPECT_EQ(wanted("")->names.front(), "shm");
  const auto unknown = wanted("shm,pigeons");
  EXPECT_EQ(unknown.status().code(), Code::kInvalidArgument);
  EXPECT_NE(unknown.status().message().find("there are shm, verbs, ucx, tcp"), std::string_view::npos)
      << unknown.status().message();
}

TEST(Transports, RailsTellWhatTheSlowestRankCanDo) {
  TransportOffer two_ports = offer(false, {"verbs", "tcp"}), one = two_ports;
  two_ports.rails = {
      {"verbs", {"a", {2'000, 100}}}, {"verbs", {"b", {3'000, 100}}}, {"tcp", {"eth0", {15'000, 150}}}};
  one.rails = {{"verbs", {"a", {2'000, 100}}}, {"tcp", {"eth0", {15'000, 150}}}};
  const auto network = reported_network(std::vector{two_ports, one});
  ASSERT_TRUE(network.has_value());
  EXPECT_EQ(network->bandwidth_bytes_per_s, 150u) << "that of its sockets";
  EXPECT_EQ(network->latency_ns, 15'000u);
  one.rails = {{"tcp", {"veth0", {15'000, 0}}}};
  EXPECT_FALSE(reported_network(std::vector{two_ports, one}).has_value()) << "one does not know";
}

TEST(Transports, AreStripedWhereTheyJoinHostsAndOneAtMostRegistersMemory) {
  const auto striped = [](const char* text) {
    ::setenv("COMITY_STRIPE", text, 1);
    const auto settings = Settings::read();
    EXPECT_TRUE(settings.ok());
    auto found = striped_transports(*settings);
    ::unsetenv("COMITY_STRIPE");
    return found;
  };
  ASSERT_TRUE(striped("").ok());
  EXPECT_TRUE(striped("")->empty()) << "one alone joins a pair, unless more are asked for";
  ASSERT_TRUE(striped("verbs,tcp").ok());
  EXPECT_EQ(*striped("verbs,tcp"), (std::vector<std::string>{"verbs", "tcp"}));
  for (const auto& [text, why] :
       std::vector<std::pair<const char*, const char*>>{{"shm,tcp", "shm joins no hosts"},
                                                        {"verbs,ucx", "both want registered memory"},
                                                        {"ib", "no transport"}}) {
    const auto refused = striped(text);
    ASSERT_FALSE(refused.ok()) << text;
    EXPECT_EQ(refused.status().code(), Code::kInvalidArgument);
    EXPECT_NE(refused.status().message().find(why), std::string::npos) << refused.status().message();
  }
}

}  // namespace
}  // namespace comity::api
