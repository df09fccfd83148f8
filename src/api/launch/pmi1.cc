#include "src/api/launch/pmi1.h"

#include <dlfcn.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "src/api/launch/variables.h"
#include "src/base/errno_text.h"

namespace comity::launch {
namespace {

constexpr size_t kPieceBytes = 200;  // of a value: Slurm takes 255, Hydra 1023
constexpr char kLastPiece = '.';
constexpr size_t kLongestLine = 4096;

bool mpi_is_initialised() {
  const auto initialised = reinterpret_cast<int (*)(int*)>(dlsym(RTLD_DEFAULT, "MPI_Initialized"));
  int flag = 0;
  return initialised != nullptr && initialised(&flag) == 0 && flag != 0;
}

class Pmi1Store final : public KeyValueStore {
 public:
  explicit Pmi1Store(int fd) : fd_(fd), process_(getpid()) {}

  Status greet(const Deadline& deadline) {
    COMITY_ASSIGN_OR_RETURN(const std::string hello,
                            ask("cmd=init pmi_version=1 pmi_subversion=1", "response_to_init", deadline));
    if (pmi1_field(hello, "rc") != "0") return unexpected(hello, "version 1 of PMI");
    COMITY_ASSIGN_OR_RETURN(const std::string name, ask("cmd=get_my_kvsname", "my_kvsname", deadline));
    name_ = pmi1_field(name, "kvsname");
    return name_.empty() ? unexpected(name, "the name of a key-value store") : Status();
  }

  Status give(const std::string& key, const std::string& value, const Deadline& deadline) override {
    const std::string marked = value + kLastPiece;
    for (size_t at = 0, piece = 0; at < marked.size(); at += kPieceBytes, ++piece) {
      COMITY_ASSIGN_OR_RETURN(const std::string put,
                              ask(fmt::format("cmd=put kvsname={} key={}-{} value={}", name_, key, piece,
                                              marked.substr(at, kPieceBytes)),
                                  "put_result", deadline));
      if (pmi1_field(put, "rc") != "0") return unexpected(put, "to keep a value");
    }
    return barrier(deadline);
  }

  Result<std::string> take(const std::string& key, const Deadline& deadline) override {
    COMITY_RETURN_IF_ERROR(barrier(deadline));
    std::string value;
    for (size_t piece = 0; !value.ends_with(kLastPiece); ++piece) {
      COMITY_ASSIGN_OR_RETURN(
          const std::string got,
          ask(fmt::format("cmd=get kvsname={} key={}-{}", name_, key, piece), "get_result", deadline));
      const std::string part = pmi1_field(got, "value");
      if (pmi1_field(got, "rc") != "0" || part.empty()) return unexpected(got, "the value of rank 0");
      value += part;
    }
    value.pop_back();
    return value;
  }

  bool usable() const { return process_ == getpid() && !broken_; }
  // Best effort, at the end of the process.
  void take_leave() {
    if (usable()) static_cast<void>(ask("cmd=finalize", "finalize_ack", Deadline::after_ms(2000)));
  }

 private:
  Status barrier(const Deadline& deadline) {
    const auto passed = ask("cmd=barrier_in", "barrier_out", deadline);
    if (passed.status().code() != Code::kTimeout) return passed.status();
    return Status(Code::kTimeout,
                  "not all ranks have called comityCommInitEnv within COMITY_INIT_TIMEOUT_MS");
  }

  // One line there, one line back, which must be the command `awaited`.
  Result<std::string> ask(const std::string& question, const std::string& awaited, const Deadline& deadline) {
    if (broken_) return Status(Code::kSystemError, "an earlier exchange with the launcher failed");
    broken_ = true;  // until the answer is here whole
    COMITY_RETURN_IF_ERROR(send_line(question + '\n', deadline));
    COMITY_ASSIGN_OR_RETURN(const std::string answer, receive_line(deadline));
    if (pmi1_field(answer, "cmd") != awaited) return unexpected(answer, awaited);
    broken_ = false;
    return answer;
  }

  Status send_line(const std::string& line, const Deadline& deadline) {
    for (size_t sent = 0; sent < line.size();) {
      const ssize_t n = ::send(fd_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) sent += static_cast<size_t>(n);
      if (n < 0 && errno == EAGAIN) COMITY_RETURN_IF_ERROR(await(POLLOUT, deadline));
      if (n < 0 && errno != EAGAIN && errno != EINTR) return failed("cannot write to it");
    }
    return {};
  }

  Result<std::string> receive_line(const Deadline& deadline) {
    std::string line;
    while (line.size() < kLongestLine) {
      char c = 0;  // one at a time: the next line is not this question's
      const ssize_t n = ::recv(fd_, &c, 1, MSG_DONTWAIT);
      if (n == 1 && c == '\n') return line;
      if (n == 1) line += c;
      if (n == 0) return Status(Code::kSystemError, "the launcher has closed PMI_FD");
      if (n < 0 && errno == EAGAIN) COMITY_RETURN_IF_ERROR(await(POLLIN, deadline));
      if (n < 0 && errno != EAGAIN && errno != EINTR) return failed("cannot read from it");
    }
    return unexpected(line.substr(0, 100), "a line");
  }

  Status await(short events, const Deadline& deadline) const {
    if (deadline.passed()) return Status(Code::kTimeout, "the launcher does not answer over PMI_FD");
    pollfd waiting{fd_, events, 0};
    ::poll(&waiting, 1, deadline.left_ms(100));
    return {};
  }

  Status failed(const char* what) const {
    return Status(Code::kSystemError, fmt::format("PMI_FD={}: {}: {}", fd_, what, errno_text(errno)));
  }
  static Status unexpected(const std::string& answer, const std::string& wanted) {
    return Status(Code::kSystemError,
                  fmt::format("the launcher was asked for {} and answered \"{}\"", wanted, answer));
  }

  int fd_;
  pid_t process_;  // a child that this one forks must leave the launcher alone
  bool broken_ = false;
  std::string name_;
};

Pmi1Store* store_of_process = nullptr;

}  // namespace

std::string pmi1_field(const std::string& line, const std::string& key) {
  for (size_t at = 0; at < line.size();) {
    const size_t equals = line.find('=', at);
    if (equals == std::string::npos) break;
    const bool whole = key == "msg";
    const size_t end = whole ? line.size() : std::min(line.find(' ', equals), line.size());
    if (line.compare(at, equals - at, key) == 0) return line.substr(equals + 1, end - equals - 1);
    at = std::min(line.find(' ', equals), line.size()) + 1;
  }
  return {};
}

Result<KeyValueStore*> pmi1_store(const Deadline& deadline) {
  if (store_of_process != nullptr && store_of_process->usable()) return store_of_process;
  if (store_of_process != nullptr) {
    return Status(
        Code::kInvalidUsage,
        "the connection of PMI_FD is a parent process's, or broke: only processes that the launcher "
        "started can ask it");
  }
  if (mpi_is_initialised()) {
    return Status(Code::kInvalidUsage,
                  "MPI_Init was called in this process, and the connection of PMI_FD is MPI's: use "
                  "comityCommInitMPI of comity/mpi.h");
  }
  COMITY_ASSIGN_OR_RETURN(const uint32_t fd, number_of("a launcher that speaks PMI", "PMI_FD"));
  auto made = std::make_unique<Pmi1Store>(static_cast<int>(fd));
  COMITY_RETURN_IF_ERROR(made->greet(deadline));
  store_of_process = made.release();  // lives as long as the process
  std::atexit([] { store_of_process->take_leave(); });
  return store_of_process;
}

}  // namespace comity::launch
