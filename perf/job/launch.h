// N ranks as processes of this machine: the program runs itself again N times, and watches.
//
// The parent is no rank. Children find their place in the environment variable COMITY_PERF_WORLD
// ("rank/nranks/descriptor"), the descriptor being a board that they inherit; no file is made. They die with
// the parent, whatever kills it, and the first of them to fail takes the others along.
#pragma once

#include <optional>

#include "comity/plugin/result.h"
#include "src/base/unique_fd.h"

namespace comity::perf {

// A child's place.
struct World {
  int rank = 0;
  int nranks = 1;
  UniqueFd board;
};

// The place that a parent gave to this process, or nothing if it has no such parent. kInvalidArgument when
// the variable is there and makes no sense. The descriptor is made close-on-exec. Call it once.
Result<std::optional<World>> world_from_environment();

// Starts `nranks` children with the arguments `argv` (null-terminated, argv[0] included) and blocks until all
// have ended. The value is the exit status to end with: 0 if all ended with 0; otherwise that of the first
// that failed, 128 + the signal's number if one killed it, after the others had two seconds to end by
// themselves and were then killed. Call it with a single thread. kSystemError if a child cannot be started
// (those that were are killed).
Result<int> run_ranks(int nranks, char* const* argv);

}  // namespace comity::perf
