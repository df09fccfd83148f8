// Processes that fork with Comity at work in them: fork_worker SCENARIO. Says "right" and exits with 0, or
// says what was wrong.
#include <fmt/core.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/forking.h"

namespace comity::test {
namespace {

// Who comes first with an id, and who is done.
struct Board {
  std::atomic<int> id_ready{0};
  comityUniqueId id{};
  std::atomic<int> stop{0};
  std::atomic<int> steps{0};
};

void be_rank(const comityUniqueId& id, int nranks, int rank) {
  comityComm_t comm = join(id, nranks, rank);
  void* shared = nullptr;
  must(comityMemAlloc(&shared, kCount * sizeof(int)), "comityMemAlloc");
  std::vector<int> plain(kCount);
  for (int round = 0; round < 6; ++round)
    all_reduce(comm, rank, nranks, round, round % 2 == 0 ? static_cast<int*>(shared) : plain.data());
  must(comityMemFree(shared), "comityMemFree");
  must(comityCommDestroy(comm), "comityCommDestroy");
}

// The usual launcher: takes the id, then forks the ranks; it may be one itself.
void launcher(bool is_rank) {
  constexpr int kRanks = 4;
  comityUniqueId id;
  must(comityGetUniqueId(&id), "comityGetUniqueId");
  std::vector<pid_t> children;
  for (int rank = is_rank ? 1 : 0; rank < kRanks; ++rank)
    children.push_back(start([&] { be_rank(id, kRanks, rank); }));
  if (is_rank) be_rank(id, kRanks, 0);
  for (const pid_t child : children) reap(child);
}

// Each rank is the child of a child that has ended.
void double_fork() {
  Board* board = &shared_with_children<Board>();
  must(comityGetUniqueId(&board->id), "comityGetUniqueId");
  for (int rank = 1; rank < 3; ++rank) {
    reap(start([&] {
      start([&] {
        be_rank(board->id, 3, rank);
        ++board->steps;
      });
      ::_exit(0);
    }));
  }
  be_rank(board->id, 3, 0);
  while (board->steps != 2) sched_yield();
}

void must_be_refused(comityResult_t result, const char* what) {
  const std::string why = comityGetLastError(nullptr);
  if (result != comityInvalidUsage)
    fail(fmt::format("{}: result {} ({})", what, static_cast<int>(result), why));
  if (why.find(what) == std::string::npos || why.find("forked") == std::string::npos ||
      why.find("comityCommInitRank") == std::string::npos)
    fail(fmt::format("{} says only: {}", what, why));
}

// No socket, no event, no memory file but what the user allocated: neither as a descriptor nor as a mapping.
void must_hold_nothing_of_parents() {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the folder's own
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    for (const char* kind : {"socket:", "anon_inode:", "memfd:"}) {
      if (target.find(kind) != std::string::npos)
        fail(fmt::format("holds {}: {}", entry.path().string(), target));
    }
  }
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("comity-board") != std::string::npos) fail("has mapped " + line);
  }
}

// Every call that takes a communicator, with the parent's.
void use_parents(comityComm_t comm) {
  int number = 7;
  comityResult_t error = comitySuccess;
  void* handle = nullptr;
  must_be_refused(comityAllReduce(&number, &number, 1, comityInt32, comitySum, comm, nullptr),
                  "comityAllReduce");
  must_be_refused(comityBarrier(comm, nullptr), "comityBarrier");
  must_be_refused(comityCommCount(comm, &number), "comityCommCount");
  must_be_refused(comityCommUserRank(comm, &number), "comityCommUserRank");
  must_be_refused(comityCommGetAsyncError(comm, &error), "comityCommGetAsyncError");
  must_be_refused(comityCommRegister(comm, &number, sizeof number, &handle), "comityCommRegister");
  must_be_refused(comityCommDeregister(comm, handle), "comityCommDeregister");
  must_be_refused(comityCommAbort(comm), "comityCommAbort");
  must_be_refused(comityCommDestroy(comm), "comityCommDestroy");
  must(comityGroupStart(), "comityGroupStart");
  must_be_refused(comityBarrier(comm, nullptr), "comityBarrier");
  must_be_refused(comityGroupEnd(), "comityGroupEnd");
}

