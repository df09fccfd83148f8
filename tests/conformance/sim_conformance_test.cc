// The simulated network joins the transport suite, with several seeds and shapes.
#include "tests/conformance/transport_conformance.h"
#include "transports/sim/sim_network.h"

namespace comity::conformance {
namespace {

World make_sim(uint64_t seed, uint32_t nranks, const sim::NetworkOptions& options) {
  World world;
  auto network = std::make_shared<sim::Network>(seed, nranks, options);
  for (uint32_t rank = 0; rank < nranks; ++rank) world.transports.push_back(network->make_transport(rank));
  world.idle = [network] { return network->advance(); };
  world.foundation = network;
  return world;
}

Backend backend(std::string name, uint64_t seed, const sim::NetworkOptions& options) {
  return {std::move(name), [seed, options](uint32_t nranks) { return make_sim(seed, nranks, options); }};
}

sim::NetworkOptions puts() {
  sim::NetworkOptions options;
  options.put_bytes = 2048;
  return options;
}

std::vector<Backend> backends() {
  sim::NetworkOptions rails;
  rails.rails = 3;
  sim::NetworkOptions direct;
  direct.delivery = sim::Delivery::kDirect;
  sim::NetworkOptions placed;
  placed.delivery = sim::Delivery::kPlaced;
  placed.split_percent = 60;
  sim::NetworkOptions rough;
  rough.stall_percent = 60;
  rough.link.jitter_ns = 100'000;
  rough.segment_bytes = 1024;
  sim::NetworkOptions claimed;
  claimed.delivery = sim::Delivery::kClaimed;
  return {backend("mixed", 1, {}),        backend("rails", 2, rails), backend("direct", 3, direct),
          backend("placed", 4, placed),   backend("rough", 5, rough), backend("claimed", 6, claimed),
          backend("one_sided", 7, puts())};
}

INSTANTIATE_TEST_SUITE_P(Sim, TransportConformance, testing::ValuesIn(backends()), name_of_backend);
INSTANTIATE_TEST_SUITE_P(Sim, TransportPuts, testing::Values(backend("one_sided", 7, puts())),
                         name_of_backend);

}  // namespace
}  // namespace comity::conformance
