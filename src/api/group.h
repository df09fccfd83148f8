// Groups: calls that a thread collects between comityGroupStart and comityGroupEnd and then carries out
// together.
#pragma once

#include "comity/comity.h"
#include "comity/plugin/result.h"
#include "src/api/making.h"
#include "src/engine/call.h"

namespace comity::api {

// Whether the calling thread has a group open.
bool group_open();
// Adds a call to it, or, if `checked` or the stream is an error, spoils the group with it, and returns that.
// Exchanges of one communicator become one, at the place of the first. `function` is static.
Status add_to_group(comityComm_t comm, const engine::Call& call, comityStream_t stream, const char* function,
                    Status checked);
// Makes a communicator at the group's end, after its calls.
Status add_to_group(MakeJob job);
// A call was refused, so nothing of the group will be carried out. Returns the error.
Status spoil_group(Status refused);

}  // namespace comity::api
