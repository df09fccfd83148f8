#include "topology/discover/sources.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "topology/discover/bounded.h"
#include "topology/discover/hwloc_source.h"
#include "topology/discover/vendor.h"
#include "topology/discover/verbs.h"

namespace comity::topology {
namespace {

struct VendorSource {
  const char* name;
  Result<VendorReport> (*report)(const std::string&);
};

// In the order in which they are merged: a vendor's own library knows a device better than OpenCL does.
constexpr VendorSource kSources[] = {
    {"opencl", report_of_opencl},
    {"nvml", report_of_nvml},
    {"rocm_smi", report_of_rocm_smi},
    {"level_zero", report_of_level_zero},
};

// The file to open, empty for its usual names; none: it is not to be looked for.
std::optional<std::string> file_of(const DiscoverOptions& options, const std::string& name) {
  const auto chosen = options.libraries.find(name);
  if (chosen == options.libraries.end())
    return options.vendor_libraries ? std::optional<std::string>("") : std::nullopt;
  return chosen->second.empty() ? std::nullopt : std::optional<std::string>(chosen->second);
}

void merge_verbs(const std::vector<std::string>& names, Graph& graph, std::vector<Finding>& findings) {
  std::string unreachable;
  for (Node& node : graph.nodes) {
    const auto device = node.attributes.find("rdma");
    if (device == node.attributes.end()) continue;
    const bool reachable = std::find(names.begin(), names.end(), device->second) != names.end();
    node.attributes["rdma.verbs"] = fmt::format("{}", reachable ? 1 : 0);
    if (!reachable) unreachable += fmt::format("{}{}", unreachable.empty() ? "" : ", ", device->second);
  }
  findings.push_back(
      {"verbs", unreachable.empty(),
       unreachable.empty()
           ? fmt::format("{} RDMA devices", names.size())
           : fmt::format("no provider or no access for {}: install ibverbs-providers, look at the "
                         "rights of /dev/infiniband",
                         unreachable)});
}

}  // namespace

struct LibrarySources::Running {
  std::vector<std::pair<std::string, Bounded<VendorReport>>> reports;
  std::optional<Bounded<std::vector<std::string>>> verbs;
  std::optional<Bounded<Graph>> hwloc;
};

LibrarySources::LibrarySources(const DiscoverOptions& options) : running_(std::make_unique<Running>()) {
  running_->reports.reserve(std::size(kSources));
  for (const VendorSource& source : kSources) {
    const auto file = file_of(options, source.name);
    if (!file) continue;
    running_->reports.emplace_back(
        source.name, Bounded<VendorReport>([report = source.report, file = *file] { return report(file); }));
  }
  if (const auto file = file_of(options, "verbs"))
    running_->verbs.emplace([file = *file] { return devices_of_verbs(file); });
  // It reads the real sysfs, wherever the others look.
  if (options.vendor_libraries && options.sysfs == "/sys")
    running_->hwloc.emplace([] { return load_hwloc(); });
}

LibrarySources::~LibrarySources() = default;

bool LibrarySources::merge_all(Deadline deadline, Graph& graph, std::vector<Finding>& findings) {
  bool all_answered = true;
  for (auto& [name, bounded] : running_->reports) {
    const Result<VendorReport> report = bounded.wait(deadline);
    all_answered = all_answered && report.status().code() != Code::kTimeout;
    if (report.ok()) merge_into(graph, *report);
    findings.push_back(
        {name, report.ok(), report.ok() ? report->text : std::string(report.status().message())});
  }
  if (running_->hwloc) {
    const Result<Graph> hwloc = running_->hwloc->wait(deadline);
    all_answered = all_answered && hwloc.status().code() != Code::kTimeout;
    findings.push_back({"hwloc", hwloc.ok(),
                        hwloc.ok() ? merge_hwloc(*hwloc, graph) : std::string(hwloc.status().message())});
  }
  if (running_->verbs) {
    const auto names = running_->verbs->wait(deadline);
    all_answered = all_answered && names.status().code() != Code::kTimeout;
    if (names.ok())
      merge_verbs(*names, graph, findings);
    else
      findings.push_back({"verbs", false, std::string(names.status().message())});
  }
  return all_answered;
}

}  // namespace comity::topology
