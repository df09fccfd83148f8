// comity doctor: what is built in, found and missing, and how to get it.

#include <fmt/core.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>

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

// Settings out of the table that are set all the same: most often a misspelling.
int print_settings() {
  fmt::print("\nsettings (environment; * all ranks must agree)\n");
  for (const Setting& setting : settings()) {
    const bool set = std::getenv(setting.name) != nullptr;
    const std::string value = setting_text(setting.name);
    fmt::print("  {:<22}{} {}{}\n      {}\n      accepts: {}\n", setting.name, setting.agreed ? "*" : " ",
               value.empty() ? "(unset)" : value, set ? "  (set here)" : "", setting.meaning,
               setting.accepts);
  }
  int unknown = 0;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::string_view name = text.substr(0, text.find('='));
    constexpr std::string_view kOthers[] = {"COMITY_TEST_FULL"};
    if (name.substr(0, 7) != "COMITY_" ||
        std::find(std::begin(kOthers), std::end(kOthers), name) != std::end(kOthers))
      continue;
    const auto table = settings();
    if (std::any_of(table.begin(), table.end(), [&](const Setting& setting) { return name == setting.name; }))
      continue;
    fmt::print("  {} is set, and is no setting: is it misspelt?\n", name);
    ++unknown;
  }
  return unknown;
}

int examine() {
  print_machine();
  int missing = print_findings("transports", probe_transports());
  missing += print_findings("devices", probe_devices());
  // Before the libraries below are opened: UCX hooks the memory calls of every thread that ends afterwards.
  missing += print_findings("sources of the topology", probe_topology());
  print_findings("libraries on this machine (this version needs none of them)", probe_libraries());
  const int unknown = print_settings();
  fmt::print("\n{}\n", missing > 0   ? "Something needed is missing: see above."
                       : unknown > 0 ? "Nothing needed is missing, but a setting is unknown: see above."
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
