#include "src/base/own_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "src/base/errno_text.h"
#include "src/base/file.h"
#include "src/base/unique_fd.h"

namespace comity {
namespace {

bool write_all(int file, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t put = ::write(file, text.data() + done, text.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    done += static_cast<size_t>(put);
  }
  return true;
}

}  // namespace

Result<std::string> cache_folder(const std::string& chosen) {
  if (!chosen.empty()) return chosen;
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  // The XDG specification ignores relative ones.
  if (cache != nullptr && cache[0] == '/') return std::string(cache) + "/comity";
  if (home == nullptr || home[0] != '/')
    return Status(Code::kInvalidUsage, "no folder: set HOME or XDG_CACHE_HOME");
  // A home that is not there was not forgotten: service accounts have none, and none is made for them.
  std::error_code error;
  if (std::filesystem::is_directory(home, error)) return std::string(home) + "/.cache/comity";
  return Status(Code::kInvalidUsage, fmt::format("HOME is {}, which is no folder: set XDG_CACHE_HOME", home));
}

std::string read_own_file(const std::string& path) {
  const UniqueFd file =
      open_fd([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); });
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0 || status.st_uid != ::geteuid() ||
      !S_ISREG(status.st_mode) || static_cast<uint64_t>(status.st_size) > kLongestFile)
    return {};
  Result<std::string> text = read_open_file(file.get(), path);
  return text.ok() ? std::move(text).value() : std::string();
}

Status write_own_file(const std::string& folder, const std::string& name, const std::string& text) {
  const std::string path = folder + "/" + name;
  const auto refused = [&path](const char* what, int error) {
    return Status(Code::kSystemError, fmt::format("cannot {} {}: {}", what, path, errno_text(error)));
  };
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return refused("make the folder of", error.value());
  std::string temporary = path + ".XXXXXX";
  const UniqueFd file = open_fd([&] { return ::mkostemp(temporary.data(), O_CLOEXEC); });
  if (!file.valid()) return refused("write", errno);
  if (!write_all(file.get(), text) || ::rename(temporary.c_str(), path.c_str()) != 0) {
    const int why = errno;
    ::unlink(temporary.c_str());
    return refused("write", why);
  }
  return {};
}

}  // namespace comity
