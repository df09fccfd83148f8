#include "tests/support/control_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>

#include "src/base/clock.h"

extern char** environ;

namespace comity::control::testing {
namespace {

void make_pipe(UniqueFd& read_end, UniqueFd& write_end) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
  read_end.reset(ends[0]);
  write_end.reset(ends[1]);
}

}  // namespace

std::string hex_of(const UniqueId& id) {
  std::string hex;
  for (const std::byte byte : id) {
    char pair[3];
    std::snprintf(pair, sizeof(pair), "%02x", static_cast<unsigned>(byte));
    hex += pair;
  }
  return hex;
}

UniqueId id_from_hex(const std::string& hex) {
  UniqueId id{};
  for (size_t i = 0; i < id.size() && 2 * i + 1 < hex.size(); ++i) {
    id[i] = static_cast<std::byte>(std::stoul(hex.substr(2 * i, 2), nullptr, 16));
  }
  return id;
}

ControlProcess::ControlProcess(const std::string& id, uint32_t rank, uint32_t nranks, uint64_t within_ms)
    : ControlProcess({COMITY_CONTROL_WORKER, id, std::to_string(rank), std::to_string(nranks),
                      std::to_string(within_ms)}) {}

ControlProcess::ControlProcess(std::vector<std::string> arguments) {
  UniqueFd child_in;
  UniqueFd child_out;
  make_pipe(child_in, to_);
  make_pipe(from_, child_out);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, child_in.get(), 0);
  posix_spawn_file_actions_adddup2(&actions, child_out.get(), 1);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  if (::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ) != 0) pid_ = -1;
  posix_spawn_file_actions_destroy(&actions);
}

ControlProcess::~ControlProcess() {
  if (end_ == -1) signal(SIGKILL);
  wait_end();
}

void ControlProcess::tell(const std::string& command) {
  const std::string line = command + "\n";
  [[maybe_unused]] const ssize_t written = ::write(to_.get(), line.data(), line.size());
}

std::string ControlProcess::hear(uint64_t within_ms) {
  const Deadline deadline = Deadline::after_ms(within_ms);
  while (true) {
    const size_t end = heard_.find('\n');
    if (end != std::string::npos) {
      std::string line = heard_.substr(0, end);
      heard_.erase(0, end + 1);
      return line;
    }
    pollfd waiting{from_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, deadline.left_ms(60'000)) <= 0) return "(none)";
    char buffer[4096];
    const ssize_t n = ::read(from_.get(), buffer, sizeof(buffer));
    if (n <= 0) return "(none)";
    heard_.append(buffer, static_cast<size_t>(n));
  }
}

void ControlProcess::signal(int number) {
  if (pid_ > 0 && end_ == -1) ::kill(pid_, number);
}

void ControlProcess::stop() {
  signal(SIGSTOP);
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WEXITED | WNOWAIT);
}

int ControlProcess::wait_end(uint64_t within_ms) {
  const Deadline deadline = Deadline::after_ms(within_ms);
  while (end_ == -1 && pid_ > 0 && !deadline.passed()) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      end_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    } else {
      ::poll(nullptr, 0, 1);
    }
  }
  return end_;
}

}  // namespace comity::control::testing
