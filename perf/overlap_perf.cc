// overlap_perf: what a call on a stream costs a thread that computes meanwhile, and what an idle communicator
// costs. Two ranks of this process; prints one line of JSON.
//
//   COMITY_PROGRESS_CPU=1 overlap_perf --cpu 0 [--bytes 64M] [--rounds 20] [--seconds 3]
//
// A thread on core --cpu computes in windows of 50 ms, by turns alone and while one rank's all-reduce is
// enqueued whose peer does not come: nothing moves, and the progress thread waits. `speed` is the best window
// while it waits over the best one alone: on a machine that does other work too, the best is what the thread
// could do. `waiting_cpu_percent` is the processor time of all other threads meanwhile, of one core, and
// `idle_us` that of the whole process in --seconds with the communicator idle.
#include <fmt/core.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vector>

#include "comity/comity.h"
#include "src/base/clock.h"

namespace comity::perf {
namespace {

constexpr uint64_t kWindowNs = 50'000'000;

struct Options {
  int cpu = 0;
  uint64_t bytes = uint64_t{64} << 20;
  int rounds = 20;
  int seconds = 3;
};

void must(comityResult_t result, const char* what) {
  if (result == comitySuccess) return;
  fmt::print(stderr, "overlap_perf: {}: {}\n", what, comityGetLastError(nullptr));
  std::exit(1);
}

void keep_to(int cpu) {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(static_cast<size_t>(cpu), &only);
  if (::pthread_setaffinity_np(pthread_self(), sizeof only, &only) == 0) return;
  fmt::print(stderr, "overlap_perf: core {} is not to be had\n", cpu);
  std::exit(1);
}

// Processor time, user and system.
uint64_t cpu_ns(int who) {
  rusage usage{};
  ::getrusage(who, &usage);
  const auto ns = [](const timeval& time) {
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(time.tv_usec) * 1000;
  };
  return ns(usage.ru_utime) + ns(usage.ru_stime);
}

// Steps per second of a window; arithmetic that no compiler leaves out.
double compute_window() {
  uint64_t state = 1, steps = 0;
  const uint64_t begun_ns = now_ns();
  uint64_t passed_ns = 0;
  while ((passed_ns = now_ns() - begun_ns) < kWindowNs) {
    for (int i = 0; i < 10'000; ++i) state = state * 6364136223846793005u + 1442695040888963407u;
    asm volatile("" : : "r"(state));
    steps += 10'000;
  }
  return static_cast<double>(steps) * 1e9 / static_cast<double>(passed_ns);
}

struct Figures {
  double alone = 0, waiting = 0;  // steps per second, the best window
  double waiting_cpu_percent = 0;
  double idle_us = 0;
};

Figures measure(const Options& options) {
  std::array<comityComm_t, 2> comms{};
  must(comityCommInitAll(comms.data(), 2, nullptr), "comityCommInitAll");
  comityStream_t stream = nullptr;
  must(comityStreamCreate(&stream), "comityStreamCreate");
  keep_to(options.cpu);  // now: the library's threads do not inherit it
  std::vector<float> mine(options.bytes / sizeof(float), 1.0F), others = mine;
  const auto sum = [&](int rank, comityStream_t on) {
    auto& buffer = rank == 0 ? mine : others;
    must(comityAllReduce(buffer.data(), buffer.data(), buffer.size(), comityFloat32, comityMax,
                         comms[static_cast<size_t>(rank)], on),
         "comityAllReduce");
  };
  Figures figures;
  uint64_t waiting_ns = 0, others_cpu_ns = 0;
  compute_window();  // warms up
  for (int round = 0; round < options.rounds; ++round) {
    figures.alone = std::max(figures.alone, compute_window());
    sum(0, stream);
    const uint64_t begun_ns = now_ns();
    const uint64_t before_ns = cpu_ns(RUSAGE_SELF) - cpu_ns(RUSAGE_THREAD);
    figures.waiting = std::max(figures.waiting, compute_window());
    others_cpu_ns += cpu_ns(RUSAGE_SELF) - cpu_ns(RUSAGE_THREAD) - before_ns;
    waiting_ns += now_ns() - begun_ns;
    sum(1, nullptr);
    must(comityStreamSynchronize(stream), "comityStreamSynchronize");
  }
  figures.waiting_cpu_percent = 100.0 * static_cast<double>(others_cpu_ns) / static_cast<double>(waiting_ns);
  const uint64_t before_ns = cpu_ns(RUSAGE_SELF);
  std::this_thread::sleep_for(std::chrono::seconds(options.seconds));
  figures.idle_us = static_cast<double>(cpu_ns(RUSAGE_SELF) - before_ns) / 1000;
  must(comityStreamDestroy(stream), "comityStreamDestroy");
  for (comityComm_t comm : comms) must(comityCommDestroy(comm), "comityCommDestroy");
  return figures;
}

int main_of(int argc, char** argv) {
  Options options;
  CLI::App app("What a call on a stream costs a thread that computes meanwhile.");
  app.add_option("--cpu", options.cpu, "core of the computing thread")->check(CLI::Range(0, CPU_SETSIZE - 1));
  app.add_option("--bytes", options.bytes, "of the all-reduce")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(uint64_t{4}, uint64_t{1} << 40));
  app.add_option("--rounds", options.rounds, "windows of each kind")->check(CLI::Range(1, 10'000));
  app.add_option("--seconds", options.seconds, "of idleness")->check(CLI::Range(1, 3600));
  CLI11_PARSE(app, argc, argv);
  const Figures figures = measure(options);
  fmt::print(
      "{{\"bytes\": {}, \"speed\": {:.3f}, \"waiting_cpu_percent\": {:.1f}, \"idle_us\": {:.0f}, "
      "\"idle_seconds\": {}}}\n",
      options.bytes, figures.waiting / figures.alone, figures.waiting_cpu_percent, figures.idle_us,
      options.seconds);
  return 0;
}

}  // namespace
}  // namespace comity::perf

int main(int argc, char** argv) {
  return comity::perf::main_of(argc, argv);
}
