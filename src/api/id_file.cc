#include "src/api/id_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>

#include "src/base/clock.h"
#include "src/base/hex.h"
#include "src/base/unique_fd.h"

namespace comity::api {
namespace {

constexpr uint64_t kWaitMs = 60'000;
constexpr auto kLookEvery = std::chrono::milliseconds(5);

Status file_error(const std::string& path, const char* what) {
  return Status(Code::kSystemError, fmt::format("{} the id file {}: {}", what, path, std::strerror(errno)));
}

}  // namespace

std::string hex_of(const comityUniqueId& id) {
  return to_hex(std::as_bytes(std::span(id.internal)));
}

Result<comityUniqueId> id_from_hex(const std::string& hex) {
  comityUniqueId id;
  if (hex.size() != 2 * sizeof id.internal) {
    return Status(Code::kInvalidArgument,
                  fmt::format("an id has {} digits, this one {}", 2 * sizeof id.internal, hex.size()));
  }
  COMITY_ASSIGN_OR_RETURN(const auto bytes, from_hex(hex));
  std::memcpy(id.internal, bytes.data(), bytes.size());
  return id;
}

Status write_id_file(const std::string& path, const comityUniqueId& id) {
  const std::string draft = fmt::format("{}.{}", path, getpid());
  {
    const UniqueFd fd =
        open_fd([&] { return ::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600); });
    if (!fd.valid()) return file_error(path, "cannot write");
    const std::string hex = hex_of(id);
    if (write(fd.get(), hex.data(), hex.size()) != static_cast<ssize_t>(hex.size())) {
      std::remove(draft.c_str());
      return file_error(path, "cannot write");
    }
  }
  const bool linked = link(draft.c_str(), path.c_str()) == 0;  // unlike rename, refuses an old file
  Status status = linked ? Status() : file_error(path, "cannot make (remove an old one first)");
  std::remove(draft.c_str());
  return status;
}

Result<comityUniqueId> await_id_file(const std::string& path) {
  const Deadline deadline = Deadline::after_ms(kWaitMs);
  while (!deadline.passed()) {
    const UniqueFd fd = open_fd([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); });
    if (fd.valid()) {
      std::array<char, 2 * COMITY_UNIQUE_ID_BYTES> text{};
      const ssize_t got = read(fd.get(), text.data(), text.size());
      return id_from_hex(std::string(text.data(), got < 0 ? 0 : static_cast<size_t>(got)));
    }
    if (errno != ENOENT) return file_error(path, "cannot read");
    std::this_thread::sleep_for(kLookEvery);
  }
  return Status(Code::kTimeout,
                fmt::format("no id file {} within {} s; is rank 0 running?", path, kWaitMs / 1000));
}

}  // namespace comity::api
