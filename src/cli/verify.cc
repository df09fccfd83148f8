// comity verify: proves a plan from a file.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "src/cli/command.h"
#include "src/plan/hash.h"
#include "src/plan/json.h"
#include "src/plan/print.h"
#include "src/plan/verify.h"

namespace comity::cli {
namespace {

// One byte more than a plan may have, so that a longer file is refused without reading it whole.
constexpr size_t kMostRead = (size_t{64} << 20) + 1;

Result<std::string> read_file(const std::string& path) {
  const bool piped = path == "-";
  const std::unique_ptr<FILE, int (*)(FILE*)> file(piped ? stdin : std::fopen(path.c_str(), "rb"),
                                                   std::fclose);
  if (file == nullptr) return Status(Code::kSystemError, std::strerror(errno));
  std::string text;
  char buffer[1 << 16];
  while (text.size() < kMostRead) {
    const size_t got = std::fread(buffer, 1, std::min(sizeof buffer, kMostRead - text.size()), file.get());
    text.append(buffer, got);
    if (std::ferror(file.get()) != 0) return Status(Code::kSystemError, std::strerror(errno));
    if (got == 0) break;
  }
  return text;
}

int refuse_file(const std::string& path, const Status& status) {
  fmt::print(stderr, "comity verify: {}: {}\n", path, status.message());
  return kNotDone;
}

void print_proved(const std::string& path, const plan::Plan& plan) {
  uint64_t steps = 0;
  for (const plan::Part& part : plan.parts) {
    for (const plan::Lane& lane : part.lanes) steps += lane.steps.size();
  }
  constexpr std::string_view kPlacements[] = {"in and out of place", "out of place", "in place"};
  fmt::print("{}: proved: {} {}, {} ranks, {} steps, {}, hash {:016x}\n", path,
             name_of(plan.shape.collective), plan.shape.algorithm, plan.shape.nranks, steps,
             kPlacements[static_cast<size_t>(plan.shape.placement)], plan::hash_of(plan));
}

void print_refused(const std::string& path, const plan::Plan& plan, const plan::Violation& violation) {
  fmt::print("{}: refused by rule \"{}\": {}\n", path, violation.rule, violation.message);
  if (violation.rank >= plan.parts.size() || violation.lane >= plan.parts[violation.rank].lanes.size())
    return;
  const auto& steps = plan.parts[violation.rank].lanes[violation.lane].steps;
  if (violation.step >= steps.size()) return;
  fmt::print("  parts[{}].lanes[{}].steps[{}]: {}\n", violation.rank, violation.lane, violation.step,
             plan::describe(steps[violation.step]));
}

int verify_file(const std::string& path) {
  const Result<std::string> text = read_file(path);
  if (!text.ok()) return refuse_file(path, text.status());
  const Result<plan::Plan> plan = plan::plan_from_json(*text);
  if (!plan.ok()) return refuse_file(path, plan.status());
  const plan::VerifyResult verdict = plan::verify(*plan);
  if (!verdict.ok) {
    print_refused(path, *plan, verdict.violation);
    return kBad;
  }
  print_proved(path, *plan);
  return kGood;
}

}  // namespace

void add_verify(CLI::App& app, int& status) {
  const auto path = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "verify", "Prove a plan from a file: exit 0 if it is right, 1 if not, 2 if unreadable");
  command->add_option("file", *path, "A plan as `comity plan --format json` writes it; - for standard input")
      ->required();
  command->callback([path, &status] { status = verify_file(*path); });
}

}  // namespace comity::cli
