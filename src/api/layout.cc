#include "src/api/layout.h"

#include <fmt/core.h>

#include <mutex>

#include "src/base/file.h"
#include "src/base/fork.h"
#include "src/base/log.h"
#include "src/base/settings.h"
#include "topology/discover/discover.h"
#include "topology/discover/profile.h"
#include "topology/json.h"

namespace comity::api {
namespace {

Result<topology::Graph> from_file(const std::string& path) {
  const auto text = read_file(path);
  if (!text.ok()) {
    return Status(Code::kInvalidArgument,
                  fmt::format("COMITY_TOPO_FILE=\"{}\": {}", path, text.status().message()));
  }
  auto graph = topology::from_json(*text, path);
  if (!graph.ok()) return graph.status().in("COMITY_TOPO_FILE");
  return graph;
}

// Discovered once: ranks that are threads of a process share it.
Result<topology::Graph> discovered() {
  static const topology::Graph* graph = nullptr;  // lives as long as the process
  const std::lock_guard lock(process_lock(ProcessLock::kDiscovery));
  if (graph == nullptr) {
    topology::DiscoverOptions options;
    options.libraries["opencl"] = "";  // loads whole compilers into the caller's process, and adds only names
    COMITY_ASSIGN_OR_RETURN(auto found, topology::discover(options));
    topology::apply(topology::load_profile(topology::structural_hash(found.graph)), found.graph);
    graph = new topology::Graph(std::move(found.graph));
  }
  return *graph;
}

}  // namespace

Result<std::string> local_view() {
  const std::string path = setting_text("COMITY_TOPO_FILE");
  COMITY_ASSIGN_OR_RETURN(const topology::Graph graph, path.empty() ? discovered() : from_file(path));
  return topology::to_json(topology::anonymous(graph));
}

Status Layout::agree(std::span<const topology::View> views, const std::vector<uint32_t>& group_of_rank,
                     const TransportsInUse& transports, uint32_t rank) {
  COMITY_ASSIGN_OR_RETURN(auto agreed, topology::agree(views, group_of_rank));
  if (rank == 0) {
    for (const std::string& difference : agreed.differences)
      COMITY_LOG_WARN("topology: {}; left out", difference);
  }
  graph_ = std::move(agreed.graph);
  for (uint32_t group : group_of_rank) placement_.node_of_rank.push_back(agreed.host_node[group]);
  placement_.inside = transports.shm ? topology::Way::kMemory : topology::Way::kLoopback;
  placement_.direct = transports.shm;
  placement_.inside_transport = transports.shm ? "shm" : transports.across;
  placement_.across_transport = transports.across;
  topology::complete_for_planning(graph_, placement_);
  return topology::validate(graph_);
}

void Layout::take(const Measured& measured) {
  topology::set_figures(graph_, measured.way, placement_.node_of_rank, measured.latency_ns,
                        measured.bandwidth_bytes_per_s, topology::Source::kMeasured);
}

void Layout::take_reported(const PathFigures& network) {
  topology::set_figures(graph_, topology::Way::kNetwork, placement_.node_of_rank, network.latency_ns,
                        network.bandwidth_bytes_per_s, topology::Source::kReported);
}

Layout Layout::restricted_to(std::span<const uint32_t> ranks) const {
  Layout restricted = *this;
  restricted.placement_.node_of_rank.clear();
  for (const uint32_t rank : ranks)
    restricted.placement_.node_of_rank.push_back(placement_.node_of_rank[rank]);
  return restricted;
}

std::string Layout::describe() const {
  const auto count = [&](topology::NodeKind kind) { return graph_.nodes_of(kind).size(); };
  return fmt::format("graph {:016x}: {} hosts, {} NUMA domains, {} devices, {} NICs, {} links",
                     topology::hash(graph_), graph_.host_count(), count(topology::NodeKind::kNuma),
                     count(topology::NodeKind::kDevice), count(topology::NodeKind::kNic),
                     graph_.links.size());
}

}  // namespace comity::api
