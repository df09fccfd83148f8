#include "src/control/process_name.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <string>

#include "src/base/bytes.h"
#include "src/base/file.h"
#include "src/base/handshake.h"
#include "src/base/this_host.h"

namespace comity::control {
namespace {

constexpr int kStartField = 22;  // of /proc/PID/stat, counted from 1
constexpr int kFirstAfterName = 3;

// The command's name may hold blanks and parentheses; after the last parenthesis come numbers alone.
std::optional<uint32_t> start_of(const std::string& pid) {
  const std::string stat = first_line_of("/proc/" + pid + "/stat");
  size_t at = stat.rfind(')');
  for (int field = kFirstAfterName; at != std::string::npos && field <= kStartField; ++field)
    at = stat.find(' ', at + 1);
  if (at == std::string::npos) return std::nullopt;
  uint64_t ticks = 0;
  if (std::from_chars(stat.data() + at + 1, stat.data() + stat.size(), ticks).ec != std::errc())
    return std::nullopt;
  return static_cast<uint32_t>(ticks);
}

uint64_t space_of_pids() {
  struct stat about {};
  const std::string boot = boot_id();
  if (boot.empty() || ::stat("/proc/self/ns/pid", &about) != 0) return 0;
  ByteWriter writer;
  writer.put_text(boot).put(static_cast<uint64_t>(about.st_dev)).put(static_cast<uint64_t>(about.st_ino));
  const auto hash = hash_of(writer.bytes());
  uint64_t space = 0;
  std::memcpy(&space, hash.data(), sizeof(space));
  return space;
}

}  // namespace

ProcessName this_process() {
  const auto started = start_of("self");
  // A /proc of another namespace names this process otherwise than getpid().
  const bool same = first_line_of("/proc/self/stat").starts_with(fmt::format("{} ", ::getpid()));
  if (!started || !same) return ProcessName{};
  return ProcessName{space_of_pids(), static_cast<uint32_t>(::getpid()), *started};
}

Result<UniqueFd> open_process(const ProcessName& process, const ProcessName& self) {
  if (process.space == 0 || process.space != self.space) {
    return Status(Code::kUnsupported, "the process lives elsewhere");
  }
  UniqueFd fd = open_fd(
      [&] { return static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(process.pid), 0)); });
  if (!fd.valid() && errno == ESRCH) return Status(Code::kRemoteError, "the process has ended");
  if (!fd.valid())
    return Status(Code::kUnsupported, fmt::format("a process cannot be watched: {}", std::strerror(errno)));
  // Whatever has the PID now is what was opened, or has come after it ended.
  const auto started = start_of(std::to_string(process.pid));
  if (started && *started == process.started) return fd;
  pollfd ended{fd.get(), POLLIN, 0};
  if (started || ::poll(&ended, 1, 0) == 1) return Status(Code::kRemoteError, "the process has ended");
  return Status(Code::kUnsupported, "/proc does not tell when the process started");
}

}  // namespace comity::control
