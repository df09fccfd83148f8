// Shared memory joins the transport suite, with cores to spare and without.
#include <gtest/gtest.h>

#include "tests/conformance/transport_conformance.h"
#include "transports/shm/shm_transport.h"

namespace comity::conformance {
namespace {

Backend backend(std::string name, uint32_t cores) {
  return {std::move(name), [cores](uint32_t nranks) {
            World world;
            for (uint32_t rank = 0; rank < nranks; ++rank) {
              shm::ShmOptions options;
              options.cores = cores;
              auto made = shm::make_shm_transport(context_of(rank, nranks), options);
              EXPECT_TRUE(made.ok()) << made.status().message();
              world.transports.push_back(std::move(made).value());
            }
            return world;
          }};
}

const auto kBackends = testing::Values(backend("shm", 64), backend("crowded", 1));
INSTANTIATE_TEST_SUITE_P(Shm, TransportConformance, kBackends, name_of_backend);
INSTANTIATE_TEST_SUITE_P(Shm, TransportSleep, kBackends, name_of_backend);

}  // namespace
}  // namespace comity::conformance
