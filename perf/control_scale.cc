// What the control plane costs one rank, by the number of ranks: bytes of memory once all have joined, and
// what it sent to get there. Every rank's real code, in the simulated world of src/control/sim.
//
//   control_scale [--ranks N] [--per-host N] [--seed N]     without --ranks: 2 to 100,000
//
// Memory is counted by the allocator, by whose turn it was: a rank's node, channels, watches and timers. What
// is the network's is not. The book of addresses, alike for all, is held once in a world, and counted to each
// rank, as a process holds it. A message is one write: a frame, or a step of a handshake.
#include <fmt/core.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "src/control/sim/rank.h"
#include "src/control/tree_shape.h"

namespace {

// Before each block: whose it is, and how large. Room for the largest alignment that is asked for.
struct alignas(16) Header {
  uint64_t bytes;
  uint32_t owner;
  uint32_t offset;  // of the block in what malloc gave
};

uint32_t running = comity::control::sim::kNetwork;
constexpr size_t kMostRanks = 1u << 20;
int64_t held[kMostRanks];  // by process

void* allocate(size_t bytes, size_t alignment) {
  const size_t offset = alignment > sizeof(Header) ? alignment : sizeof(Header);
  const size_t whole = (offset + bytes + offset - 1) / offset * offset;
  void* start = alignment > sizeof(Header) ? std::aligned_alloc(alignment, whole) : std::malloc(whole);
  if (start == nullptr) throw std::bad_alloc();
  std::byte* block = static_cast<std::byte*>(start) + offset;
  new (block - sizeof(Header)) Header{bytes, running, static_cast<uint32_t>(offset)};
  if (running < kMostRanks) held[running] += static_cast<int64_t>(bytes);
  return block;
}

void release(void* block) {
  if (block == nullptr) return;
  auto* bytes = static_cast<std::byte*>(block);
  const Header header = *reinterpret_cast<Header*>(bytes - sizeof(Header));
  if (header.owner < kMostRanks) held[header.owner] -= static_cast<int64_t>(header.bytes);
  std::free(bytes - header.offset);
}

}  // namespace

void* operator new(size_t bytes) {
  return allocate(bytes, alignof(std::max_align_t));
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* block) noexcept {
  release(block);
}
void operator delete(void* block, size_t) noexcept {
  release(block);
}
void operator delete(void* block, std::align_val_t) noexcept {
  release(block);
}
void operator delete(void* block, size_t, std::align_val_t) noexcept {
  release(block);
}

namespace comity::control::sim {
namespace {

struct Options {
  std::vector<uint32_t> ranks{2, 16, 128, 1024, 10'000, 100'000};
  uint32_t per_host = 128;
  uint64_t seed = 1;
};

// The middle one of what ranks of one kind hold besides the log of calls and the book.
std::string middle_of(std::vector<int64_t>& bytes) {
  if (bytes.empty()) return "-";
  const auto middle = bytes.begin() + static_cast<ptrdiff_t>(bytes.size() / 2);
  std::nth_element(bytes.begin(), middle, bytes.end());
  return std::to_string(*middle);
}

void print_row(World& world, Communicator& ranks, double seconds) {
  const uint32_t nranks = ranks.size();
  const auto book_bytes = static_cast<int64_t>(ranks[nranks - 1].node().book_bytes());
  std::vector<int64_t> root, inner, leaf;
  Traffic all, most;
  for (uint32_t rank = 0; rank < nranks; ++rank) {
    const auto bytes = held[rank] - static_cast<int64_t>(sizeof(CallLog));
    if (rank == 0) {
      root.push_back(bytes - static_cast<int64_t>(ranks[0].node().book_bytes()));  // it made one itself
    } else {
      (child_count_of(rank, nranks) > 0 ? inner : leaf).push_back(bytes);
    }
    const Traffic& sent = world.traffic(rank);
    all.messages += sent.messages;
    all.bytes += sent.bytes;
    most.messages = std::max(most.messages, sent.messages);
    most.bytes = std::max(most.bytes, sent.bytes);
  }
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  fmt::print("| {} | {} | {} | {} | {} | {:.1f} | {} | {} | {} | {:.1f} | {} |\n", nranks, middle_of(root),
             middle_of(inner), middle_of(leaf), book_bytes, static_cast<double>(all.messages) / nranks,
             most.messages, all.bytes / nranks, most.bytes, seconds, usage.ru_maxrss / 1024);
  std::fflush(stdout);
}

void let_join(World& world, Communicator& ranks) {
  const uint32_t nranks = ranks.size();
  ranks.join(nranks / 10 + 1);  // ten ranks a millisecond
  uint32_t standing = 0;        // all below
  const auto all_stand = [&] {
    while (standing < nranks && ranks[standing].stands()) ++standing;
    return standing == nranks;
  };
  if (!world.run_until(all_stand, 600'000)) {
    fmt::print(stderr, "{} ranks did not join: {}\n", nranks, ranks[0].verdict_text());
    std::_Exit(1);
  }
  world.run_for_ms(1000);  // the last visit's connection closes
}

// In a process of its own, which ends without taking the world apart.
[[noreturn]] void measure(const Options& options, uint32_t nranks) {
  const uint64_t since_ns = now_ns();
  ::mallopt(M_MMAP_THRESHOLD, 1 << 30);  // books come and go
  ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
  WorldOptions world_options;
  world_options.per_host = options.per_host;
  world_options.short_percent = 0;
  world_options.window_bytes = SIZE_MAX / 2;
  world_options.wake_ns = 0;
  world_options.running = &running;
  {
    World first(options.seed, 2, world_options);  // what a thread has once is not the first rank's
    Communicator two(first, 2);
    let_join(first, two);
  }
  std::fill(std::begin(held), std::end(held), 0);
  World world(options.seed, nranks, world_options);
  Communicator ranks(world, nranks, 600'000);
  let_join(world, ranks);
  print_row(world, ranks, static_cast<double>(now_ns() - since_ns) / 1e9);
  std::_Exit(0);
}

}  // namespace
}  // namespace comity::control::sim

int main(int argc, char** argv) {
  comity::control::sim::Options options;
  CLI::App app("what the control plane costs one rank");
  app.add_option("--ranks", options.ranks, "numbers of ranks")->check(CLI::Range(1u, 1u << 20));
  app.add_option("--per-host", options.per_host, "ranks of one host")->check(CLI::Range(1u, 60'000u));
  app.add_option("--seed", options.seed, "of the world");
  CLI11_PARSE(app, argc, argv);
  fmt::print(
      "| ranks | root, bytes | inner | leaf | book of addresses | messages a rank | most | bytes sent a rank "
      "| most | "
      "took, s | peak, MiB |\n|---|---|---|---|---|---|---|---|---|---|---|\n");
  for (const uint32_t nranks : options.ranks) {
    std::fflush(stdout);
    const pid_t child = ::fork();
    if (child == 0) comity::control::sim::measure(options, nranks);
    int status = 0;
    if (child > 0 && ::waitpid(child, &status, 0) == child && status == 0) continue;
    fmt::print(stderr, "no row of {} ranks: its process ended with {:#x} (9: it needs 90 KB a rank)\n",
               nranks, status);
    return 1;
  }
  return 0;
}
