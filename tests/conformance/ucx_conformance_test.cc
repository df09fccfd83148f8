// UCX joins the transport suite: over its own TCP, and over its shared memory.
#include <cstdlib>
#include <filesystem>

#include "src/base/clock.h"
#include "tests/conformance/transport_conformance.h"
#include "tests/conformance/transport_party.h"
#include "tests/support/effort.h"
#include "transports/ucx/ucx_transport.h"

namespace comity::conformance {
namespace {

// As the control thread does it: ranks that leave one after the other wait for nobody.
class Keeper final : public ConnectionKeeper {
 public:
  ~Keeper() override {
    const Deadline deadline = Deadline::after_ms(10'000);
    while (!kept_.empty() && !deadline.passed())
      std::erase_if(kept_, [](auto& each) { return each->step(); });
    EXPECT_FALSE(deadline.passed()) << "farewells were lost";
  }
  void keep(int, std::span<const std::byte>) override { ADD_FAILURE(); }
  void linger(std::unique_ptr<Lingering> connections) override { kept_.push_back(std::move(connections)); }

 private:
  std::vector<std::unique_ptr<Lingering>> kept_;
};

// UCX reads its settings when a transport is made.
World make_ucx(const char* ways, const char* rendezvous_from, uint32_t nranks) {
  ::setenv("UCX_TLS", ways, 1);
  if (rendezvous_from != nullptr) ::setenv("UCX_RNDV_THRESH", rendezvous_from, 1);
  World world;
  auto keeper = std::make_shared<Keeper>();
  for (uint32_t rank = 0; rank < nranks; ++rank) {
    TransportContext context = context_of(rank, nranks);
    context.connections = keeper.get();
    auto made = ucx::make_ucx_transport(context);
    EXPECT_TRUE(made.ok()) << made.status().message();
    world.transports.push_back(std::move(made).value());
  }
  world.foundation = std::move(keeper);
  ::unsetenv("UCX_TLS");
  ::unsetenv("UCX_RNDV_THRESH");
  return world;
}

Backend backend(std::string name, const char* ways, const char* rendezvous_from) {
  return {std::move(name), [=](uint32_t nranks) { return make_ucx(ways, rendezvous_from, nranks); }};
}

const auto kBackends =
    testing::Values(backend("tcp", "tcp", nullptr), backend("tcp_rendezvous", "tcp", "512"),
                    backend("tcp_eager", "tcp", "inf"));

INSTANTIATE_TEST_SUITE_P(Ucx, TransportConformance, kBackends, name_of_backend);
INSTANTIATE_TEST_SUITE_P(Ucx, TransportSleep, kBackends, name_of_backend);

long descriptors() {
  long count = 0;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) {
    static_cast<void>(each);
    ++count;
  }
  return count;
}

TEST(UcxRounds, ManyTimesOpenedAndClosedLeaveNoDescriptors) {
  const Backend tcp = backend("tcp", "tcp", nullptr);
  long first = 0;
  for (uint64_t round = 0; round < test::effort(100); ++round) {
    {
      Parties parties(tcp, 2);
      parties.open(0, 1);
      parties.channel(0, 1).queue(0, 100);
      parties.channel(1, 0).queue(0, 300'000);
      ASSERT_TRUE(parties.run_until_delivered()) << "round " << round;
    }
    if (round == 0) first = descriptors();
    ASSERT_EQ(descriptors(), first) << "round " << round;
  }
}

}  // namespace
}  // namespace comity::conformance
