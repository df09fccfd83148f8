// What programs need that fork ranks and are checked by a test: shared memory, children, failures that are
// seen. fork_worker and death_worker are such programs; the test's own process need not fork.
#pragma once

#include <sys/mman.h>
#include <sys/types.h>

#include <functional>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "comity/comity.h"

namespace comity::test {

constexpr unsigned kLimitS = 100;  // for what should take a second; a process that hangs dies of SIGALRM
constexpr size_t kCount = 50'000;

// Ends the process with 1 and says why, with its number.
[[noreturn]] void fail(const std::string& why);
// comitySuccess, or fail() with the library's own sentence.
void must(comityResult_t result, const char* what);

// A T in memory that the process shares with all that it forks; never freed.
template <typename T>
T& shared_with_children() {
  void* memory = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("no memory");
  return *new (memory) T;
}

// Forks a child that runs `body` and then exits with all that exit() runs.
pid_t start(const std::function<void()>& body);
// Waits for it; fail() unless it exited with 0.
void reap(pid_t pid);

// The id in the variable FORK_TEST_ID, which another process serves: so this one has no thread when it forks.
comityUniqueId given_id();
comityComm_t join(const comityUniqueId& id, int nranks, int rank);
// A sum of kCount numbers that differ by rank and round, checked.
void all_reduce(comityComm_t comm, int rank, int nranks, int round, int* buffer);

// What such a program is told to do, by name.
struct ForkScenario {
  std::string_view name;
  std::function<void()> run;
};
// The main of such a program: does what argv[1] names, says "right" and exits with 0; 2 if there is no such.
int run_scenario(int argc, char** argv, const std::vector<ForkScenario>& all);

}  // namespace comity::test
