#include "perf/job/affinity.h"

#include <fmt/core.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace comity::perf {

const std::vector<int>& allowed_cores() {
  static const std::vector<int> cores = [] {
    std::vector<int> found;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
      for (int core = 0; core < CPU_SETSIZE; ++core) {
        if (CPU_ISSET(core, &set)) found.push_back(core);
      }
    }
    if (found.empty()) found.push_back(0);
    return found;
  }();
  return cores;
}

int machine_core_count() {
  return std::max<int>(1, static_cast<int>(allowed_cores().size()));
}

Status pin_to_core(int core) {
  allowed_cores();  // remembered before it shrinks to one
  if (core < 0 || core >= CPU_SETSIZE) {
    return Status(Code::kInvalidArgument, fmt::format("there is no core {} to pin to", core));
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof set, &set) == 0) return {};
  return Status(Code::kSystemError,
                fmt::format("cannot pin to core {}: {}; try --no-pin", core, std::strerror(errno)));
}

}  // namespace comity::perf
