// A board over the communicator itself, for ranks that share no memory outside it (several hosts).
#pragma once

#include <string>

#include "comity/comity.h"
#include "perf/job/board.h"

namespace comity::perf {

// "what: the library's sentence", or success.
Status status_of(comityResult_t result, comityComm_t comm, const std::string& what);

// Starts by comityBarrier, whose raggedness at its end is part of the times then.
class CommBoard final : public Board {
 public:
  // `comm` outlives the board.
  explicit CommBoard(comityComm_t comm) : comm_(comm) {}
  Status start_together() override;
  Status max_over_ranks(std::span<double> values) override;
  Result<uint64_t> sum_over_ranks(uint64_t value) override;
  bool one_clock() const override { return false; }

 private:
  comityComm_t comm_;
};

}  // namespace comity::perf
