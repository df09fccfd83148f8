// comity device: the devices of this machine, and the conformance suite for one.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "src/cli/command.h"
#include "src/cli/device_check.h"
#include "src/device/runtimes.h"

namespace comity::cli {
namespace {

struct Options {
  std::string name;
  std::string report_file;
  int number = -1;  // all
  bool quick = false;
};

std::string memory_text(uint64_t bytes) {
  return bytes == 0 ? "" : fmt::format(", {:.1f} GiB", static_cast<double>(bytes) / (uint64_t{1} << 30));
}

void print_runtime(std::string_view name) {
  const auto runtime = open_runtime(name);
  if (!runtime.ok()) {
    fmt::print("no {}\n", runtime.status().message());
    return;
  }
  for (uint32_t number = 0; number < (*runtime)->device_count(); ++number) {
    comityDeviceProperties its{};
    its.size = sizeof its;
    static_cast<void>((*runtime)->table().properties(number, &its));
    fmt::print("{}:{}: {} ({}{}{})\n", name, number, its.name, its.driver, memory_text(its.memory_bytes),
               its.bus_id[0] != '\0' ? fmt::format(", {}", its.bus_id) : "");
  }
}

int list() {
  for (const std::string_view name : built_in_devices()) print_runtime(name);
  for (const std::string& name : plugins_in_path()) print_runtime(name);
  return kGood;
}

void print_report(const DeviceReport& report) {
  constexpr const char* kWords[] = {"holds", "FAILS", "absent"};
  fmt::print("{}: {} ({})\n", report.name, report.properties.name, report.properties.driver);
  for (const Checked& check : report.checks) {
    fmt::print("  {:<6}  {}{}{}\n", kWords[static_cast<int>(check.outcome)], check.what,
               check.detail.empty() ? "" : ": ", check.detail);
  }
  for (const Figure& figure : report.figures)
    fmt::print("  {:>8.1f} {:<5} {}\n", figure.value, figure.unit, figure.what);
  fmt::print("{}: {} hold, {} fail, {} absent\n", report.name, report.count(Checked::Outcome::kHolds),
             report.count(Checked::Outcome::kFails), report.count(Checked::Outcome::kAbsent));
}

nlohmann::json json_of(const DeviceReport& report) {
  constexpr const char* kWords[] = {"holds", "fails", "absent"};
  nlohmann::json checks = nlohmann::json::array(), figures = nlohmann::json::array();
  for (const Checked& check : report.checks) {
    checks.push_back({{"what", check.what},
                      {"outcome", kWords[static_cast<int>(check.outcome)]},
                      {"detail", check.detail}});
  }
  for (const Figure& figure : report.figures)
    figures.push_back({{"what", figure.what}, {"value", figure.value}, {"unit", figure.unit}});
  const comityDeviceProperties& its = report.properties;
  return {{"device", report.name},   {"abi", COMITY_DEVICE_ABI}, {"product", its.name},
          {"driver", its.driver},    {"bus_id", its.bus_id},     {"memory_bytes", its.memory_bytes},
          {"holds", report.holds()}, {"checks", checks},         {"figures", figures}};
}

bool write_reports(const std::string& file, const nlohmann::json& reports) {
  const std::string text = reports.dump(2) + "\n";
  const std::unique_ptr<FILE, int (*)(FILE*)> out(std::fopen(file.c_str(), "we"), std::fclose);
  if (out != nullptr && std::fwrite(text.data(), 1, text.size(), out.get()) == text.size() &&
      std::fflush(out.get()) == 0)
    return true;
  fmt::print(stderr, "comity device check: {} cannot be written\n", file);
  return false;
}

int check(const Options& options) {
  const auto runtime = open_runtime(options.name);
  if (!runtime.ok()) {
    fmt::print(stderr, "comity device check: {}\n", runtime.status().message());
    return runtime.status().code() == Code::kInvalidUsage ? kBad : kNotDone;
  }
  nlohmann::json reports = nlohmann::json::array();
  bool holds = (*runtime)->device_count() > 0;
  if (!holds) fmt::print("{} has no device\n", options.name);
  for (uint32_t number = 0; number < (*runtime)->device_count(); ++number) {
    if (options.number >= 0 && static_cast<uint32_t>(options.number) != number) continue;
    const DeviceReport report = check_device(*runtime, number, {!options.quick});
    print_report(report);
    reports.push_back(json_of(report));
    holds = holds && report.holds();
  }
  if (reports.empty()) {
    fmt::print(stderr, "comity device check: {} has no device {}\n", options.name, options.number);
    return kNotDone;
  }
  if (!options.report_file.empty() && !write_reports(options.report_file, reports)) return kNotDone;
  return holds ? kGood : kBad;
}

}  // namespace

void add_device(CLI::App& app, int& status) {
  CLI::App* command =
      app.add_subcommand("device", "Devices: what is here, and whether one keeps its contract");
  command->require_subcommand(1);
  CLI::App* listing = command->add_subcommand("list", "Open every runtime and plugin, and show its devices");
  listing->callback([&status] { status = list(); });
  const auto options = std::make_shared<Options>();
  CLI::App* checking = command->add_subcommand(
      "check",
      "Run the conformance suite: exit 0 if all that is claimed holds, 1 if not, 2 if it does not open");
  checking
      ->add_option("device", options->name, "A runtime (opencl, host), or a plugin's name or file (./x.so)")
      ->required();
  checking->add_option("--number", options->number, "This device of the runtime alone");
  checking->add_option("--report", options->report_file, "Write what was found as JSON");
  checking->add_flag("--quick", options->quick, "Measure nothing");
  checking->callback([options, &status] { status = check(*options); });
}

}  // namespace comity::cli
