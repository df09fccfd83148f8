// Calibration: replaces the default figures of the paths in use by measured ones, in milliseconds, at
// start-up.
//
// Collective: every rank times the same few small collectives of known plans in the new communicator, the
// slowest rank's median counts (an all-reduce of the times, max), and all ranks solve for latency and
// bandwidth with the same integers.
#pragma once

#include <optional>

#include "comity/plugin/result.h"
#include "src/api/layout.h"
#include "src/api/plans.h"
#include "src/engine/communicator.h"

namespace comity::api {

// What the way in use can do: across hosts, or inside where that is no shared memory; nothing where a
// provider carries all (its way keeps the graph's figures). Blocks for about ten calls. Errors: those of the
// calls.
Result<std::optional<Measured>> calibrate(engine::Communicator& engine, SelectedPlans& plans);

}  // namespace comity::api
