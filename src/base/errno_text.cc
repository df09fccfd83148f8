#include "src/base/errno_text.h"

#include <fmt/core.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>

namespace comity {
namespace {

std::string limit_text(int resource) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) return "an unknown number";
  return limit.rlim_cur == RLIM_INFINITY ? "any number" : std::to_string(limit.rlim_cur);
}

}  // namespace

std::string errno_text(int error) {
  char buffer[128];
  const std::string text = ::strerror_r(error, buffer, sizeof buffer);
  switch (error) {
    case EMFILE:
      return fmt::format("{} (this process may have {}: raise `ulimit -n`)", text, limit_text(RLIMIT_NOFILE));
    case ENFILE:
      return text + " (of the whole machine: raise `sysctl fs.file-max`)";
    case EFBIG:
      return fmt::format("{} (files of this process may have {} bytes: raise `ulimit -f`)", text,
                         limit_text(RLIMIT_FSIZE));
    case ENOMEM:
      return text + " (memory of this machine, of its container, or `ulimit -v`)";
    case ENOSPC:
      return text + " (the disk, its quota, or /proc/sys/fs/epoll/max_user_watches)";
    case EAGAIN:
      return fmt::format(
          "{} (this user may have {} threads: raise `ulimit -u`, or the container's limit of pids)", text,
          limit_text(RLIMIT_NPROC));
    default:
      return text;
  }
}

}  // namespace comity
