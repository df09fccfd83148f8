// Making communicators: one, several of this process at once, or one behind the caller's back.
#pragma once

#include <functional>
#include <vector>

#include "comity/comity.h"
#include "comity/plugin/result.h"
#include "src/api/config.h"

namespace comity::api {

// One rank's init, its arguments checked. `config` may be the error that reading it came to, which the other
// ranks hear.
struct InitJob {
  comityComm_t* comm;
  int nranks;
  comityUniqueId id;
  int rank;
  Result<CommConfig> config;
};

// Blocks until the rank has joined, and writes its handle; on an error *job.comm stays as it is.
Status init_rank(const InitJob& job);

// Something that makes a communicator: by `make`, which writes *comm.
struct MakeJob {
  comityComm_t* comm;
  comityComm_t parent;  // whose calls are made one after the other; null: none
  std::function<Status()> make;
  bool behind;  // `make` does not block, and leaves a handle that is being made
};
MakeJob job_of(InitJob init);
// Makes several at once: begins those that do not block, and makes the others, a thread for each or for each
// parent. On an error of one, the first is returned, those that were made are aborted, and all handles are
// null. Sets *behind, which it otherwise leaves as it is, if some go on behind the caller's back.
Status make_all(const std::vector<MakeJob>& jobs, bool* behind);

// Writes a handle that is being made, on a thread of its own. Throws what std::thread throws; the other ranks
// hear that, too.
void begin_init_rank(const InitJob& job);

}  // namespace comity::api
