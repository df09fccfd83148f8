// RDMA joins the transport suite, where there is a port that is up (tests/lab/verbs_guest.py makes some).
#include <unistd.h>

#include <cstdio>
#include <map>
#include <mutex>

#include "tests/conformance/transport_conformance.h"
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
