#include "tests/support/forking.h"

#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tests/support/spawned_rank.h"

namespace comity::test {

void fail(const std::string& why) {
  const std::string line = fmt::format("process {}: {}\n", ::getpid(), why);
  (void)!::write(2, line.data(), line.size());
  ::_exit(1);
}

void must(comityResult_t result, const char* what) {
  if (result != comitySuccess) fail(fmt::format("{}: {}", what, comityGetLastError(nullptr)));
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

comityUniqueId given_id() {
  comityUniqueId id;
  const char* hex = std::getenv("FORK_TEST_ID");
  if (hex == nullptr || !from_hex(hex, id)) fail("FORK_TEST_ID is no id");
  return id;
}

comityComm_t join(const comityUniqueId& id, int nranks, int rank) {
  comityComm_t comm = nullptr;
  must(comityCommInitRank(&comm, nranks, id, rank), "comityCommInitRank");
  return comm;
}

void all_reduce(comityComm_t comm, int rank, int nranks, int round, int* buffer) {
  for (size_t i = 0; i < kCount; ++i) buffer[i] = rank + round + static_cast<int>(i);
  must(comityAllReduce(buffer, buffer, kCount, comityInt32, comitySum, comm, nullptr), "comityAllReduce");
  for (size_t i = 0; i < kCount; ++i) {
    if (buffer[i] != nranks * (nranks - 1) / 2 + nranks * (round + static_cast<int>(i)))
      fail(fmt::format("rank {}, round {}: element {} is {}", rank, round, i, buffer[i]));
  }
}

int run_scenario(int argc, char** argv, const std::vector<ForkScenario>& all) {
  if (argc != 2) return 2;
  ::alarm(kLimitS);
  for (const ForkScenario& scenario : all) {
    if (scenario.name != argv[1]) continue;
    scenario.run();
    std::fflush(stdout);
    (void)!::write(1, "right\n", 6);
    return 0;
  }
  return 2;
}

}  // namespace comity::test
