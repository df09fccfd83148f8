#include "perf/core/report.h"

#include <fmt/core.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "comity/comity.h"
#include "perf/core/element.h"
#include "perf/job/affinity.h"

namespace comity::perf {
namespace {

using Json = nlohmann::ordered_json;

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

Json placement_json(const PlacementResult& result) {
  Json json;
  json["time_us"] = result.time_us;
  json["min_us"] = result.min_us;
  json["max_us"] = result.max_us;
  json["iterations"] = result.iterations;
  json["algbw_gb_per_s"] = result.algbw_gb_per_s;
  json["busbw_gb_per_s"] = result.busbw_gb_per_s;
  json["wrong"] = result.wrong ? Json(*result.wrong) : Json();
  if (result.line_ns) json["line_ns"] = *result.line_ns;
  if (result.limit_percent) json["limit_percent"] = *result.limit_percent;
  return json;
}

const char* op_text(const RowResult& result) {
  return result.key.op ? name_of(*result.key.op).data() : "none";
}

Json row_json(const RowResult& result) {
  Json json;
  json["size_bytes"] = result.bytes;
  json["count"] = result.shape.argument;
  json["type"] = column_name(result.key.type);
  json["redop"] = op_text(result);
  json["root"] = result.key.root;
  json["out_of_place"] = placement_json(result.out_of_place);
  json["in_place"] = placement_json(result.in_place);
  return json;
}

}  // namespace

struct Report::State {
  ReportContext context;
  const Options& options;
  Json rows = Json::array();
  double busbw_sum = 0;
  int busbw_count = 0;
  uint64_t wrong = 0;

  double average_busbw() const { return busbw_count == 0 ? 0 : busbw_sum / busbw_count; }
  void add(const PlacementResult& result) {
    busbw_sum += result.busbw_gb_per_s;
    ++busbw_count;
    wrong += result.wrong.value_or(0);
  }
  Json document() const;
};

Report::Report(ReportContext context, const Options& options)
    : state_(new State{std::move(context), options, Json::array(), 0, 0, 0}) {}

Report::~Report() = default;

uint64_t Report::wrong() const {
  return state_->wrong;
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
             column_name(result.key.type), op_text(result), result.key.root,
             placement_text(result.out_of_place, limit), placement_text(result.in_place, limit));
  std::fflush(stdout);
  state_->add(result.out_of_place);
  state_->add(result.in_place);
  state_->rows.push_back(row_json(result));
}

Json Report::State::document() const {
  Json json;
  json["version"] = 1;
  json["program"] = context.program;
  json["config"] = {{"nranks", context.nranks},
                    {"pinned", context.pinned},
                    {"cores", machine_core_count()},
                    {"buffers", options.buffers == BufferKind::kPlain ? "plain" : "registered"},
                    {"mode", options.owner_writes ? "owner-writes" : "loop"},
                    {"transport", options.transport},
                    {"algorithm", options.algorithm},
                    {"iterations", options.iterations},
                    {"warmup", options.warmup},
                    {"checks", options.checks}};
  json["results"] = rows;
  json["out_of_bounds"] = {{"count", wrong}, {"okay", wrong == 0}};
  json["average_bus_bandwidth_gb_per_s"] = average_busbw();
  return json;
}

Status Report::footer() const {
  fmt::print("# Out of bounds values : {} {}\n", state_->wrong, state_->wrong == 0 ? "OK" : "FAILED");
  fmt::print("# Avg bus bandwidth    : {:g} \n#\n", state_->average_busbw());
  fmt::print("# Collective test concluded: {}\n", state_->context.program);
  std::fflush(stdout);
  const std::string& path = state_->options.json_file;
  if (path.empty()) return {};
  std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "w"), std::fclose);
  if (file == nullptr) return Status(Code::kSystemError, "cannot write the JSON file " + path);
  fmt::print(file.get(), "{}\n", state_->document().dump(2));
  return {};
}

}  // namespace comity::perf
