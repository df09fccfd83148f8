#include "perf/core/results_json.h"

#include <nlohmann/json.hpp>

#include "perf/core/element.h"
#include "perf/job/affinity.h"

namespace comity::perf {
namespace {

using Json = nlohmann::ordered_json;

Json placement_json(const PlacementResult& result) {
  Json json;
  json["time"] = result.time_us;
  json["alg_bw"] = result.algbw_gb_per_s;
  json["bus_bw"] = result.busbw_gb_per_s;
  json["nwrong"] = result.wrong ? Json(*result.wrong) : Json();
  json["min_us"] = result.min_us;
  json["max_us"] = result.max_us;
  json["iterations"] = result.iterations;
  if (!result.iterations_us.empty()) json["iterations_us"] = result.iterations_us;
  if (result.line_ns) json["line_ns"] = *result.line_ns;
  if (result.limit_percent) json["limit_percent"] = *result.limit_percent;
  return json;
}

Json row_json(const RowResult& result) {
  Json json;
  json["size"] = result.bytes;
  json["count"] = result.shape.argument;
  json["type"] = column_name(result.key.type);
  json["redop"] = op_text(result.key);
  json["root"] = result.key.root;
  json["out_of_place"] = placement_json(result.out_of_place);
  json["in_place"] = result.in_place ? placement_json(*result.in_place) : Json();
  return json;
}

}  // namespace

const char* op_text(const RowKey& key) {
  return key.op ? name_of(*key.op).data() : "none";
}

Totals totals_of(const std::vector<RowResult>& rows) {
  Totals totals;
  double sum = 0;
  int count = 0;
  for (const RowResult& row : rows) {
    totals.wrong += row.wrong();
    sum += row.out_of_place.busbw_gb_per_s;
    ++count;
    if (!row.in_place) continue;
    sum += row.in_place->busbw_gb_per_s;
    ++count;
  }
  totals.average_busbw_gb_per_s = count == 0 ? 0 : sum / count;
  return totals;
}

std::string results_json(const ReportContext& context, const Options& options,
                         const std::vector<RowResult>& rows) {
  Json json;
  json["version"] = 1;
  json["program"] = context.program;
  json["config"] = {{"nranks", context.nranks},
                    {"pinned", context.pinned},
                    {"cores", machine_core_count()},
                    {"buffers", options.buffers == BufferKind::kPlain ? "plain" : "registered"},
                    {"devices", options.devices_by_rank},
                    {"mode", options.owner_writes ? "owner-writes" : "loop"},
                    {"transport", options.transport},
                    {"algorithm", options.algorithm},
                    {"iterations", options.iterations},
                    {"warmup", options.warmup},
                    {"checks", options.checks}};
  json["results"] = Json::array();
  for (const RowResult& row : rows) json["results"].push_back(row_json(row));
  const Totals totals = totals_of(rows);
  json["out_of_bounds"] = {{"count", totals.wrong}, {"okay", totals.wrong == 0}};
  json["average_bus_bandwidth"] = {{"bandwidth", totals.average_busbw_gb_per_s}};
  return json.dump(2) + "\n";
}

}  // namespace comity::perf
