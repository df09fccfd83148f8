// comity doctor: what is built in, found and missing, and how to get it.

#include <fmt/core.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "src/base/settings.h"
#include "src/cli/command.h"
#include "src/cli/doctor_probes.h"

namespace comity::cli {
namespace {

// The number of needed things that are missing.
int print_findings(std::string_view title, const std::vector<Finding>& findings) {
  size_t width = 0;
  for (const Finding& finding : findings) width = std::max(width, finding.name.size());
  fmt::print("\n{}\n", title);
  int missing = 0;
  for (const Finding& finding : findings) {
    fmt::print("  {:<{}}  {:<7}  {}\n", finding.name, width,
               finding.present  ? "yes"
               : finding.needed ? "MISSING"
                                : "no",
               finding.detail);
    missing += !finding.present && finding.needed ? 1 : 0;
  }
  return missing;
}

void print_machine() {
  utsname system{};
  uname(&system);
  cpu_set_t cores;
  CPU_ZERO(&cores);
  const int usable = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 0;
  fmt::print("comity {}, built by {}, {}\n", COMITY_CLI_VERSION, COMITY_CLI_COMPILER, COMITY_CLI_BUILD);
  fmt::print("{} {}, {}, {} usable cores\n", system.sysname, system.release, system.machine, usable);
}

// The number of things that are wrong with them: most often a misspelling.
int print_settings() {
  Status problem;
  const Settings values = Settings::read_leniently(&problem);
  fmt::print("\nsettings (* all ranks must agree; `comity config` shows where each is from)\n");
  for (const Setting& setting : settings()) {
    const SettingValue& value = values.value(setting.name);
    fmt::print("  {:<22}{} {}{}\n      {}\n      accepts: {}\n", setting.name, setting.agreed ? "*" : " ",
               value.text.empty() ? "(unset)" : value.text,
               value.source == SettingSource::kDefault ? "" : fmt::format("  ({})", value.where),
               setting.meaning, setting.accepts);
  }
  for (const UnknownSetting& one : values.unknown()) {
    fmt::print("  {} ({}) is set, and is no setting: is it misspelt?{}\n", one.name, one.where,
               one.nearest.empty() ? "" : fmt::format(" Was {} meant?", one.nearest));
  }
  if (!problem.ok()) fmt::print("  {}\n", problem.message());
  return static_cast<int>(values.unknown().size()) + (problem.ok() ? 0 : 1);
}

int examine() {
  print_machine();
  int missing = print_findings("transports", probe_transports());
  missing += print_findings("devices", probe_devices());
  // Before the libraries below are opened: UCX hooks the memory calls of every thread that ends afterwards.
  missing += print_findings("sources of the topology", probe_topology());
  print_findings("libraries on this machine (none is opened before something asks for it)",
                 probe_libraries());
  const int wrong = print_settings();
  fmt::print("\n{}\n", missing > 0 ? "Something needed is missing: see above."
                       : wrong > 0
                           ? "Nothing needed is missing, but something is wrong with the settings: see above."
                           : "Nothing needed is missing.");
  return missing > 0 ? kBad : kGood;
}

}  // namespace

void add_doctor(CLI::App& app, int& status) {
  CLI::App* command =
      app.add_subcommand("doctor", "Say what is built in, found and missing, and how to get it");
  command->callback([&status] { status = examine(); });
}

}  // namespace comity::cli
