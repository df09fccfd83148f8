// PMI-1, the wire protocol between MPICH's Hydra and its processes: lines of key=value over the descriptor
// that PMI_FD names. Slurm's pmi2 plugin speaks it, too.
// Balaji et al., PMI: A Scalable Parallel Process-Management Interface for Extreme-Scale Systems, EuroMPI
// 2010.
#pragma once

#include "comity/plugin/result.h"
#include "src/api/launch/key_value.h"

namespace comity::launch {

// The store behind PMI_FD. The first call greets the launcher, and the process says goodbye when it exits, as
// the launcher takes an end without that for a crash. Blocks for the launcher's answers. kInvalidUsage: this
// process has initialised MPI, whose connection it is, or is a child of the one that was started;
// kSystemError.
Result<KeyValueStore*> pmi1_store(const Deadline& deadline);

// Of one line "cmd=put_result rc=0 ...": the value of `key`, "" if it has none. Values have no blanks, except
// that of "msg".
std::string pmi1_field(const std::string& line, const std::string& key);

}  // namespace comity::launch
