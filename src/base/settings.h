// Every setting of the library in one table: name, default, meaning, and whether all ranks must agree on it.
// The table is the source of parsing, of `comity config`, of `comity doctor` and of docs/settings.md.
//
// A value comes from the first of these that has one:
//
//   config         comityConfig_t of one communicator
//   environment    the variable, unless it is empty
//   files          the file that COMITY_CONF_FILE names, ~/.config/comity/comity.conf, /etc/comity.conf:
//                  lines NAME = value; see settings_file.h
//   default        the table's
//
// A communicator reads them once, when it is made, into a Settings of its own; what belongs to the process
// alone (devices, arenas, the log) asks setting_text and setting_number. Settings marked agreed are compared
// among the ranks at init.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"

namespace comity {

struct Setting {
  const char* name;                       // environment variable
  const char* default_value;              // as text; "" is unset
  bool agreed;                            // must be equal on all ranks
  const char* accepts;                    // what may be given: "seconds", "error, warn, info or debug"
  const char* meaning;                    // one sentence for people
  uint64_t least = 0, most = UINT64_MAX;  // of a number
  bool environment_only = false;          // says something of one process: no file may set it
};

enum class SettingSource : uint8_t { kDefault, kSystemFile, kUserFile, kNamedFile, kEnvironment, kConfig };

struct SettingValue {
  std::string text;
  SettingSource source = SettingSource::kDefault;
  std::string where = "default";  // for people: "environment", "/etc/comity.conf:3", "config"
};

// A name that begins as a setting's and is none.
struct UnknownSetting {
  std::string name;
  std::string where;    // "environment", "/etc/comity.conf:3"
  std::string nearest;  // the setting that was probably meant; empty if none is like it
};

// All settings, sorted by name. Static storage.
std::span<const Setting> settings();

// The value of every setting at one moment. A value itself: it is copied, and one that is not changed is read
// by any thread. Below, `name` must be in the table (else the process stops).
class Settings {
 public:
  // Reads the environment and the files; blocks as that does. The first time in a process that it finds
  // unknown names it warns of them in the log. kInvalidArgument names file and line of what is no setting's
  // line; kSystemError a file that cannot be read, is another user's, or that everyone may write to.
  static Result<Settings> read();
  // The same for tools that show what there is: no warning, and what is wrong with the files is written to
  // *problem, while the rest is read as if they were empty.
  static Settings read_leniently(Status* problem);

  // "" where nothing is set and the default is none.
  const std::string& text(std::string_view name) const { return value(name).text; }
  // As a whole number, with optional suffix K, M or G (powers of 1024). kInvalidArgument names the setting,
  // where it was set, what it was, and what it accepts.
  Result<uint64_t> number(std::string_view name) const;
  // Of a setting in seconds that may also be given in ms ("1500ms"): in ms.
  Result<uint64_t> milliseconds(std::string_view name) const;
  const SettingValue& value(std::string_view name) const;
  // Gives a setting the value of a communicator's config.
  void set_by_config(std::string_view name, std::string text);
  // Unknown names of the environment and the files, in that order.
  const std::vector<UnknownSetting>& unknown() const { return unknown_; }

 private:
  Settings();
  std::vector<SettingValue> values_;  // in the order of the table
  std::vector<UnknownSetting> unknown_;
};

// Of the process as it is now, for what belongs to no communicator. A file that is refused counts as empty
// here: Settings::read() is where that is told.
std::string setting_text(std::string_view name);
Result<uint64_t> setting_number(std::string_view name);

// The setting whose name takes the fewest changes of a letter to become `name`; "" if none is near.
std::string nearest_setting(std::string_view name);

}  // namespace comity
