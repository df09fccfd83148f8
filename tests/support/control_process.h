// A rank of the control plane as a process of its own, driven by lines over pipes.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/unique_fd.h"
#include "src/control/control.h"

namespace comity::control::testing {

std::string hex_of(const UniqueId& id);
UniqueId id_from_hex(const std::string& hex);

// Starts the worker (tests/support/control_worker.cc) by spawn, so that a threaded test may; kills and reaps
// it at the end. Each command is one line, and so is its answer; see the worker for both.
class ControlProcess {
 public:
  ControlProcess(const UniqueId& id, uint32_t rank, uint32_t nranks, uint64_t within_ms = 30'000)
      : ControlProcess(hex_of(id), rank, nranks, within_ms) {}
  // `id` in hex, or "create": then the worker's first line is the hex of one that it made.
  ControlProcess(const std::string& id, uint32_t rank, uint32_t nranks, uint64_t within_ms = 30'000);
  // Any program that is driven so: its path and arguments.
  explicit ControlProcess(std::vector<std::string> arguments);
  ~ControlProcess();
  ControlProcess(const ControlProcess&) = delete;
  ControlProcess& operator=(const ControlProcess&) = delete;

  void tell(const std::string& command);
  // The next line that the worker wrote; "(none)" after `within_ms` or at its end.
  std::string hear(uint64_t within_ms = 30'000);
  std::string ask(const std::string& command) {
    tell(command);
    return hear();
  }
  void signal(int number);
  // Stops it and waits until all its threads are; SIGCONT wakes it.
  void stop();
  pid_t pid() const { return pid_; }
  // Waits for its end; the exit status, or 128 + signal; -1 after `within_ms`.
  int wait_end(uint64_t within_ms = 30'000);

 private:
  pid_t pid_ = -1;
  int end_ = -1;
  UniqueFd to_;
  UniqueFd from_;
  std::string heard_;
};

}  // namespace comity::control::testing
