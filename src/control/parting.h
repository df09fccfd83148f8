// Connections that are done, kept by the control thread until nothing of what was sent on them can be lost.
//
// Their owner is free of them at once: nobody waits for a peer that reads late. While the process lives a
// connection stays until the peer ends its direction; for kAfterAcknowledgedMs only once its system has
// acknowledged everything. At the end of the process the control thread stays until every one of them is
// acknowledged: as long as bytes move, and for a while where nothing does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "src/base/stream.h"
#include "src/control/loop.h"

namespace comity::control {

inline constexpr uint64_t kAfterAcknowledgedMs = 10'000;

struct Patience {
  uint64_t alive_ms;   // without movement, while the process lives
  uint64_t ending_ms;  // and when it ends
};
// A peer's user may compute for long before it reads; a control thread always reads.
inline constexpr Patience kDataPatience{UINT64_MAX, 30'000};
inline constexpr Patience kControlPatience{30'000, 5'000};

// Takes a connected stream and the last bytes that are to go out on it. Control thread only.
void part_with(Loop& loop, StreamPtr stream, std::vector<std::byte> unsent, const Patience& patience);

}  // namespace comity::control
