// Visits to the meeting point on the caller's thread: the last word of a rank that cannot even begin to join
// (the control thread may be what could not be had), and the question whether anyone is there.
#pragma once

#include <cstdint>

#include "comity/plugin/result.h"
#include "src/base/clock.h"
#include "src/control/control.h"
#include "src/control/unique_id.h"

namespace comity::control {

// Visits the meeting point of `id` as `rank` of `nranks` and gives up there, for `why`. Blocks until the
// answer, at most to the deadline. Returns the reason that the meeting point was told first, which is
// everybody's; `why` if it does not answer. `settings`: of the communicator, for the interfaces that lead
// there; null: the process's.
Status say_farewell(const IdContent& id, uint32_t rank, uint32_t nranks, const Status& why, Deadline deadline,
                    const Settings* settings);
// Who answers a question of `rank` where the meeting point of `id` should. Blocks for a second per address at
// most.
Found find_meeting(const IdContent& id, uint32_t rank);

}  // namespace comity::control
