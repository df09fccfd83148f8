// What the operating system's refusals mean, with what to try where a limit was hit.
#pragma once

#include <string>

namespace comity {

// "Too many open files (this process may have 1024: raise `ulimit -n`)". Any thread.
std::string errno_text(int error);

}  // namespace comity
