// Groups: calls that a thread collects between comityGroupStart and comityGroupEnd and then carries out
// together.
#pragma once

#include <vector>

#include "comity/comity.h"
#include "comity/plugin/result.h"
#include "src/engine/communicator.h"

namespace comity::api {

struct InitJob {
  comityComm_t* comm;
  int nranks;
  comityUniqueId id;
  int rank;
};

// Whether the calling thread has a group open.
bool group_open();
// Adds a call to it, or, if `checked` is an error, spoils the group with it. Returns `checked`.
Status add_to_group(comityComm_t comm, const engine::Call& call, Status checked);
Status add_to_group(InitJob job, Status checked);
// Makes several ranks of this process at once, one thread each. First error, if any.
Status init_ranks(std::vector<InitJob> jobs);

}  // namespace comity::api
