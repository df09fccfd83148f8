// Starting programs and collecting what they say: for ranks as processes. Spawned by exec, never by fork
// alone.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "src/base/clock.h"
#include "src/base/unique_fd.h"

namespace comity::test {

// A child process whose standard output (with error) is a pipe to us. Killed and reaped by the destructor if
// still alive.
class Child {
 public:
  // `environment`: variables set on top of our own.
  Child(const std::vector<std::string>& arguments,
        const std::vector<std::pair<std::string, std::string>>& environment = {});
  Child(Child&& other) noexcept;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();
  pid_t pid() const { return pid_; }
  void kill(int signal);
  // All output until it ends, and the exit status (128 + signal; -1: the deadline passed, and it was killed).
  std::pair<int, std::string> finish(Deadline deadline);

 private:
  pid_t pid_ = -1;
  UniqueFd output_;
};

// Folder of the running program, with a slash: workers are built beside their tests.
std::string program_folder();

// Sets a variable for the lifetime of the object, and puts back what was there.
class ScopedEnv {
 public:
  ScopedEnv(std::string name, const std::string& value);
  ~ScopedEnv();
  ScopedEnv(const ScopedEnv&) = delete;
  ScopedEnv& operator=(const ScopedEnv&) = delete;

 private:
  std::string name_, before_;
  bool was_set_;
};

}  // namespace comity::test
