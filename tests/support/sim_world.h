// SimWorld: all ranks of a communicator in one thread, over the simulated network, with the real engine and
// algorithms.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "algorithms/selector.h"
#include "src/api/plans.h"
#include "src/device/registry.h"
#include "src/engine/communicator.h"
#include "topology/topology.h"
#include "transports/sim/sim_network.h"

namespace comity::test {

struct SimWorldOptions {
  uint32_t nranks = 2;
  uint64_t seed = 1;
  topology::Topology topology;  // default: one host, no provider
  std::string forced;           // as COMITY_ALGO
  algorithms::Rules rules;
  sim::NetworkOptions network;
  engine::ReleaseRule release = engine::ReleaseRule::kTransmitted;
  DeviceRegistry* devices = nullptr;  // required
};

class SimWorld {
 public:
  explicit SimWorld(SimWorldOptions options);
  ~SimWorld();
  // Starts calls[r] on rank r and polls all ranks until every one is done; an error names the first failing
  // rank, and a deadlock says so.
  Status run(const std::vector<engine::Call>& calls);
  // The same for calls that do not all start at once: rank r starts when `started(r)` polls were made. For
  // skew.
  Status run(const std::vector<engine::Call>& calls, const std::vector<uint32_t>& start_after);
  // Rank r makes the calls of calls[r] one after the other, without waiting for the other ranks in between.
  Status run_sequences(const std::vector<std::vector<engine::Call>>& calls);
  sim::Network& network() { return *network_; }
  const algorithms::Selection& selection() const { return plans_[0]->selection(); }
  engine::Communicator& rank(uint32_t r) { return *ranks_[r]; }

 private:
  SimWorldOptions options_;
  std::unique_ptr<sim::Network> network_;
  std::vector<std::unique_ptr<Transport>> transports_;
  std::vector<std::unique_ptr<api::SelectedPlans>> plans_;
  std::vector<std::unique_ptr<engine::Communicator>> ranks_;
  uint32_t quiet_rounds_ = 0;
};

}  // namespace comity::test