// Two ranks work all the time; each forks a child that misuses the parent's communicator and makes one with
// the other's child, then ends by exit().
void anew() {
  Board* board = &shared_with_children<Board>();
  Board* inner = &shared_with_children<Board>();
  must(comityGetUniqueId(&board->id), "comityGetUniqueId");
  const auto rank_body = [&](int rank) {
    comityComm_t comm = join(board->id, 2, rank);
    std::thread worker([&] {
      std::vector<int> buffer(kCount);
      // Both stop after the same round: rank 0 says which, through the data.
      for (int round = 0;; ++round) {
        all_reduce(comm, rank, 2, round, buffer.data());
        int stop = rank == 0 ? board->stop.load() : 0;
        must(comityBcast(&stop, 1, comityInt32, 0, comm, nullptr), "comityBcast");
        if (stop != 0) return;
      }
    });
    const pid_t child = start([&] {
      must_hold_nothing_of_parents();
      use_parents(comm);
      if (rank == 0) {
        must(comityGetUniqueId(&inner->id), "comityGetUniqueId in a child");
        inner->id_ready = 1;
      }
      while (inner->id_ready == 0) sched_yield();
      be_rank(inner->id, 2, rank);
    });
    reap(child);
    if (++board->steps == 2) board->stop = 1;
    worker.join();
    must(comityCommDestroy(comm), "comityCommDestroy");
  };
  const pid_t other = start([&] { rank_body(1); });
  rank_body(0);
  reap(other);
}

// A group that was open when its thread forked.
void group() {
  Board* board = &shared_with_children<Board>();
  must(comityGetUniqueId(&board->id), "comityGetUniqueId");
  const pid_t other = start([&] { be_rank(board->id, 2, 1); });
  comityComm_t comm = join(board->id, 2, 0);
  std::vector<int> buffer(kCount);
  must(comityGroupStart(), "comityGroupStart");
  for (size_t i = 0; i < kCount; ++i) buffer[i] = static_cast<int>(i);
  must(comityAllReduce(buffer.data(), buffer.data(), kCount, comityInt32, comitySum, comm, nullptr),
       "comityAllReduce");
  reap(start([&] { must_be_refused(comityGroupEnd(), "comityGroupEnd"); }));
  must(comityGroupEnd(), "comityGroupEnd");
  for (int round = 1; round < 6; ++round) all_reduce(comm, 0, 2, round, buffer.data());
  must(comityCommDestroy(comm), "comityCommDestroy");
  reap(other);
}

// A progress thread is at work in the parent, for calls that wait: in the child there is none of it, streams
// and events of the parent are refused, and its own work.
void streams() {
  comityComm_t comms[2];
  must(comityCommInitAll(comms, 2, nullptr), "comityCommInitAll");
  comityStream_t stream = nullptr;
  comityEvent_t event = nullptr;
  must(comityStreamCreate(&stream), "comityStreamCreate");
  must(comityEventCreate(&event), "comityEventCreate");
  int mine = 20, others = 22;
  must(comityAllReduce(&mine, &mine, 1, comityInt32, comitySum, comms[0], stream), "comityAllReduce");
  must(comityEventRecord(event, stream), "comityEventRecord");
  const auto refused = [](comityResult_t result, const char* what) {
    if (result != comityInvalidUsage) fail(fmt::format("{}: result {}", what, static_cast<int>(result)));
  };
  reap(start([&] {
    refused(comityStreamSynchronize(stream), "comityStreamSynchronize");
    refused(comityStreamQuery(stream), "comityStreamQuery");
    refused(comityStreamDestroy(stream), "comityStreamDestroy");
    refused(comityEventSynchronize(event), "comityEventSynchronize");
    refused(comityEventDestroy(event), "comityEventDestroy");
    comityComm_t own = nullptr;
    comityStream_t own_stream = nullptr;
    must(comityCommInitAll(&own, 1, nullptr), "comityCommInitAll in a child");
    refused(comityBarrier(own, stream), "comityBarrier on the parent's stream");
    must(comityStreamCreate(&own_stream), "comityStreamCreate in a child");
    must(comityBarrier(own, own_stream), "comityBarrier in a child");
    must(comityStreamSynchronize(own_stream), "comityStreamSynchronize in a child");
    must(comityStreamDestroy(own_stream), "comityStreamDestroy in a child");
    must(comityCommDestroy(own), "comityCommDestroy in a child");
  }));
  if (comityEventQuery(event) != comityInProgress) fail("the parent's call did not wait");
  must(comityAllReduce(&others, &others, 1, comityInt32, comitySum, comms[1], nullptr), "comityAllReduce");
  must(comityEventSynchronize(event), "comityEventSynchronize");
  must(comityStreamSynchronize(stream), "comityStreamSynchronize");
  if (mine != 42 || others != 42) fail("the sum is wrong");
  must(comityEventDestroy(event), "comityEventDestroy");
  must(comityStreamDestroy(stream), "comityStreamDestroy");
  for (comityComm_t comm : comms) must(comityCommDestroy(comm), "comityCommDestroy");
}

