// How a process that a launcher started finds the other ranks.
//
//   find_launcher   who started this process? rank, number of ranks
//   meet            rank 0 makes a unique id; the others get it, through the launcher's key-value store, from
//                   a file, or because all can compute it from a secret and an address
//   over            everyone joined, or nobody will
//
// A unique id holds a secret, so it travels only where the launcher protects it, and with COMITY_SECRET_FILE
// what travels is worth nothing without that file (secret_file.h). docs/launchers.md says who can read what.
#pragma once

#include <cstdint>
#include <memory>

#include "comity/plugin/result.h"
#include "src/api/launch/variables.h"
#include "src/base/clock.h"
#include "src/base/settings.h"
#include "src/control/control.h"

namespace comity::launch {

class Launcher {
 public:
  virtual ~Launcher() = default;
  const Place& place() const { return place_; }
  // For people: "torchrun", "Open MPI".
  virtual const char* name() const = 0;
  // The id of the communicator of all ranks. Blocks until it is known, until `deadline` at most; on rank 0 as
  // long as making it takes, and with some launchers until all ranks have come. One thread. Errors:
  // kInvalidUsage (something is missing: its name), kTimeout, kRemoteError (rank 0 could not make an id, and
  // why), kSystemError.
  virtual Result<control::UniqueId> meet(const Deadline& deadline) = 0;
  // Nobody needs what meet() left behind any more. Called after joining, well or not.
  virtual void over() {}

 protected:
  explicit Launcher(Place place) : place_(place) {}

 private:
  Place place_;
};

// Looks at the environment, in this order: COMITY_RANK; torchrun; PMIx (Open MPI, PRRTE, Slurm's --mpi=pmix);
// PMI-1 (MPICH and other Hydra, Slurm's --mpi=pmi2); RANK and WORLD_SIZE; Slurm. None of them: rank 0 of 1.
// Connects to the launcher where that must be asked. kInvalidUsage names the variable that is missing or
// makes no sense, and what to set.
Result<std::unique_ptr<Launcher>> find_launcher(const Settings& settings);

}  // namespace comity::launch
