// Processes that fork with Comity at work in them: fork_worker SCENARIO. Says "right" and exits with 0, or
// says what was wrong. A program of its own, so that the test's process need not fork.
#include <fmt/core.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "comity/comity.h"

namespace {

constexpr unsigned kLimitS = 100;  // for what should take a second; a process that hangs dies of SIGALRM
constexpr size_t kCount = 50'000;

[[noreturn]] void fail(const std::string& why) {
  const std::string line = fmt::format("process {}: {}\n", ::getpid(), why);
  (void)!::write(2, line.data(), line.size());
  ::_exit(1);
}

void must(comityResult_t result, const char* what) {
  if (result != comitySuccess) fail(fmt::format("{}: {}", what, comityGetLastError(nullptr)));
}

// Memory that all processes share: who comes first with an id, and who is done.
struct Board {
  std::atomic<int> id_ready{0};
  comityUniqueId id{};
  std::atomic<int> stop{0};
  std::atomic<int> steps{0};
};

Board* new_board() {
  void* memory = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : new (memory) Board;
}

pid_t start(const std::function<void()>& body) {
  const pid_t pid = ::fork();
  if (pid < 0) fail("cannot fork");
  if (pid > 0) return pid;
  ::alarm(kLimitS);
  body();
  std::exit(0);  // with all that exit() runs
}

void reap(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
  }
  if (status != 0) fail(fmt::format("process {} ended with wait status {:#x}", pid, status));
}

void all_reduce(comityComm_t comm, int rank, int nranks, int round, int* buffer) {
  for (size_t i = 0; i < kCount; ++i) buffer[i] = rank + round + static_cast<int>(i);
  must(comityAllReduce(buffer, buffer, kCount, comityInt32, comitySum, comm, nullptr), "comityAllReduce");
  for (size_t i = 0; i < kCount; ++i) {
    if (buffer[i] != nranks * (nranks - 1) / 2 + nranks * (round + static_cast<int>(i)))
      fail(fmt::format("rank {}, round {}: element {} is {}", rank, round, i, buffer[i]));
  }
}

comityComm_t join(const comityUniqueId& id, int nranks, int rank) {
  comityComm_t comm = nullptr;
  must(comityCommInitRank(&comm, nranks, id, rank), "comityCommInitRank");
  return comm;
}

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
  Board* board = new_board();
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
  Board* board = new_board();
  Board* inner = new_board();
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
  Board* board = new_board();
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

