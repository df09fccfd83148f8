// Files of settings: lines NAME = value; what follows a # at a line's start or after a blank is a comment.
//
// Who can write such a file decides what the ranks do, so one that belongs to neither this user nor root, or
// that everyone may write to, is refused and not skipped: the run would be another than its file says.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/settings.h"

namespace comity {

struct SettingLine {
  std::string name;
  std::string value;
  size_t number = 0;  // of the line, from 1
};

// The lines that say something, in their order; `path` is for messages. kInvalidArgument names the line that
// is none, has no value, or repeats a name.
Result<std::vector<SettingLine>> parse_settings(std::string_view text, const std::string& path);

// A file that may be there.
struct SettingsFile {
  std::string path;
  SettingSource source = SettingSource::kSystemFile;
  bool must_exist = false;
};

// Where settings are looked for, the weakest first. A program that runs with more rights than its caller
// (setuid) looks at /etc/comity.conf alone.
std::vector<SettingsFile> settings_files();
// Its lines; none if it is not there and need not be. Blocks as reading does. kSystemError, kInvalidArgument.
Result<std::vector<SettingLine>> read_settings(const SettingsFile& file);

}  // namespace comity
