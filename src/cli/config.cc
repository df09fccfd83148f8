// comity config: each setting's value and where it came from.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "src/base/settings.h"
#include "src/cli/command.h"

namespace comity::cli {
namespace {

constexpr const char* kSourceNames[] = {"default",     "system file", "user file", "named file",
                                        "environment", "config"};  // in the order of SettingSource

void print_text(const Settings& values) {
  size_t width = 0;
  for (const Setting& setting : settings()) width = std::max(width, std::string_view(setting.name).size());
  for (const Setting& setting : settings()) {
    const SettingValue& value = values.value(setting.name);
    fmt::print("{:<{}}{} {}  ({})\n", setting.name, width, setting.agreed ? "*" : " ",
               value.text.empty() ? "(unset)" : value.text, value.where);
  }
  fmt::print("* all ranks must agree\n");
}

void print_json(const Settings& values, const Status& problem) {
  nlohmann::ordered_json all;
  for (const Setting& setting : settings()) {
    const SettingValue& value = values.value(setting.name);
    all["settings"].push_back({{"name", setting.name},
                               {"value", value.text},
                               {"source", kSourceNames[static_cast<size_t>(value.source)]},
                               {"where", value.where},
                               {"default", setting.default_value},
                               {"agreed", setting.agreed},
                               {"accepts", setting.accepts},
                               {"meaning", setting.meaning}});
  }
  all["unknown"] = nlohmann::ordered_json::array();
  for (const UnknownSetting& one : values.unknown())
    all["unknown"].push_back({{"name", one.name}, {"where", one.where}, {"nearest", one.nearest}});
  if (!problem.ok()) all["error"] = std::string(problem.message());
  fmt::print("{}\n", all.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

// The table of docs/settings.md: a test compares the two.
void print_markdown() {
  fmt::print("| setting | default | takes | meaning |\n|---|---|---|---|\n");
  for (const Setting& setting : settings()) {
    fmt::print("| `{}`{}{} | {} | {} | {} |\n", setting.name, setting.agreed ? " *" : "",
               setting.environment_only ? " (environment only)" : "",
               *setting.default_value == '\0' ? std::string() : fmt::format("`{}`", setting.default_value),
               setting.accepts, setting.meaning);
  }
}

int show(bool json, bool markdown) {
  if (markdown) {
    print_markdown();
    return kGood;
  }
  Status problem;
  const Settings values = Settings::read_leniently(&problem);
  if (json)
    print_json(values, problem);
  else
    print_text(values);
  for (const UnknownSetting& one : values.unknown()) {
    fmt::print(stderr, "comity config: {} ({}) is no setting and is ignored{}\n", one.name, one.where,
               one.nearest.empty() ? "" : fmt::format(" (was {} meant?)", one.nearest));
  }
  if (!problem.ok()) fmt::print(stderr, "comity config: {}\n", problem.message());
  return problem.ok() ? kGood : kBad;
}

}  // namespace

void add_config(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("config", "Show each setting's value and where it came from");
  const auto json = std::make_shared<bool>(false);
  const auto markdown = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "as JSON, with what each takes and means");
  command->add_flag("--markdown", *markdown, "the table of docs/settings.md, without values")
      ->excludes("--json");
  command->callback([&status, json, markdown] { status = show(*json, *markdown); });
}

}  // namespace comity::cli
