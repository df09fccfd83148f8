// init_perf: what it costs to begin. Starts N ranks as processes of this machine, makes one communicator
// among them, and prints one line of JSON: how long comityCommInitRank took, how long the first barrier after
// it, and the memory that a rank then holds.
//
//   init_perf --ranks 64 [--hosts 4] [--rounds 3]
//
// All ranks are running and have the id before the clock starts, so that starting processes is no part of the
// time. --hosts spreads the ranks over that many hosts as far as the library can tell (COMITY_HOSTID).
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "comity/comity.h"
#include "perf/job/board.h"
#include "perf/job/launch.h"
#include "src/base/clock.h"

namespace comity::perf {
namespace {

struct Options {
  int ranks = 2;
  int hosts = 1;
  int rounds = 1;
};

// KiB that stand behind `key` in a file of /proc; 0 where it is not.
uint64_t kib_of(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) == 0) return std::strtoull(line.c_str() + key.size(), nullptr, 10);
  }
  return 0;
}

// Of this process, in KiB; largest and sum are taken over the ranks.
struct Memory {
  uint64_t resident, proportional, page_tables;
};
Memory memory_now() {
  return {kib_of("/proc/self/smaps_rollup", "Rss:"), kib_of("/proc/self/smaps_rollup", "Pss:"),
          kib_of("/proc/self/status", "VmPTE:")};
}

Status status_of(comityResult_t result, const char* what) {
  if (result == comitySuccess) return {};
  return Status(Code::kRemoteError, fmt::format("{}: {}", what, comityGetLastError(nullptr)));
}

Result<comityUniqueId> meet(SharedBoard& board, int rank) {
  comityUniqueId id;
  if (rank == 0) {
    COMITY_RETURN_IF_ERROR(status_of(comityGetUniqueId(&id), "comityGetUniqueId"));
    BoardId bytes;
    std::memcpy(bytes.data(), id.internal, bytes.size());
    board.publish_id(bytes);
  }
  // Every rank passes the barrier once per round, so that the id read behind it is this round's.
  COMITY_RETURN_IF_ERROR(board.barrier());
  COMITY_ASSIGN_OR_RETURN(const BoardId bytes, board.await_id());
  std::memcpy(id.internal, bytes.data(), bytes.size());
  return id;
}

Status round(const Options& options, SharedBoard& board, int rank) {
  COMITY_ASSIGN_OR_RETURN(const comityUniqueId id, meet(board, rank));
  COMITY_RETURN_IF_ERROR(board.barrier());
  const uint64_t began_ns = now_ns();
  comityComm_t comm = COMITY_COMM_NULL;
  COMITY_RETURN_IF_ERROR(status_of(comityCommInitRank(&comm, options.ranks, id, rank), "comityCommInitRank"));
  const uint64_t made_ns = now_ns();
  COMITY_RETURN_IF_ERROR(status_of(comityBarrier(comm, nullptr), "comityBarrier"));
  const uint64_t met_ns = now_ns();
  const Memory memory = memory_now();
  std::array<double, 4> worst = {
      static_cast<double>(made_ns - began_ns) / 1e6, static_cast<double>(met_ns - made_ns) / 1e6,
      static_cast<double>(memory.resident), static_cast<double>(memory.page_tables)};
  COMITY_RETURN_IF_ERROR(board.max_over_ranks(worst));
  COMITY_ASSIGN_OR_RETURN(const uint64_t proportional, board.sum_over_ranks(memory.proportional));
  COMITY_ASSIGN_OR_RETURN(const uint64_t tables, board.sum_over_ranks(memory.page_tables));
  if (rank == 0) {
    const auto ranks = static_cast<uint64_t>(options.ranks);
    fmt::print(
        "{{\"ranks\": {}, \"hosts\": {}, \"init_ms\": {:.1f}, \"barrier_ms\": {:.2f}, \"rss_kib\": {:.0f}, "
        "\"pss_kib\": {}, \"page_tables_kib\": {}}}\n",
        options.ranks, options.hosts, worst[0], worst[1], worst[2], proportional / ranks, tables / ranks);
    std::fflush(stdout);
  }
  return status_of(comityCommDestroy(comm), "comityCommDestroy");
}

Result<int> run(const Options& options, char** argv) {
  COMITY_ASSIGN_OR_RETURN(const std::optional<World> world, world_from_environment());
  if (!world) return run_ranks(options.ranks, argv);
  COMITY_ASSIGN_OR_RETURN(const auto board,
                          SharedBoard::attach(world->board.get(), world->rank, world->nranks));
  if (options.hosts > 1) {
    const std::string host = fmt::format("h{}", world->rank * options.hosts / world->nranks);
    setenv("COMITY_HOSTID", host.c_str(), 1);
  }
  for (int i = 0; i < options.rounds; ++i) COMITY_RETURN_IF_ERROR(round(options, *board, world->rank));
  return 0;
}

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  using comity::perf::Options;
  Options options;
  CLI::App app{"What it costs to begin: time and memory of making a communicator among local processes."};
  app.add_option("--ranks", options.ranks, "processes")->check(CLI::Range(1, 4096));
  app.add_option("--hosts", options.hosts, "hosts that they are spread over")->check(CLI::Range(1, 4096));
  app.add_option("--rounds", options.rounds, "communicators made one after the other")
      ->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);
  const auto status = comity::perf::run(options, argv);
  if (status.ok()) return *status;
  fmt::print(stderr, "init_perf: {}\n", status.status().message());
  return 1;
}
