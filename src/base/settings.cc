#include "src/base/settings.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <numeric>

#include "src/base/log.h"
#include "src/base/settings_file.h"

namespace comity {
namespace {

constexpr std::string_view kPrefix = "COMITY_";
// Variables of the project's own programs and tests, which are no settings of the library.
constexpr std::string_view kOthers[] = {"COMITY_TEST_", "COMITY_PERF_", "COMITY_PEERS_", "COMITY_CORPUS"};

const Setting* find(std::string_view name) {
  const auto table = settings();
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const Setting& setting) { return name == setting.name; });
  return found == table.end() ? nullptr : &*found;
}

size_t index_of(std::string_view name) {
  if (const Setting* setting = find(name)) return static_cast<size_t>(setting - settings().data());
  fmt::print(stderr, "comity: internal: setting {} is not in the table\n", name);
  std::abort();
}

// Bits that a suffix shifts by; -1: none.
int shift_of(std::string_view suffix) {
  if (suffix.empty()) return 0;
  return suffix == "K" ? 10 : suffix == "M" ? 20 : suffix == "G" ? 30 : -1;
}

bool is_others(std::string_view name) {
  return std::any_of(std::begin(kOthers), std::end(kOthers),
                     [&](std::string_view other) { return name.substr(0, other.size()) == other; });
}

// How many letters must be put in, taken out or replaced to make one of the other (Levenshtein, 1966).
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

void collect_unknown_variables(std::vector<UnknownSetting>& unknown) {
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::string_view name = text.substr(0, text.find('='));
    if (name.substr(0, kPrefix.size()) != kPrefix || is_others(name) || find(name) != nullptr) continue;
    unknown.push_back({std::string(name), "environment", nearest_setting(name)});
  }
}

void warn_once(const std::vector<UnknownSetting>& unknown) {
  static std::atomic<bool> warned{false};
  if (unknown.empty() || warned.exchange(true)) return;
  for (const UnknownSetting& one : unknown) {
    COMITY_LOG_WARN("{} ({}) is no setting and is ignored{}; `comity config` lists all", one.name, one.where,
                    one.nearest.empty() ? "" : fmt::format(" (was {} meant?)", one.nearest));
  }
}

}  // namespace

std::string nearest_setting(std::string_view name) {
  std::string nearest;
  size_t least = name.size() / 3 + 1;  // beyond that the two have nothing to do with each other
  for (const Setting& setting : settings()) {
    const size_t distance = edit_distance(name, setting.name);
    if (distance >= least) continue;
    least = distance;
    nearest = setting.name;
  }
  return nearest;
}

Settings::Settings() {
  for (const Setting& setting : settings()) values_.push_back({setting.default_value});
}

Settings Settings::read_leniently(Status* problem) {
  Settings read;
  std::vector<UnknownSetting> in_files;
  for (const SettingsFile& file : settings_files()) {
    const auto lines = read_settings(file);
    if (!lines.ok() && problem->ok()) *problem = lines.status();
    if (!lines.ok()) continue;
    for (const SettingLine& line : *lines) {
      const std::string where = fmt::format("{}:{}", file.path, line.number);
      const Setting* setting = find(line.name);
      if (setting == nullptr) {
        in_files.push_back({line.name, where, nearest_setting(line.name)});
      } else if (!setting->environment_only) {
        read.values_[index_of(line.name)] = {line.value, file.source, where};
      } else if (problem->ok()) {
        *problem = Status(Code::kInvalidArgument,
                          fmt::format("{}: {} is for the environment alone", where, line.name));
      }
    }
  }
  for (const Setting& setting : settings()) {
    const char* text = std::getenv(setting.name);
    if (text != nullptr && *text != '\0')
      read.values_[index_of(setting.name)] = {text, SettingSource::kEnvironment, "environment"};
  }
  collect_unknown_variables(read.unknown_);
  read.unknown_.insert(read.unknown_.end(), in_files.begin(), in_files.end());
  return read;
}

Result<Settings> Settings::read() {
  Status problem;
  Settings read = read_leniently(&problem);
  if (!problem.ok()) return problem;
  warn_once(read.unknown_);
  return read;
}

const SettingValue& Settings::value(std::string_view name) const {
  return values_[index_of(name)];
}

void Settings::set_by_config(std::string_view name, std::string text) {
  values_[index_of(name)] = {std::move(text), SettingSource::kConfig, "config"};
}

Result<uint64_t> Settings::number(std::string_view name) const {
  const Setting& setting = settings()[index_of(name)];
  const SettingValue& given = value(name);
  const std::string& text = given.text;
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  const int shift = shift_of(std::string_view(rest, static_cast<size_t>(end - rest)));
  const bool whole = error == std::errc() && shift >= 0 && value <= (UINT64_MAX >> std::max(shift, 0));
  if (whole && value << shift >= setting.least && value << shift <= setting.most) return value << shift;
  const bool told = given.source == SettingSource::kEnvironment || given.source == SettingSource::kDefault;
  return Status(Code::kInvalidArgument,
                fmt::format("{}{}=\"{}\": it takes {}, a whole number (with K, M or G if you like){}",
                            told ? "" : given.where + ": ", name, text, setting.accepts,
                            error == std::errc::result_out_of_range ? ", and this is too large" : ""));
}

Result<uint64_t> Settings::milliseconds(std::string_view name) const {
  const std::string& given = text(name);
  uint64_t ms = 0;
  const char* const end = given.data() + given.size();
  const auto [rest, error] = std::from_chars(given.data(), end, ms);
  const bool in_ms = error == std::errc() && std::string_view(rest, static_cast<size_t>(end - rest)) == "ms";
  if (in_ms && ms / 1000 <= settings()[index_of(name)].most) return ms;
  COMITY_ASSIGN_OR_RETURN(const uint64_t seconds, number(name));
  return seconds * 1000;
}

std::string setting_text(std::string_view name) {
  Status ignored;
  return Settings::read_leniently(&ignored).text(name);
}

Result<uint64_t> setting_number(std::string_view name) {
  Status ignored;
  return Settings::read_leniently(&ignored).number(name);
}

}  // namespace comity
