// Calibration: replaces the default figures of the paths in use by measured ones, in milliseconds, at
// start-up.
//
// A few pairs of ranks, no rank in two of them, bounce messages over the very links that collectives use,
// while all others sleep until everybody has heard what was measured: so processes that outnumber the cores
// do not measure each other. One pair on one machine; up to four pairs of hosts, half the hosts apart. The
// slowest pair counts, and all ranks compute with the same integers.
//
//   leads                                 follows
//     order (64 B, "answer")       --->
//                                  <---   answer (64 B)           one way: half of the best round
//     order ("n bytes"), n bytes   --->
//                                  <---   answer                  bandwidth: n over all but the best round
//     order ("over")               --->                           16 KiB, 64 KiB, ..., while 80 ms last
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "comity/plugin/result.h"
#include "comity/plugin/transport.h"
#include "src/api/layout.h"
#include "src/base/clock.h"
#include "src/control/control.h"
#include "src/engine/communicator.h"
#include "topology/topology.h"

namespace comity::api {

// Which ranks measure with each other, the leading one first; the same on all ranks. Empty: nothing to
// measure. `one_machine`: whatever hosts it plays, its cores are shared, so one pair measures alone.
std::vector<std::pair<uint32_t, uint32_t>> sampled_pairs(const topology::Topology& topology,
                                                         bool one_machine);

struct PathEnds {
  engine::Link& link;    // with a lane at least; used by both ends in step
  Transport& transport;  // that progresses it
  uint32_t rank = 0;
  bool leads = false;
  Deadline deadline = Deadline::never();
  std::function<Status()> fault;  // success while nothing else ends the wait
};
// Measures with the other end, which calls this too. Figures on the leading end. Blocks for at most 100 ms
// plus what the other end and its connection let wait, and a round or two on a path that is slower than that.
// Errors: kTimeout (names the rank that was waited for), those of the link and of fault().
Result<PathFigures> measure_path(const PathEnds& ends);

struct Calibration {
  engine::Communicator& engine;
  control::Session& session;
  const topology::Topology& topology;
  bool one_machine = false;                      // all ranks are on it
  Deadline deadline;                             // of init
  const std::atomic<bool>* cancelled = nullptr;  // may be null: set where init is to end
  std::string name;                              // of this rank, for the log
};
// What the way in use can do: across hosts, or inside where that is no shared memory; nothing where a
// provider carries all (its way keeps the graph's figures). Collective. Errors: those of measure_path() and
// of the session.
Result<std::optional<Measured>> calibrate(const Calibration& calibration);

}  // namespace comity::api
