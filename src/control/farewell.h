// The last word of a rank that cannot even begin to join, on the caller's thread: the control thread may be
// what could not be had.
#pragma once

#include <cstdint>

#include "comity/plugin/result.h"
#include "src/base/clock.h"
#include "src/control/unique_id.h"

namespace comity::control {

// Visits the meeting point of `id` as `rank` of `nranks` and gives up there, for `why`. Blocks until the
// answer, at most to the deadline. Returns the reason that the meeting point was told first, which is
// everybody's; `why` if it does not answer.
Status say_farewell(const IdContent& id, uint32_t rank, uint32_t nranks, const Status& why,
                    Deadline deadline);

}  // namespace comity::control
