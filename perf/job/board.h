// What the ranks of one measurement need besides the library under test: to start together, and to combine
// their times and counts. It must not go through the collectives being measured where that can be avoided: a
// wrong all-reduce must not be the one that adds up the wrong elements.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "comity/plugin/result.h"
#include "perf/job/start_line.h"
#include "src/base/unique_fd.h"

namespace comity::perf {

// Every method is collective: all ranks call the same ones in the same order, one thread per rank. Each
// blocks for the slowest rank; after an error nothing more can be done with the board.
class Board {
 public:
  virtual ~Board() = default;
  // Returns on all ranks as close to one instant as the board can: call it right before the clock starts.
  // kTimeout or kRemoteError if a rank stays away.
  virtual Status start_together() = 0;
  // Replaces each values[i] by the largest values[i] of all ranks. All spans have one length.
  virtual Status max_over_ranks(std::span<double> values) = 0;
  // The sum over all ranks.
  virtual Result<uint64_t> sum_over_ranks(uint64_t value) = 0;
  // Whether times of different ranks are readings of one clock.
  virtual bool one_clock() const = 0;
};

inline constexpr size_t kBoardIdBytes = 128;
using BoardId = std::array<char, kBoardIdBytes>;

// A board in memory that ranks of one machine share: a memfd handed down to children, or a file of zeros (the
// ranks may then live in different network namespaces). Depends on no library but the kernel.
class SharedBoard final : public Board {
 public:
  // Bytes of memory that a board of so many ranks takes.
  static size_t bytes_for(int nranks);
  // Anonymous memory of zeros for `nranks`, to be inherited by children (not close-on-exec). kSystemError.
  static Result<UniqueFd> create(int nranks);
  // Maps the board behind `fd`, growing an empty file to its size. `fd` may be closed afterwards.
  static Result<std::unique_ptr<SharedBoard>> attach(int fd, int rank, int nranks);
  // The same for the file at `path`, which is made if it is not there. It must be empty or all zeros.
  static Result<std::unique_ptr<SharedBoard>> attach_file(const std::string& path, int rank, int nranks);
  ~SharedBoard() override;

  Status start_together() override;
  Status max_over_ranks(std::span<double> values) override;
  Result<uint64_t> sum_over_ranks(uint64_t value) override;
  bool one_clock() const override { return true; }

  // Waits for all ranks like start_together, without the common instant. Cheaper where nothing is timed.
  Status barrier();
  // Rank 0 pins 128 bytes to the board once; the others wait for them, at most 60 s.
  void publish_id(const BoardId& id);
  Result<BoardId> await_id() const;
  // A number that one rank leaves for the others; pair it with barrier(). Zero at first.
  void set_note(uint64_t note);
  uint64_t note() const;
  // A cache line of its own for two ranks to bounce; zero at first.
  uint64_t* bounce_line();

 private:
  struct Header;
  SharedBoard(void* memory, size_t bytes, int rank, int nranks);
  double* samples_of(int rank) const;

  Header* header_;
  size_t bytes_;
  int rank_;
  int nranks_;
  bool crowded_;  // more ranks than this process has cores
};

}  // namespace comity::perf
