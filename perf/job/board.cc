#include "perf/job/board.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "perf/job/affinity.h"
#include "src/base/clock.h"

namespace comity::perf {
namespace {

constexpr size_t kSamplesPerRank = 1024;
constexpr uint64_t kSlackNs = 2000;  // a line moved between two cores in 50 to 700 ns on the machines at hand
constexpr uint64_t kTimeoutNs = 120'000'000'000;
constexpr uint64_t kIdTimeoutMs = 60'000;

Status system_error(const std::string& what) {
  return Status(Code::kSystemError, fmt::format("{}: {}", what, std::strerror(errno)));
}

}  // namespace

struct SharedBoard::Header {
  comity_start_line line;
  alignas(64) uint64_t bounce;
  alignas(64) uint64_t note;
  uint32_t id_ready;
  char id[kBoardIdBytes];
};

size_t SharedBoard::bytes_for(int nranks) {
  return 4096 + static_cast<size_t>(nranks) * kSamplesPerRank * sizeof(double);
}

Result<UniqueFd> SharedBoard::create(int nranks) {
  static_assert(sizeof(Header) <= 4096);
  UniqueFd fd(memfd_create("comity-perf-board", 0));
  if (!fd.valid()) return system_error("cannot create the shared board (memfd_create)");
  if (ftruncate(fd.get(), static_cast<off_t>(bytes_for(nranks))) != 0) {
    return system_error("cannot size the shared board");
  }
  return fd;
}

Result<std::unique_ptr<SharedBoard>> SharedBoard::attach(int fd, int rank, int nranks) {
  const size_t bytes = bytes_for(nranks);
  struct stat info {};
  if (fstat(fd, &info) != 0) return system_error("cannot look at the shared board");
  const bool small = static_cast<size_t>(info.st_size) < bytes;
  if (small && ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    return system_error("cannot size the shared board");
  }
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return system_error("cannot map the shared board");
  return std::unique_ptr<SharedBoard>(new SharedBoard(memory, bytes, rank, nranks));
}

Result<std::unique_ptr<SharedBoard>> SharedBoard::attach_file(const std::string& path, int rank, int nranks) {
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return system_error("cannot open the board file " + path);
  return attach(fd.get(), rank, nranks);
}

SharedBoard::SharedBoard(void* memory, size_t bytes, int rank, int nranks)
    : header_(static_cast<Header*>(memory)),
      bytes_(bytes),
      rank_(rank),
      nranks_(nranks),
      crowded_(nranks > machine_core_count()) {}

SharedBoard::~SharedBoard() {
  munmap(header_, bytes_);
}

double* SharedBoard::samples_of(int rank) const {
  auto* base = reinterpret_cast<double*>(reinterpret_cast<char*>(header_) + 4096);
  return base + static_cast<size_t>(rank) * kSamplesPerRank;
}

Status SharedBoard::start_together() {
  const uint64_t slack_ns = crowded_ ? 0 : kSlackNs;
  if (comity_start_together(&header_->line, nranks_, crowded_ ? 1 : 0, slack_ns, kTimeoutNs) == 0) return {};
  return Status(Code::kTimeout, fmt::format("rank {}: a rank did not come to the starting line", rank_));
}

Status SharedBoard::barrier() {
  if (comity_start_together(&header_->line, nranks_, crowded_ ? 1 : 0, 0, kTimeoutNs) == 0) return {};
  return Status(Code::kTimeout, fmt::format("rank {}: a rank did not come to the barrier", rank_));
}

Status SharedBoard::max_over_ranks(std::span<double> values) {
  for (size_t done = 0; done < values.size(); done += kSamplesPerRank) {
    const std::span<double> part = values.subspan(done, std::min(kSamplesPerRank, values.size() - done));
    std::copy(part.begin(), part.end(), samples_of(rank_));
    COMITY_RETURN_IF_ERROR(barrier());
    for (int peer = 0; peer < nranks_; ++peer) {
      const double* theirs = samples_of(peer);
      for (size_t i = 0; i < part.size(); ++i) part[i] = std::max(part[i], theirs[i]);
    }
    COMITY_RETURN_IF_ERROR(barrier());
  }
  return {};
}

Result<uint64_t> SharedBoard::sum_over_ranks(uint64_t value) {
  std::memcpy(samples_of(rank_), &value, sizeof value);
  COMITY_RETURN_IF_ERROR(barrier());
  uint64_t sum = 0;
  for (int peer = 0; peer < nranks_; ++peer) {
    uint64_t theirs = 0;
    std::memcpy(&theirs, samples_of(peer), sizeof theirs);
    sum += theirs;
  }
  COMITY_RETURN_IF_ERROR(barrier());
  return sum;
}

void SharedBoard::publish_id(const BoardId& id) {
  std::memcpy(header_->id, id.data(), id.size());
  __atomic_store_n(&header_->id_ready, 1u, __ATOMIC_RELEASE);
}

Result<BoardId> SharedBoard::await_id() const {
  const Deadline deadline = Deadline::after_ms(kIdTimeoutMs);
  while (__atomic_load_n(&header_->id_ready, __ATOMIC_ACQUIRE) == 0) {
    if (deadline.passed()) {
      return Status(Code::kTimeout,
                    fmt::format("rank {}: rank 0 published no id within {} s", rank_, kIdTimeoutMs / 1000));
    }
    sched_yield();
  }
  BoardId id;
  std::memcpy(id.data(), header_->id, id.size());
  return id;
}

void SharedBoard::set_note(uint64_t note) {
  __atomic_store_n(&header_->note, note, __ATOMIC_RELEASE);
}

uint64_t SharedBoard::note() const {
  return __atomic_load_n(&header_->note, __ATOMIC_ACQUIRE);
}

uint64_t* SharedBoard::bounce_line() {
  return &header_->bounce;
}

}  // namespace comity::perf
