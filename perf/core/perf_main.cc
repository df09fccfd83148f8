#include "perf/core/perf_main.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "perf/core/measure.h"
#include "perf/core/report.h"
#include "perf/job/launch.h"

namespace comity::perf {
namespace {

// What the library reads from the environment when communicators are made.
void apply_settings(const CollectiveSpec& spec, const Options& options) {
  if (!options.transport.empty()) setenv("COMITY_TRANSPORTS", options.transport.c_str(), 1);
  std::string devices;  // of all ranks: which is this one's is known when they have met
  for (const std::string& device : options.devices_by_rank) {
    if (fmt::format(",{},", devices).find(fmt::format(",{},", device)) == std::string::npos)
      devices += fmt::format("{}{}", devices.empty() ? "" : ",", device);
  }
  if (!devices.empty()) setenv("COMITY_DEVICES", devices.c_str(), 1);
  if (options.algorithm.empty()) return;
  const bool qualified = options.algorithm.find(':') != std::string::npos;
  const std::string rule =
      qualified ? options.algorithm : fmt::format("{}:{}", name_of(planned_as(spec.kind)), options.algorithm);
  setenv("COMITY_ALGO", rule.c_str(), 1);
}

std::vector<RowKey> rows_of(const CollectiveSpec& spec, const Options& options, int nranks) {
  const bool moves_data = spec.kind != Collective::kBarrier;
  const std::vector<uint64_t> sizes = moves_data ? options.sizes() : std::vector<uint64_t>{0};
  std::vector<std::optional<RedOp>> ops(options.ops.begin(), options.ops.end());
  if (!is_reduction(spec.kind)) ops = {std::nullopt};
  std::vector<DataType> types = options.types;
  if (!moves_data) types.resize(1);
  std::vector<int> roots = {spec.rooted ? options.root : -1};
  if (spec.rooted && options.root == -1) {
    roots.clear();
    for (int root = 0; root < nranks; ++root) roots.push_back(root);
  }
  std::vector<RowKey> rows;
  for (const DataType type : types) {
    for (const std::optional<RedOp>& op : ops) {
      for (const int root : roots) {
        for (const uint64_t bytes : sizes) rows.push_back({bytes, type, op, root});
      }
    }
  }
  return rows;
}

// Everything after the ranks have met. The value: elements found wrong.
Result<uint64_t> measure_all(const CollectiveSpec& spec, const Options& options, Session& session) {
  const size_t room = std::max<size_t>(options.max_bytes, 8192);
  const std::string device = options.device_of(session.rank());
  COMITY_ASSIGN_OR_RETURN(Buffer send, Buffer::allocate(options.buffers, device, room));
  COMITY_ASSIGN_OR_RETURN(Buffer recv, Buffer::allocate(options.buffers, device, room));
  Measurer measurer(spec, options, session, send, recv);
  const bool speaks = session.rank() == 0;
  Report report({fmt::format("{}_perf", name_of(spec)), session.nranks(), session.pinned()}, options);
  if (speaks) report.header();
  if (options.limit) COMITY_RETURN_IF_ERROR(measurer.prepare_limit());
  uint64_t wrong = 0;
  for (const RowKey& key : rows_of(spec, options, session.nranks())) {
    COMITY_ASSIGN_OR_RETURN(const RowResult row, measurer.run(key));
    wrong += row.wrong();
    if (speaks) report.row(row);
  }
  if (speaks) COMITY_RETURN_IF_ERROR(report.footer());
  return wrong;
}

Result<int> run(const CollectiveSpec& spec, const Options& options, char** argv) {
  COMITY_ASSIGN_OR_RETURN(const std::optional<World> world, world_from_environment());
  if (!world && options.rank < 0 && !options.launched) return run_ranks(options.ranks, argv);
  apply_settings(spec, options);
  COMITY_ASSIGN_OR_RETURN(const auto session, world              ? Session::of_child(*world, options)
                                              : options.launched ? Session::of_launcher(options)
                                                                 : Session::of_outsider(options));
  COMITY_ASSIGN_OR_RETURN(const uint64_t wrong, measure_all(spec, options, *session));
  return wrong == 0 ? 0 : 1;
}

}  // namespace

int perf_main(const CollectiveSpec& spec, int argc, char** argv) {
  const std::string program = fmt::format("{}_perf", name_of(spec));
  const Parsed parsed = parse_options(program, argc, argv);
  if (!parsed.go_on) return parsed.exit_status;
  const Result<int> status = run(spec, parsed.options, argv);
  if (status.ok()) return *status;
  fmt::print(stderr, "{}: {}\n", program, status.status().message());
  return 1;
}

}  // namespace comity::perf
