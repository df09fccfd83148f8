// Ranks that end and leave a child behind which lives: death_worker SCENARIO, with an id in FORK_TEST_ID.
// Says after how long the others knew, and "right", and exits with 0; or says what was wrong; or exits with
// 77 where it may not.
#include <fmt/core.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/forking.h"

namespace comity::test {
namespace {

// A child that outlives its parent and has all that it has: made by fork(), or behind the back of its
// handlers.
enum class Left { kByFork, kByClone };

pid_t leave_child(Left how) {
  const pid_t pid =
      how == Left::kByFork ? ::fork() : static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  if (pid != 0) return pid;
  // Nothing that a lock of another thread, or a sanitizer, could hold up.
  for (int fd = 0; fd <= 2; ++fd) ::syscall(SYS_close, fd);  // the test reads to the end of them
  ::syscall(SYS_alarm, kLimitS);
  for (;;) ::syscall(SYS_pause);
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
  DeathBoard& board = shared_with_children<DeathBoard>();
  board.id = given_id();
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
  DeathBoard& board = shared_with_children<DeathBoard>();
  board.id = given_id();
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
  DeathBoard& board = shared_with_children<DeathBoard>();
  board.id = given_id();
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

std::vector<ForkScenario> scenarios() {
  return {
      {"fork", [] { death(1, Left::kByFork); }},
      {"fork-root", [] { death(0, Left::kByFork); }},
      {"clone", [] { death(1, Left::kByClone); }},
      {"clone-root", [] { death(0, Left::kByClone); }},
      {"elsewhere", [] { death_elsewhere(); }},
      {"departure", [] { departure(1, Left::kByClone); }},
      {"departure-root", [] { departure(0, Left::kByClone); }},
  };
}

}  // namespace
}  // namespace comity::test

int main(int argc, char** argv) {
  return comity::test::run_scenario(argc, argv, comity::test::scenarios());
}
