#include "src/base/file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "src/base/errno_text.h"
#include "src/base/unique_fd.h"

namespace comity {
namespace {

// Appends up to `limit` bytes to `text`; false with errno where a read is refused.
bool read_some(int fd, size_t limit, std::string& text) {
  std::array<char, 16 * 1024> chunk;
  while (text.size() < limit) {
    const ssize_t got = ::read(fd, chunk.data(), std::min(chunk.size(), limit - text.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;
    text.append(chunk.data(), static_cast<size_t>(got));
  }
  return true;
}

bool read_some(const std::string& path, size_t limit, std::string& text) {
  const UniqueFd file = own_fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return file.valid() && read_some(file.get(), limit, text);
}

Status unreadable(const std::string& path) {
  return Status(Code::kSystemError, fmt::format("cannot read {}: {}", path, errno_text(errno)));
}

}  // namespace

Result<std::string> read_file(const std::string& path, size_t limit) {
  const UniqueFd file = own_fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return unreadable(path);
  return read_open_file(file.get(), path, limit);
}

Result<std::string> read_open_file(int fd, const std::string& path, size_t limit) {
  std::string text;
  if (!read_some(fd, limit + 1, text)) return unreadable(path);
  if (text.size() <= limit) return text;
  return Status(Code::kSystemError, fmt::format("cannot read {}: it is longer than {} bytes", path, limit));
}

std::string read_beginning(const std::string& path, size_t limit) {
  std::string text;
  (void)read_some(path, limit, text);
  return text;
}

std::string first_line_of(const std::string& path) {
  const std::string text = read_beginning(path, 4096);
  return text.substr(0, text.find('\n'));
}

}  // namespace comity