// Memory of comityMemAlloc from before the fork is shared with the child, which frees it without harm,
// allocates its own beside it, and uses both in a communicator with its parent.
void memory() {
  Board* board = new_board();
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

// --- Deaths ----------------------------------------------------------------------------------------------

// A child that outlives its parent and has all that it has: made by fork(), or behind the back of its
// handlers.
enum class Left { kByFork, kByClone };

pid_t leave_child(Left how) {
  const pid_t pid =
      how == Left::kByFork ? ::fork() : static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  if (pid != 0) return pid;
  for (int fd = 0; fd <= 2; ++fd) ::close(fd);  // the test reads to the end of them
  ::alarm(kLimitS);
  for (;;) ::pause();
}

struct DeathBoard {
  comityUniqueId id{};
  std::atomic<int> running{0};  // ranks that are in the middle of it
  std::atomic<int> child{0};
  std::atomic<int> gone{0};
  std::atomic<int> refused{0};  // namespaces are not to be had
  std::atomic<int64_t> killed_ns{0};
  std::atomic<int64_t> heard_ns[3] = {};
};

DeathBoard& new_death_board() {
  void* memory =
      ::mmap(nullptr, sizeof(DeathBoard), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("no memory");
  return *new (memory) DeathBoard;
}

int64_t now_ns() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

// Collectives until an error, which must name who died.
void survive(comityComm_t comm, int rank, int victim, DeathBoard& board) {
  std::vector<int> buffer(1000);
  for (int round = 0;; ++round) {
    if (comityAllReduce(buffer.data(), buffer.data(), buffer.size(), comityInt32, comityMax, comm, nullptr) !=
        comitySuccess)
      break;
    if (round == 3) ++board.running;
  }
  board.heard_ns[rank] = now_ns();
  const std::string why = comityGetLastError(comm);
  if (why.find(fmt::format("rank {}", victim)) == std::string::npos) fail("heard: " + why);
  comityCommAbort(comm);
}

void check_heard(const DeathBoard& board, int rank) {
  const int64_t after_ns = board.heard_ns[rank] - board.killed_ns;
  fmt::print("rank {} knew after {} ms\n", rank, after_ns / 1'000'000);
  if (after_ns > 10'000'000'000) fail("known too late");
}

// Three ranks; `victim` has left a child behind when it is killed. Says after how long the others knew.
void death(int victim, Left how) {
  DeathBoard& board = new_death_board();
  must(comityGetUniqueId(&board.id), "comityGetUniqueId");
  std::vector<pid_t> ranks;
  for (int rank = 0; rank < 3; ++rank) {
    ranks.push_back(start([&] {
      comityComm_t comm = join(board.id, 3, rank);
      if (rank == victim) board.child = leave_child(how);
      survive(comm, rank, victim, board);
    }));
  }
  while (board.running < 3) sched_yield();
  board.killed_ns = now_ns();
  ::kill(ranks[static_cast<size_t>(victim)], SIGKILL);
  ::waitpid(ranks[static_cast<size_t>(victim)], nullptr, 0);
  if (::kill(board.child, 0) != 0) fail("the child of the victim is not there");
  for (int rank = 0; rank < 3; ++rank) {
    if (rank == victim) continue;
    reap(ranks[static_cast<size_t>(rank)]);
    check_heard(board, rank);
  }
  ::kill(board.child, SIGKILL);
}

// Ranks 1 and 2 live where rank 0, their parent in the tree, cannot watch processes. Rank 2 leaves a child
// behind.
void host_of_two(DeathBoard& board) {
  ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  if (::mount("proc", "/proc", "proc", 0, nullptr) != 0) fail("cannot mount /proc");
  const pid_t first = start([&] { survive(join(board.id, 3, 1), 1, 2, board); });
  const pid_t second = start([&] {
    comityComm_t comm = join(board.id, 3, 2);
    board.child = leave_child(Left::kByClone);
    survive(comm, 2, 2, board);
  });
  while (board.running < 3) sched_yield();
  board.killed_ns = now_ns();
  ::kill(second, SIGKILL);
  ::waitpid(second, nullptr, 0);
  if (::kill(board.child, 0) != 0) fail("the child of the victim is not there");
  reap(first);
  while (board.gone == 0) sched_yield();  // with this process the child would end
}

void death_elsewhere() {
  DeathBoard& board = new_death_board();
  must(comityGetUniqueId(&board.id), "comityGetUniqueId");
  const pid_t host = start([&] {
    if (::unshare(CLONE_NEWPID | CLONE_NEWNS) == 0) return reap(start([&] { host_of_two(board); }));
    board.refused = 1;
  });
  const pid_t rank0 = start([&] {
    if (board.refused == 0) survive(join(board.id, 3, 0), 0, 2, board);
  });
  while (board.refused == 0 && ::waitpid(rank0, nullptr, WNOHANG) == 0) sched_yield();
  board.gone = 1;
  if (board.refused != 0) {
    ::kill(rank0, SIGKILL);
    ::_exit(77);
  }
  if (board.heard_ns[0] == 0) fail("rank 0 never knew");
  reap(host);
  for (const int rank : {0, 1}) check_heard(board, rank);
}

// Rank `leaver` leaves in order and ends, but for a child; the others must not take that for a death.
void departure(int leaver, Left how) {
  DeathBoard& board = new_death_board();
  must(comityGetUniqueId(&board.id), "comityGetUniqueId");
  std::vector<pid_t> ranks;
  for (int rank = 0; rank < 3; ++rank) {
    ranks.push_back(start([&] {
      comityComm_t comm = join(board.id, 3, rank);
      std::vector<int> buffer(kCount);
      for (int round = 0; round < 4; ++round) all_reduce(comm, rank, 3, round, buffer.data());
      if (rank == leaver) {
        board.child = leave_child(how);
      } else {
        while (board.gone == 0) sched_yield();
        const int64_t until_ns = now_ns() + 500'000'000;  // a death would have been known by then
        comityResult_t error = comitySuccess;
        while (error == comitySuccess && now_ns() < until_ns) must(comityCommGetAsyncError(comm, &error), "");
        if (error != comitySuccess) fail(fmt::format("took it for a death: {}", comityGetLastError(comm)));
      }
      must(comityCommDestroy(comm), "comityCommDestroy");
    }));
  }
  reap(ranks[static_cast<size_t>(leaver)]);
  board.gone = 1;
  for (int rank = 0; rank < 3; ++rank) {
    if (rank != leaver) reap(ranks[static_cast<size_t>(rank)]);
  }
  ::kill(board.child, SIGKILL);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  ::alarm(kLimitS);
  const std::string_view scenario = argv[1];
  if (scenario == "launcher") {
    launcher(false);
  } else if (scenario == "launcher-rank") {
    launcher(true);
  } else if (scenario == "double-fork") {
    double_fork();
  } else if (scenario == "anew") {
    anew();
  } else if (scenario == "group") {
    group();
  } else if (scenario == "memory") {
    memory();
  } else if (scenario == "storm") {
    storm();
  } else if (scenario == "death-fork") {
    death(1, Left::kByFork);
  } else if (scenario == "death-clone") {
    death(1, Left::kByClone);
  } else if (scenario == "death-fork-root") {
    death(0, Left::kByFork);
  } else if (scenario == "death-clone-root") {
    death(0, Left::kByClone);
  } else if (scenario == "death-elsewhere") {
    death_elsewhere();
  } else if (scenario == "departure-clone") {
    departure(1, Left::kByClone);
  } else if (scenario == "departure-clone-root") {
    departure(0, Left::kByClone);
  } else {
    return 2;
  }
  std::fflush(stdout);
  (void)!::write(1, "right\n", 6);
  return 0;
}
