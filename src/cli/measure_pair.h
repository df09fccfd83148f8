// What two ranks can do between them, measured by collectives of a communicator of their own.
#pragma once

#include <cstdint>
#include <string>

#include "comity/comity.h"
#include "comity/plugin/result.h"

namespace comity::cli {

struct PairFigures {
  uint64_t latency_ns = 0;             // one way
  uint64_t bandwidth_bytes_per_s = 0;  // from rank 0 to rank 1
};

// Called by both ranks of a pair at once, each with its number (0 or 1), in their own threads or processes;
// the transport is what COMITY_TRANSPORTS says when it is called. Latency: an 8-byte all-reduce, which is one
// exchange. Bandwidth: a broadcast between malloc'ed buffers that the caller wrote first, of up to 32 MiB,
// less where that would take over 50 ms. Medians of 9. Figures of rank 1 count; rank 0 gets its own view of
// them. Blocks for up to a second. kSystemError with the communicator's own words.
Result<PairFigures> measure_pair(int rank, const comityUniqueId& id);

}  // namespace comity::cli
