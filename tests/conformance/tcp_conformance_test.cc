// TCP joins the transport suite: IPv4 and IPv6 loopback, two rails, several connections per rail.
#include <cstdlib>

#include "tests/conformance/transport_conformance.h"
#include "transports/tcp/tcp_transport.h"

namespace comity::conformance {
namespace {

// Settings are read when a transport is made.
World make_tcp(const char* addresses, const char* connections, uint32_t nranks) {
  ::setenv("COMITY_SOCKET_ADDRESS", addresses, 1);
  ::setenv("COMITY_TCP_CONNECTIONS", connections, 1);
  World world;
  for (uint32_t rank = 0; rank < nranks; ++rank) {
    auto made = tcp::make_tcp_transport(context_of(rank, nranks));
    EXPECT_TRUE(made.ok()) << made.status().message();
    world.transports.push_back(std::move(made).value());
  }
  ::unsetenv("COMITY_SOCKET_ADDRESS");
  ::unsetenv("COMITY_TCP_CONNECTIONS");
  return world;
}

Backend backend(std::string name, const char* addresses, const char* connections) {
  return {std::move(name), [=](uint32_t nranks) { return make_tcp(addresses, connections, nranks); }};
}

const auto kBackends = testing::Values(backend("ipv4", "127.0.0.1", "1"), backend("ipv6", "::1", "1"),
                                       backend("two_rails", "127.0.0.1,127.0.0.2", "1"),
                                       backend("three_connections", "127.0.0.1", "3"));

INSTANTIATE_TEST_SUITE_P(Tcp, TransportConformance, kBackends, name_of_backend);
INSTANTIATE_TEST_SUITE_P(Tcp, TransportSleep, kBackends, name_of_backend);

}  // namespace
}  // namespace comity::conformance
