// A process as others on its machine know it, so that they can wait for its end without a connection: a child
// that it left behind may keep a connection open.
#pragma once

#include <cstdint>

#include "comity/plugin/result.h"
#include "src/base/unique_fd.h"

namespace comity::control {

struct ProcessName {
  uint64_t space = 0;    // hash of the machine's boot and its namespace of PIDs; 0: cannot be told
  uint32_t pid = 0;      // in that namespace
  uint32_t started = 0;  // ticks since boot, as /proc has it: the PID may be given again
  bool operator==(const ProcessName&) const = default;
};

// Reads /proc. Any thread; blocks briefly.
ProcessName this_process();

// A descriptor that becomes readable when the process has ended (a pidfd), proven to be that very process.
// Errors: kUnsupported (it lives in another namespace or on another machine, or the system cannot tell),
// kRemoteError (it has ended). `self`: this_process() of the caller.
Result<UniqueFd> open_process(const ProcessName& process, const ProcessName& self);

}  // namespace comity::control
