// PlanWorld: one Plan carried out by the real engine, all ranks in one thread: shared memory (with its real
// providers) inside a host, the simulated network between hosts. A rank that waits for ever is a result.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "src/engine/communicator.h"
#include "src/plan/plan.h"
#include "transports/sim/sim_network.h"

namespace comity::test {

class PlanWorld {
 public:
  // host_of_rank[r]: equal numbers share memory.
  PlanWorld(plan::Plan plan, const std::vector<uint32_t>& host_of_rank);
  ~PlanWorld();
  // One call with blocks of `count` int32. kInternalError: it never ends ("deadlock: ...") or a result is
  // wrong. Once only where it fails.
  Status run(uint64_t count, bool in_place);

 private:
  struct Rank;
  Status poll_to_the_end();
  plan::Plan plan_;
  std::unique_ptr<sim::Network> network_;
  std::vector<std::unique_ptr<Rank>> ranks_;
};

}  // namespace comity::test
