#include "perf/job/launch.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "perf/job/board.h"
#include "src/base/clock.h"

namespace comity::perf {
namespace {

constexpr const char* kWorldVariable = "COMITY_PERF_WORLD";
constexpr uint64_t kGraceMs = 2000;

struct Child {
  int rank;
  pid_t pid;
  UniqueFd pidfd;
};

// Runs in the child, between fork and exec.
[[noreturn]] void become_rank(pid_t parent, const std::string& world, char* const* argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // the parent died before the line above
  setenv(kWorldVariable, world.c_str(), 1);
  execv("/proc/self/exe", argv);
  std::perror("cannot run this program again");
  _exit(127);
}

Result<Child> start_child(int rank, int nranks, int board, char* const* argv) {
  const std::string world = fmt::format("{}/{}/{}", rank, nranks, board);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) become_rank(parent, world, argv);
  if (pid < 0) {
    return Status(Code::kSystemError, fmt::format("cannot start rank {}: {}", rank, std::strerror(errno)));
  }
  return Child{rank, pid, UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)))};
}

int exit_status_of(const Child& child, int status) {
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  fmt::print(stderr, "rank {} was killed by signal {} ({})\n", child.rank, WTERMSIG(status),
             strsignal(WTERMSIG(status)));
  return 128 + WTERMSIG(status);
}

// The children that are still running, and what became of the others.
class Watch {
 public:
  void add(Child child) { children_.push_back(std::move(child)); }
  int first_failure() const { return first_failure_; }
  bool empty() const { return children_.empty(); }

  // Waits for one to end, at most until `deadline`; reaps those that did.
  void wait(const Deadline& deadline) {
    std::vector<pollfd> polled;
    for (const Child& child : children_) polled.push_back({child.pidfd.get(), POLLIN, 0});
    poll(polled.data(), polled.size(), deadline.left_ms(60'000));
    for (size_t i = children_.size(); i-- > 0;) reap(i, WNOHANG);
  }

  void kill_all() {
    for (const Child& child : children_) kill(child.pid, SIGKILL);
    for (size_t i = children_.size(); i-- > 0;) reap(i, 0);
  }

 private:
  void reap(size_t index, int options) {
    int status = 0;
    const pid_t pid = waitpid(children_[index].pid, &status, options);
    if (pid == 0 || (pid < 0 && errno == EINTR)) return;
    // A child that is killed after another's failure is no news.
    if (pid > 0 && first_failure_ == 0) first_failure_ = exit_status_of(children_[index], status);
    children_.erase(children_.begin() + static_cast<std::ptrdiff_t>(index));
  }

  std::vector<Child> children_;
  int first_failure_ = 0;
};

}  // namespace

Result<std::optional<World>> world_from_environment() {
  const char* text = std::getenv(kWorldVariable);
  if (text == nullptr) return std::optional<World>();
  World world;
  int board = -1;
  char rest = 0;
  const int fields = std::sscanf(text, "%d/%d/%d%c", &world.rank, &world.nranks, &board, &rest);
  const bool sane = fields == 3 && world.nranks > 0 && world.rank >= 0 && world.rank < world.nranks;
  if (!sane || fcntl(board, F_SETFD, FD_CLOEXEC) != 0) {
    return Status(Code::kInvalidArgument,
                  fmt::format("{}='{}' was not set by this program; unset it", kWorldVariable, text));
  }
  world.board.reset(board);
  unsetenv(kWorldVariable);
  return std::optional<World>(std::move(world));
}

Result<int> run_ranks(int nranks, char* const* argv) {
  COMITY_ASSIGN_OR_RETURN(const UniqueFd board, SharedBoard::create(nranks));
  std::fflush(nullptr);
  Watch watch;
  for (int rank = 0; rank < nranks; ++rank) {
    Result<Child> child = start_child(rank, nranks, board.get(), argv);
    if (!child.ok()) {
      watch.kill_all();
      return child.status();
    }
    watch.add(std::move(*child));
  }
  while (!watch.empty() && watch.first_failure() == 0) watch.wait(Deadline::never());
  const Deadline grace = Deadline::after_ms(kGraceMs);
  while (!watch.empty() && !grace.passed()) watch.wait(grace);
  watch.kill_all();
  return watch.first_failure();
}

}  // namespace comity::perf
