#include "src/base/settings_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "src/base/errno_text.h"
#include "src/base/file.h"
#include "src/base/text.h"
#include "src/base/unique_fd.h"

namespace comity {
namespace {

constexpr const char* kSystemPath = "/etc/comity.conf";
constexpr const char* kBelowHome = "/.config/comity/comity.conf";
constexpr size_t kLongestBytes = size_t{1} << 20;

std::string_view without_comment(std::string_view line) {
  for (size_t at = line.find('#'); at != std::string_view::npos; at = line.find('#', at + 1)) {
    if (at == 0 || line[at - 1] == ' ' || line[at - 1] == '\t') return line.substr(0, at);
  }
  return line;
}

Status bad_line(const std::string& path, size_t number, const std::string& what) {
  return Status(Code::kInvalidArgument, fmt::format("{}:{}: {}", path, number, what));
}

Result<SettingLine> parse_line(std::string_view text, const std::string& path, size_t number) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos)
    return bad_line(path, number, fmt::format("\"{}\" is no line NAME = value", text));
  SettingLine line{std::string(trimmed(text.substr(0, equals))),
                   std::string(trimmed(text.substr(equals + 1))), number};
  if (line.name.empty() || line.name.find_first_of(" \t") != std::string::npos)
    return bad_line(path, number, fmt::format("\"{}\" is no name of a setting", line.name));
  if (line.value.empty())
    return bad_line(path, number, line.name + " has no value: remove the line for the default");
  return line;
}

// Whether the content may be trusted as far as who could have written it.
Status check_owner(int fd, const std::string& path) {
  struct stat info {};
  if (fstat(fd, &info) != 0)
    return Status(Code::kSystemError, fmt::format("cannot look at {}: {}", path, errno_text(errno)));
  if (!S_ISREG(info.st_mode))
    return Status(Code::kSystemError, path + " is refused as a file of settings: it is no regular file");
  if (info.st_uid != geteuid() && info.st_uid != 0) {
    return Status(
        Code::kSystemError,
        fmt::format("{} is refused as a file of settings: it belongs to user {}, not to you ({}) or "
                    "root; make it yours, or set COMITY_CONF_FILE to one that is",
                    path, info.st_uid, geteuid()));
  }
  if ((info.st_mode & S_IWOTH) == 0) return {};
  return Status(
      Code::kSystemError,
      fmt::format("{} is refused as a file of settings: everyone may write to it; chmod o-w {}", path, path));
}

}  // namespace

Result<std::vector<SettingLine>> parse_settings(std::string_view text, const std::string& path) {
  std::vector<SettingLine> lines;
  size_t number = 0;
  for (std::string_view whole : split(text, '\n')) {
    ++number;
    if (whole.ends_with('\r')) whole.remove_suffix(1);
    const std::string_view said = trimmed(without_comment(whole));
    if (said.empty()) continue;
    COMITY_ASSIGN_OR_RETURN(SettingLine line, parse_line(said, path, number));
    const auto before = std::find_if(lines.begin(), lines.end(),
                                     [&](const SettingLine& other) { return other.name == line.name; });
    if (before != lines.end())
      return bad_line(path, number, fmt::format("{} is in line {} already", line.name, before->number));
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<SettingsFile> settings_files() {
  std::vector<SettingsFile> files{{kSystemPath, SettingSource::kSystemFile, false}};
  const char* home = secure_getenv("HOME");
  if (home != nullptr && *home == '/')
    files.push_back({std::string(home) + kBelowHome, SettingSource::kUserFile, false});
  const char* named = secure_getenv("COMITY_CONF_FILE");
  if (named != nullptr && *named != '\0') files.push_back({named, SettingSource::kNamedFile, true});
  return files;
}

Result<std::vector<SettingLine>> read_settings(const SettingsFile& file) {
  // Without O_NONBLOCK a pipe in its place would be waited for.
  const UniqueFd fd =
      open_fd([&] { return ::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); });
  if (!fd.valid()) {
    const bool absent = errno == ENOENT || errno == ENOTDIR;
    if (absent && !file.must_exist) return std::vector<SettingLine>();
    // A home that this user may not look into has no settings for it.
    if (errno == EACCES && file.source == SettingSource::kUserFile) return std::vector<SettingLine>();
    return Status(Code::kSystemError,
                  fmt::format("cannot read {}{}: {}", file.must_exist ? "COMITY_CONF_FILE=" : "", file.path,
                              errno_text(errno)));
  }
  COMITY_RETURN_IF_ERROR(check_owner(fd.get(), file.path));
  COMITY_ASSIGN_OR_RETURN(const std::string text, read_open_file(fd.get(), file.path, kLongestBytes));
  return parse_settings(text, file.path);
}

}  // namespace comity
