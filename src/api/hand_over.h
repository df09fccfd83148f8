// Where a checked call goes: into the group that is open, onto its stream, or to the engine at once.
#pragma once

#include "comity/comity.h"
#include "comity/plugin/result.h"
#include "src/engine/call.h"

namespace comity::api {

// `checked`: what the call's arguments came to; an error is remembered and returned, and spoils an open
// group. `function` is static. With a NULL stream on a blocking communicator it blocks until the call is
// complete; on one that is not it returns comityInProgress, and with a stream comitySuccess, once the
// call is enqueued. What `call` points to besides the user's memory is needed until this returns.
comityResult_t hand_over(comityComm_t comm, const engine::Call& call, comityStream_t stream,
                         const char* function, Status checked);

}  // namespace comity::api
