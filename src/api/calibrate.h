// Calibration: replaces the default figures of the paths in use by measured ones, in milliseconds, at
// start-up.
//
// Collective: every rank times the same few small collectives of known plans in the new communicator, the
// slowest rank's median counts (an all-reduce of the times, max), and all ranks solve for latency and
// bandwidth with the same integers.
#pragma once

#include "comity/plugin/result.h"
#include "src/api/plans.h"
#include "src/engine/communicator.h"
#include "topology/topology.h"

namespace comity::api {

// Updates inside and across of `topology` where a path of that kind exists and carries sockets; shared memory
// keeps its table figures, since a provider carries its groups whole. Blocks for about ten calls. Errors:
// those of the calls.
Status calibrate(engine::Communicator& engine, SelectedPlans& plans, topology::Topology& topology);

}  // namespace comity::api
