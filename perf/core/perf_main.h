// The whole program of a `<collective>_perf` but its description.
#pragma once

#include "perf/core/collective.h"

namespace comity::perf {

// Parses the command line, starts local ranks unless told that it is one, measures and prints. The exit
// status: 0 when every checked element was right; 1 when some were wrong or something failed (said on
// stderr); 2 for a command line that makes no sense; 128 + n when a rank was killed by signal n.
int perf_main(const CollectiveSpec& spec, int argc, char** argv);

}  // namespace comity::perf
