#include "src/base/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <ctime>

namespace comity {

bool futex_wait(std::atomic<uint32_t>& word, uint32_t expected, uint64_t max_ns) {
  const timespec timeout{static_cast<time_t>(max_ns / 1'000'000'000u),
                         static_cast<long>(max_ns % 1'000'000'000u)};
  return syscall(SYS_futex, &word, FUTEX_WAIT, expected, &timeout, nullptr, 0) == 0 || errno != ETIMEDOUT;
}

void futex_wake(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace comity