// Memory of comityMemAlloc from before the fork is shared with the child, which frees it without harm,
// allocates its own beside it, and uses both in a communicator with its parent.
void memory() {
  Board* board = &shared_with_children<Board>();
  comityComm_t earlier[2];  // so that the parent's memory has been named to others before the fork
  must(comityCommInitAll(earlier, 2, nullptr), "comityCommInitAll");
  void* before = nullptr;
  must(comityMemAlloc(&before, kCount * sizeof(int)), "comityMemAlloc");
  int* const numbers = static_cast<int*>(before);
  numbers[0] = 41;
  must(comityGetUniqueId(&board->id), "comityGetUniqueId");
  const pid_t child = start([&] {
    numbers[0] += 1;
    void* own = nullptr;
    must(comityMemAlloc(&own, kCount * sizeof(int)), "comityMemAlloc in a child");
    std::memset(own, 0x55, kCount * sizeof(int));
    comityComm_t comm = join(board->id, 2, 1);
    for (int round = 0; round < 4; ++round)
      all_reduce(comm, 1, 2, round, round % 2 == 0 ? static_cast<int*>(own) : numbers);
    must(comityMemFree(before), "comityMemFree of the parent's memory");
    if (comityMemFree(before) != comityInvalidArgument) fail("the parent's memory was freed twice");
    must(comityMemFree(own), "comityMemFree in a child");
    must(comityCommDestroy(comm), "comityCommDestroy");
  });
  std::vector<int> plain(kCount);
  void* after = nullptr;
  must(comityMemAlloc(&after, kCount * sizeof(int)), "comityMemAlloc");
  comityComm_t comm = join(board->id, 2, 0);
  if (numbers[0] != 42) fail("what the child wrote is not seen");
  for (int round = 0; round < 4; ++round) {
    std::memset(after, 0x33, kCount * sizeof(int));
    all_reduce(comm, 0, 2, round, plain.data());
    if (static_cast<int*>(after)[kCount - 1] != 0x33333333) fail("the child wrote into the parent's memory");
  }
  reap(child);
  numbers[kCount - 1] = 5;
  must(comityMemFree(before), "comityMemFree");
  must(comityMemFree(after), "comityMemFree");
  for (comityComm_t each : earlier) must(comityCommDestroy(each), "comityCommDestroy");
  must(comityCommDestroy(comm), "comityCommDestroy");
}

// Forks while other threads are inside the library; every child makes full use of it.
void storm() {
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    while (!done) {
      void* memory = nullptr;
      must(comityMemAlloc(&memory, size_t{1} << 20), "comityMemAlloc");
      must(comityMemFree(memory), "comityMemFree");
    }
  });
  threads.emplace_back([&] {
    while (!done) {
      comityComm_t comm = nullptr;
      must(comityCommInitAll(&comm, 1, nullptr), "comityCommInitAll");
      must(comityCommDestroy(comm), "comityCommDestroy");
    }
  });
  for (int i = 0; i < 60; ++i) {
    reap(start([&] {
      comityUniqueId id;
      must(comityGetUniqueId(&id), "comityGetUniqueId in a child");
      be_rank(id, 1, 0);
    }));
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
}

std::vector<ForkScenario> scenarios() {
  return {
      {"launcher", [] { launcher(false); }},
      {"launcher-rank", [] { launcher(true); }},
      {"double-fork", [] { double_fork(); }},
      {"anew", [] { anew(); }},
      {"group", [] { group(); }},
      {"streams", [] { streams(); }},
      {"memory", [] { memory(); }},
      {"storm", [] { storm(); }},
  };
}

}  // namespace
}  // namespace comity::test

int main(int argc, char** argv) {
  return comity::test::run_scenario(argc, argv, comity::test::scenarios());
}
