// wake_perf: how soon a rank that sleeps in a call is woken, and what its sleep costs. Three processes of
// this machine: rank 0 and rank 1 share memory, rank 2 is taken for another host, over sockets. Prints a
// line of JSON for each kind of wait.
//
//   wake_perf [--rounds 100] [--wait-ms 10] [--sleep-ms 500]
//
// Rank 0 receives from rank 1 (`shm`), from rank 2 (`tcp`), or from both in one group, of which one sends at
// once and the other late, by shared memory (`mixed_shm`) or a socket (`mixed_tcp`). The late one sends
// --wait-ms after rank 0 began to wait: `wake_us` is from the start of that Send to the end of rank 0's wait,
// and `p90_us` of nine rounds in ten. `cpu_percent` is the processor time of rank 0's thread, of one core,
// in one wait of --sleep-ms, and `switches_per_s` how often it gave the core away.
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#include "comity/comity.h"
#include "src/base/clock.h"

namespace comity::perf {
namespace {

constexpr int kRanks = 3;

struct Options {
  int rounds = 100;
  uint64_t wait_ms = 10;
  uint64_t sleep_ms = 500;
};

struct Kind {
  const char* name;
  int late;   // the rank that sends late
  int early;  // the one that sends at once, or 0: nobody
};
constexpr std::array<Kind, 4> kKinds{
    {{"shm", 1, 0}, {"tcp", 2, 0}, {"mixed_shm", 1, 2}, {"mixed_tcp", 2, 1}}};

// What the processes tell each other.
struct Shared {
  std::atomic<bool> id_is_there;
  comityUniqueId id;
  std::atomic<uint64_t> waits;    // that rank 0 began
  std::atomic<uint64_t> sent_ns;  // when the late Send of the last one began
};

void must(comityResult_t result, const char* what) {
  if (result == comitySuccess) return;
  fmt::print(stderr, "wake_perf: {}: {}\n", what, comityGetLastError(nullptr));
  std::exit(1);
}

uint64_t cpu_ns(const rusage& usage) {
  const auto ns = [](const timeval& time) {
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(time.tv_usec) * 1000;
  };
  return ns(usage.ru_utime) + ns(usage.ru_stime);
}

void pause_ms(uint64_t ms) {
  const timespec time{static_cast<time_t>(ms / 1000), static_cast<long>(ms % 1000 * 1'000'000)};
  ::nanosleep(&time, nullptr);
}

// Nanoseconds from the late Send to the end of rank 0's wait.
uint64_t receive(comityComm_t comm, const Kind& kind, Shared& shared) {
  std::array<int64_t, 2> got{};
  must(comityGroupStart(), "comityGroupStart");
  must(comityRecv(&got[0], 1, comityInt64, kind.late, comm, nullptr), "comityRecv");
  if (kind.early != 0) must(comityRecv(&got[1], 1, comityInt64, kind.early, comm, nullptr), "comityRecv");
  shared.waits.fetch_add(1);
  must(comityGroupEnd(), "comityGroupEnd");
  return now_ns() - shared.sent_ns.load();
}

void send_once(comityComm_t comm, int rank, const Kind& kind, uint64_t wait, uint64_t late_ms,
               Shared& shared) {
  if (rank != kind.late && rank != kind.early) return;
  while (shared.waits.load() < wait) pause_ms(1);
  if (rank == kind.late) {
    pause_ms(late_ms);
    shared.sent_ns.store(now_ns());
  }
  const int64_t given = rank;
  must(comitySend(&given, 1, comityInt64, 0, comm, nullptr), "comitySend");
}

void report(comityComm_t comm, const Kind& kind, const Options& options, Shared& shared) {
  std::vector<double> us;
  for (int round = 0; round < options.rounds; ++round)
    us.push_back(static_cast<double>(receive(comm, kind, shared)) / 1000);
  std::sort(us.begin(), us.end());
  rusage before{}, after{};
  ::getrusage(RUSAGE_THREAD, &before);
  const uint64_t begun_ns = now_ns();
  receive(comm, kind, shared);
  const auto took_ns = static_cast<double>(now_ns() - begun_ns);
  ::getrusage(RUSAGE_THREAD, &after);
  fmt::print(
      "{{\"kind\": \"{}\", \"wake_us\": {:.1f}, \"p90_us\": {:.1f}, \"cpu_percent\": {:.2f}, "
      "\"switches_per_s\": {:.0f}}}\n",
      kind.name, us[us.size() / 2], us[us.size() * 9 / 10],
      100.0 * static_cast<double>(cpu_ns(after) - cpu_ns(before)) / took_ns,
      static_cast<double>(after.ru_nvcsw - before.ru_nvcsw) * 1e9 / took_ns);
}

void be(int rank, const Options& options, Shared& shared) {
  ::setenv("COMITY_HOSTID", rank == 2 ? "wake-perf-b" : "wake-perf-a", 1);
  if (rank == 0) {
    must(comityGetUniqueId(&shared.id), "comityGetUniqueId");
    shared.id_is_there = true;
  }
  while (!shared.id_is_there) pause_ms(1);
  comityComm_t comm = nullptr;
  must(comityCommInitRank(&comm, kRanks, shared.id, rank), "comityCommInitRank");
  uint64_t wait = 0;
  for (const Kind& kind : kKinds) {
    must(comityBarrier(comm, nullptr), "comityBarrier");
    if (rank == 0) {
      report(comm, kind, options, shared);
      wait += static_cast<uint64_t>(options.rounds) + 1;
      continue;
    }
    for (int round = 0; round <= options.rounds; ++round) {
      const uint64_t late_ms = round == options.rounds ? options.sleep_ms : options.wait_ms;
      send_once(comm, rank, kind, ++wait, late_ms, shared);
    }
  }
  must(comityCommDestroy(comm), "comityCommDestroy");
}

int main_of(int argc, char** argv) {
  Options options;
  CLI::App app("How soon a rank that sleeps in a call is woken, and what its sleep costs.");
  app.add_option("--rounds", options.rounds, "of each kind of wait")->check(CLI::Range(1, 100'000));
  app.add_option("--wait-ms", options.wait_ms, "before the late Send")->check(CLI::Range(1, 10'000));
  app.add_option("--sleep-ms", options.sleep_ms, "of the wait whose cost is told")
      ->check(CLI::Range(1, 60'000));
  CLI11_PARSE(app, argc, argv);
  void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  auto* shared = new (memory) Shared{};
  std::array<pid_t, kRanks> ranks{};
  for (int rank = 0; rank < kRanks; ++rank) {
    if ((ranks[static_cast<size_t>(rank)] = ::fork()) != 0) continue;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    be(rank, options, *shared);
    std::fflush(stdout);
    ::_exit(0);
  }
  int failed = 0;
  for (int status = 0; ::wait(&status) > 0;) {
    if (status == 0) continue;
    if (std::exchange(failed, 1) != 0) continue;
    for (const pid_t rank : ranks) ::kill(rank, SIGTERM);
  }
  return failed;
}

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::main_of(argc, argv);
}
