// One rank's membership of the job: its place, its board, its communicator.
#pragma once

#include <memory>

#include "comity/comity.h"
#include "perf/core/options.h"
#include "perf/job/board.h"
#include "perf/job/launch.h"

namespace comity::perf {

class Session {
 public:
  // A child of run_ranks. Pins itself when the ranks fit the cores and options.pin is set. Blocks until all
  // ranks have joined.
  static Result<std::unique_ptr<Session>> of_child(const World& world, const Options& options);
  // A rank started from outside, by options.rank and its kin. Likewise.
  static Result<std::unique_ptr<Session>> of_outsider(const Options& options);
  // A rank that a launcher started: torchrun, an MPI's mpirun, srun. Likewise.
  static Result<std::unique_ptr<Session>> of_launcher(const Options& options);
  // Destroys the communicator.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  int rank() const { return rank_; }
  int nranks() const { return nranks_; }
  bool pinned() const { return pinned_; }
  comityComm_t comm() const { return comm_; }
  Board& board() { return *board_; }
  // The board as memory of one machine, or null when ranks share none.
  SharedBoard* shared_board() { return shared_; }

 private:
  Session(int rank, int nranks) : rank_(rank), nranks_(nranks) {}
  Result<comityUniqueId> meet_on_board();
  Result<comityUniqueId> meet_by_options(const Options& options);
  Status join(const comityUniqueId& id);

  int rank_;
  int nranks_;
  bool pinned_ = false;
  comityComm_t comm_ = COMITY_COMM_NULL;
  std::unique_ptr<Board> board_;
  SharedBoard* shared_ = nullptr;
};

}  // namespace comity::perf
