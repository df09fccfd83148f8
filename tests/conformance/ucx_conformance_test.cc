// UCX joins the transport suite: over its own TCP, and over its shared memory.
#include <cstdlib>

#include "src/base/clock.h"
#include "tests/conformance/transport_conformance.h"
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

}  // namespace
}  // namespace comity::conformance
