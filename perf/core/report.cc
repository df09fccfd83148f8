#include "perf/core/report.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include "comity/comity.h"
#include "perf/core/element.h"
#include "perf/core/plot.h"
#include "perf/core/results_json.h"

namespace comity::perf {
namespace {

// Seven characters wide as in nccl-tests, with a third decimal where a microsecond is long.
std::string time_text(double us) {
  if (us >= 10000) return fmt::format("{:.0f}", us);
  if (us >= 100) return fmt::format("{:.1f}", us);
  return us >= 10 ? fmt::format("{:.2f}", us) : fmt::format("{:.3f}", us);
}

std::string placement_text(const PlacementResult& result, bool limit) {
  const std::string wrong = result.wrong ? fmt::format("{}", *result.wrong) : "N/A";
  std::string text = fmt::format("  {:>7}  {:>6.2f}  {:>6.2f}  {:>5}", time_text(result.time_us),
                                 result.algbw_gb_per_s, result.busbw_gb_per_s, wrong);
  if (limit) text += fmt::format("  {:>5.1f}", result.limit_percent.value_or(0));
  return text;
}

// Of one placement's iterations; "" if they were not timed.
std::string spread_text(const char* placement, std::vector<double> times_us) {
  if (times_us.empty()) return {};
  std::sort(times_us.begin(), times_us.end());
  return fmt::format("  {}: fastest {}, median {}, slowest {}", placement, time_text(times_us.front()),
                     time_text(times_us[times_us.size() / 2]), time_text(times_us.back()));
}

// As many fields as a placement that was measured.
std::string no_placement_text(bool limit) {
  return fmt::format("  {:>7}  {:>6}  {:>6}  {:>5}", "N/A", "N/A", "N/A", "N/A") +
         (limit ? fmt::format("  {:>5}", "N/A") : "");
}

Status write_file(const std::string& path, const char* what, const std::string& text) {
  std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "w"), std::fclose);
  const bool written = file != nullptr && std::fwrite(text.data(), 1, text.size(), file.get()) == text.size();
  if (!written || std::fclose(file.release()) != 0) {
    return Status(Code::kSystemError, fmt::format("cannot write the {} file {}", what, path));
  }
  return {};
}

}  // namespace

struct Report::State {
  ReportContext context;
  const Options& options;
  std::vector<RowResult> rows;
};

Report::Report(ReportContext context, const Options& options)
    : state_(new State{std::move(context), options, {}}) {}

Report::~Report() = default;

uint64_t Report::wrong() const {
  return totals_of(state_->rows).wrong;
}

void Report::header() const {
  const Options& o = state_->options;
  const bool factor = o.step_factor > 1;
  int version = 0;
  comityGetVersion(&version);
  fmt::print("# comity {} {}\n", version, state_->context.program);
  fmt::print("# nRanks {} minBytes {} maxBytes {} step: {}({}) warmup iters: {} iters: {} validation: {}\n",
             state_->context.nranks, o.min_bytes, o.max_bytes, factor ? o.step_factor : o.step_bytes,
             factor ? "factor" : "bytes", o.warmup, o.iterations, o.checks);
  if (!o.devices_by_rank.empty()) fmt::print("# devices, by rank: {}\n", fmt::join(o.devices_by_rank, ","));
  fmt::print("# buffers: {} mode: {} pinned: {} transport: {} algorithm: {}\n#\n",
             o.buffers == BufferKind::kPlain ? "plain" : "registered",
             o.owner_writes ? "owner-writes" : "loop", state_->context.pinned ? "yes" : "no",
             o.transport.empty() ? "auto" : o.transport, o.algorithm.empty() ? "auto" : o.algorithm);
  const char* extra = o.limit ? "       " : "";
  const std::string names = fmt::format("  {:>7}  {:>6}  {:>6}  {:>5}{}", "time", "algbw", "busbw", "#wrong",
                                        o.limit ? "  %lim" : "");
  const std::string units =
      fmt::format("  {:>7}  {:>6}  {:>6}  {:>5}{}", "(us)", "(GB/s)", "(GB/s)", "", extra);
  fmt::print(
      "# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}           out-of-place            {}           in-place         "
      " \n",
      "", "", "", "", "", extra);
  fmt::print("# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}{}{}\n", "size", "count", "type", "redop", "root", names,
             names);
  fmt::print("# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}{}{}\n", "(B)", "(elements)", "", "", "", units, units);
  std::fflush(stdout);
}

void Report::row(const RowResult& result) {
  const bool limit = state_->options.limit;
  fmt::print("{:>12}  {:>12}  {:>8}  {:>6}  {:>6}{}{}\n", result.bytes, result.shape.argument,
             column_name(result.key.type), op_text(result.key), result.key.root,
             placement_text(result.out_of_place, limit),
             result.in_place ? placement_text(*result.in_place, limit) : no_placement_text(limit));
  if (state_->options.iteration_times) {
    fmt::print("# iterations (us)");
    fmt::print("{}", spread_text("out-of-place", result.out_of_place.iterations_us));
    if (result.in_place) fmt::print("{}", spread_text("in-place", result.in_place->iterations_us));
    fmt::print("\n");
  }
  std::fflush(stdout);
  state_->rows.push_back(result);
}

Status Report::footer() const {
  const Totals totals = totals_of(state_->rows);
  fmt::print("# Out of bounds values : {} {}\n", totals.wrong, totals.wrong == 0 ? "OK" : "FAILED");
  fmt::print("# Avg bus bandwidth    : {:g} \n#\n", totals.average_busbw_gb_per_s);
  fmt::print("# Collective test concluded: {}\n", state_->context.program);
  std::fflush(stdout);
  const Options& o = state_->options;
  if (!o.json_file.empty()) {
    COMITY_RETURN_IF_ERROR(write_file(o.json_file, "JSON", results_json(state_->context, o, state_->rows)));
  }
  if (o.plot_file.empty()) return {};
  const std::string title = fmt::format("{}, {} ranks", state_->context.program, state_->context.nranks);
  return write_file(o.plot_file, "SVG", plot_svg(title, state_->rows));
}

}  // namespace comity::perf
