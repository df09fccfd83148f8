// PMIx, the interface between Open MPI, PRRTE or Slurm and their processes, through its client library, which
// is opened at run time: nothing here is needed to build or link.
// PMIx Standard 4.1, chapters 6 (key-value access) and 7 (processes).
#pragma once

#include "comity/plugin/result.h"
#include "src/api/launch/key_value.h"

namespace comity::launch {

class PmixStore : public KeyValueStore {
 public:
  // This process's place in its job.
  virtual Result<Place> place(const Deadline& deadline) = 0;
};

// The store of this process's PMIx server. The first call opens the library and connects; the process
// disconnects when it exits. Blocks for the server's answers. kSystemError: no library (names the package),
// or the server refuses; kInvalidUsage: a child of the process that was started.
Result<PmixStore*> pmix_store();

}  // namespace comity::launch
