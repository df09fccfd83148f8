// What every Transport promises, as tests that any transport joins.
//
// A backend names a function that makes the transports of p ranks, all in this process, not yet connected;
// the suite exchanges their addresses, opens endpoints and moves segments through them. To join:
//
//   using namespace comity::conformance;
//   World make(uint32_t nranks) {
//     World world;
//     for (uint32_t rank = 0; rank < nranks; ++rank) {
//       auto made = make_my_transport(context_of(rank, nranks));
//       EXPECT_TRUE(made.ok()) << made.status().message();
//       world.transports.push_back(std::move(made).value());
//     }
//     return world;
//   }
//   INSTANTIATE_TEST_SUITE_P(Mine, TransportConformance, testing::Values(Backend{"mine", make}),
//   name_of_backend);
//   INSTANTIATE_TEST_SUITE_P(Mine, TransportSleep, testing::Values(Backend{"mine", make}), name_of_backend);
//
// and link comity_transport_conformance. TransportSleep is for transports that live in real time,
// TransportPuts for those that put messages where their receiver says.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "comity/plugin/transport.h"

namespace comity::conformance {

// Every header of the suite carries its low half.
inline constexpr uint64_t kCommunicator = 0x1122334455667788u;

// Rank, size, communicator and a secret that is equal for all ranks; no descriptor source.
TransportContext context_of(uint32_t rank, uint32_t nranks);

struct World {
  std::shared_ptr<void> foundation;                    // what the transports stand on; destroyed after them
  std::vector<std::unique_ptr<Transport>> transports;  // by rank
  // Called when no rank moved, so that virtual time can pass. False: nothing will ever happen again.
  std::function<bool()> idle = [] { return true; };
};

struct Backend {
  std::string name;
  std::function<World(uint32_t nranks)> make;
};
inline void PrintTo(const Backend& backend, std::ostream* to) {
  *to << backend.name;
}

// The name of a parametrised test: the backend's.
std::string name_of_backend(const testing::TestParamInfo<Backend>& info);

class TransportConformance : public testing::TestWithParam<Backend> {};
class TransportSleep : public testing::TestWithParam<Backend> {};
class TransportPuts : public testing::TestWithParam<Backend> {};

}  // namespace comity::conformance
