// RDMA joins the transport suite, where there is a port that is up (tests/lab/verbs_guest.py makes some).
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <string>

#include "tests/conformance/transport_conformance.h"
#include "tests/conformance/transport_party.h"
#include "transports/verbs/verbs_transport.h"

namespace comity::conformance {
namespace {

// Letters among ranks of one process.
class Post {
 public:
  class Box final : public Mail {
   public:
    Box(Post& post, uint32_t rank) : post_(post), rank_(rank) {}
    void open(MailReceiver& receiver) override {
      const std::lock_guard lock(post_.mutex_);
      post_.receivers_[rank_] = &receiver;
    }
    void close() override {
      const std::lock_guard lock(post_.mutex_);
      post_.receivers_.erase(rank_);
    }
    void send(uint32_t to, std::span<const std::byte> letter) override {
      const std::lock_guard lock(post_.mutex_);
      const auto receiver = post_.receivers_.find(to);
      if (receiver != post_.receivers_.end()) receiver->second->came(rank_, letter);
    }

   private:
    Post& post_;
    uint32_t rank_;
  };
  Mail& box(uint32_t rank) { return *boxes_.emplace_back(std::make_unique<Box>(*this, rank)); }

 private:
  std::mutex mutex_;
  std::map<uint32_t, MailReceiver*> receivers_;
  std::vector<std::unique_ptr<Box>> boxes_;
};

World make_verbs(const char* queue_pairs, uint32_t nranks) {
  ::setenv("COMITY_VERBS_QUEUE_PAIRS", queue_pairs, 1);
  World world;
  auto post = std::make_shared<Post>();
  for (uint32_t rank = 0; rank < nranks; ++rank) {
    TransportContext context = context_of(rank, nranks);
    context.mail = &post->box(rank);
    auto settings = Settings::read();
    EXPECT_TRUE(settings.ok()) << settings.status().message();
    auto made = verbs::make_verbs_transport(context, *settings);
    EXPECT_TRUE(made.ok()) << made.status().message();
    world.transports.push_back(std::move(made).value());
  }
  world.foundation = std::move(post);
  ::unsetenv("COMITY_VERBS_QUEUE_PAIRS");
  return world;
}

Backend backend(std::string name, const char* queue_pairs) {
  return {std::move(name), [=](uint32_t nranks) { return make_verbs(queue_pairs, nranks); }};
}

const auto kBackends = testing::Values(backend("one", "1"), backend("two_queue_pairs", "2"));

INSTANTIATE_TEST_SUITE_P(Verbs, TransportConformance, kBackends, name_of_backend);
INSTANTIATE_TEST_SUITE_P(Verbs, TransportSleep, kBackends, name_of_backend);
INSTANTIATE_TEST_SUITE_P(Verbs, TransportPuts, kBackends, name_of_backend);

// What this process holds: descriptors, pinned memory, queue pairs of all devices.
struct Held {
  long descriptors = 0, pinned_kib = 0;
  bool operator==(const Held&) const = default;
};
void PrintTo(const Held& held, std::ostream* to) {
  *to << held.descriptors << " descriptors, " << held.pinned_kib << " KiB pinned";
}
Held held() {
  Held found;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) {
    static_cast<void>(each);
    ++found.descriptors;
  }
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmPin:")) found.pinned_kib = std::strtol(line.c_str() + 6, nullptr, 10);
  }
  return found;
}

TEST(VerbsRounds, AThousandTimesOpenedAndClosedLeaveNothing) {
  const Backend one = backend("one", "1");
  Held first;
  const int rounds = std::getenv("COMITY_ROUNDS") == nullptr ? 100 : std::atoi(std::getenv("COMITY_ROUNDS"));
  for (int round = 0; round < rounds; ++round) {
    {
      Parties parties(one, 2);
      parties.open(0, 1);
      parties.channel(0, 1).queue(0, 100);
      ASSERT_TRUE(parties.run_until_delivered()) << "round " << round;
    }
    if (round == 0) first = held();
    ASSERT_EQ(held(), first) << "round " << round;
  }
}

// A peer that is authenticated may still be wrong.
TEST(VerbsLetters, WhatCannotBeIsDroppedAndHarmsNobody) {
  World world = make_verbs("1", 2);
  auto& post = *static_cast<Post*>(world.foundation.get());
  Mail& forger = post.box(1);
  std::mt19937 random(5);
  for (int n = 0; n < 200; ++n) {
    std::vector<std::byte> letter(random() % 200);
    for (std::byte& byte : letter) byte = static_cast<std::byte>(random());
    forger.send(0, letter);
  }
  EXPECT_TRUE(world.transports[0]->progress().ok());
  ASSERT_TRUE(world.transports[0]->reach(1, world.transports[1]->address()).ok());
  auto endpoints = world.transports[0]->endpoints(1);
  ASSERT_TRUE(endpoints.ok());
  EXPECT_TRUE((*endpoints)[0]->status().ok()) << (*endpoints)[0]->status().message();
}

}  // namespace
}  // namespace comity::conformance

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (::access("/sys/class/infiniband", F_OK) != 0 && !testing::GTEST_FLAG(list_tests)) {
    std::puts("skipped: needs an RDMA port");
    return 77;
  }
  return RUN_ALL_TESTS();
}
