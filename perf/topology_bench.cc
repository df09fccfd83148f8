// The largest cluster that is promised: 10,000 hosts of 8 devices, merged host by host, hashed, its islands
// and rails found, and paths between random devices. One core.
//
//   topology_bench
//
// And what planning adds to the graph of a communicator of many hosts, by their number: it grows as they do.
//
// Hosts: the catalogue's DGX H100 (one shape), each tenth with a NIC at half speed; 64 hosts on each set of 8
// leaf switches, one per rail, joined by 32 spine switches: 1,288 switches.
#include <benchmark/benchmark.h>
#include <fmt/core.h>
#include <sys/resource.h>

#include <random>

#include "topology/catalogue/notation.h"
#include "topology/cluster.h"
#include "topology/planning.h"

namespace comity::topology {
namespace {

constexpr uint32_t kHosts = 10'000, kHostsPerLeaf = 64, kRails = 8, kSpines = 32;
constexpr uint64_t kPortBytesPerS = 50'000'000'000;

Node net_switch(std::string name) {
  Node node;
  node.kind = NodeKind::kNetSwitch;
  node.name = std::move(name);
  node.host = kNoHost;
  return node;
}

Link network_link(uint32_t from, uint32_t to, uint64_t bandwidth_bytes_per_s) {
  Link link;
  link.from = from;
  link.to = to;
  link.kind = LinkKind::kInfiniband;
  link.bandwidth_bytes_per_s = bandwidth_bytes_per_s;
  link.latency_ns = 600;
  return link;
}

// Host number `host` with the leaf switches that it leads to.
Graph host_graph(const Graph& machine, uint32_t host) {
  Graph graph = machine;
  for (uint32_t rail = 0; rail < kRails; ++rail)
    graph.add(net_switch(fmt::format("leaf{}.{}", host / kHostsPerLeaf, rail)));
  uint32_t rail = 0;
  for (uint32_t nic : machine.nodes_of(NodeKind::kNic)) {
    const bool degraded = rail == 0 && host % 10 == 0;
    graph.join(network_link(nic, static_cast<uint32_t>(machine.nodes.size()) + rail % kRails,
                            degraded ? kPortBytesPerS / 2 : kPortBytesPerS));
    ++rail;
  }
  return graph;
}

Graph fabric() {
  Graph graph;
  std::vector<uint32_t> spines;
  for (uint32_t i = 0; i < kSpines; ++i) spines.push_back(graph.add(net_switch(fmt::format("spine{}", i))));
  for (uint32_t pod = 0; pod * kHostsPerLeaf < kHosts; ++pod) {
    for (uint32_t rail = 0; rail < kRails; ++rail) {
      const uint32_t leaf = graph.add(net_switch(fmt::format("leaf{}.{}", pod, rail)));
      for (uint32_t spine : spines) graph.join(network_link(leaf, spine, 2 * kPortBytesPerS));
    }
  }
  return graph;
}

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

bool merge(Cluster& cluster, const Graph& machine, const Graph& switches) {
  bool ok = cluster.add(switches).ok();
  for (uint32_t host = 0; host < kHosts; ++host) ok = cluster.add(host_graph(machine, host)).ok() && ok;
  return ok;
}

void all_of_it(benchmark::State& state) {
  const auto machine = graph_from_notation("dgx-h100");
  if (!machine.ok()) return state.SkipWithError(std::string(machine.status().message()).c_str());
  const Graph switches = fabric();
  for (auto _ : state) {
    Cluster cluster;
    if (!merge(cluster, *machine, switches)) return state.SkipWithError("a graph was refused");
    benchmark::DoNotOptimize(cluster.hash());
    state.counters["islands"] = static_cast<double>(cluster.islands().size());
    state.counters["rails"] = static_cast<double>(cluster.rails().size());
    std::mt19937 random(1);
    const auto devices = cluster.shape_of(0).nodes_of(NodeKind::kDevice);
    uint64_t found = 0;
    for (int i = 0; i < 1000; ++i) {
      const auto anywhere = [&] {
        return Place{static_cast<uint32_t>(random() % kHosts), devices[random() % devices.size()]};
      };
      const Place from = anywhere(), to = anywhere();
      found += cluster.path(from, to).path_class != PathClass::kDis;
    }
    state.counters["paths"] = static_cast<double>(found);
    state.counters["shapes"] = cluster.shape_count();
  }
  state.counters["peak_MiB"] = peak_mib();
}
BENCHMARK(all_of_it)->Unit(benchmark::kMillisecond)->Iterations(1)->Repetitions(3);

void merged(benchmark::State& state) {
  const auto machine = graph_from_notation("dgx-h100");
  if (!machine.ok()) return state.SkipWithError(std::string(machine.status().message()).c_str());
  const Graph switches = fabric();
  for (auto _ : state) {
    Cluster cluster;
    benchmark::DoNotOptimize(merge(cluster, *machine, switches));
  }
}
BENCHMARK(merged)->Unit(benchmark::kMillisecond)->Iterations(1);

// What a communicator of `hosts` hosts agrees on: machines side by side, their NICs joined to nothing yet.
Graph side_by_side(const Graph& machine, uint32_t hosts) {
  Graph graph;
  for (uint32_t host = 0; host < hosts; ++host) {
    const auto base = static_cast<uint32_t>(graph.nodes.size());
    for (Node node : machine.nodes) {
      node.host = host;
      graph.add(std::move(node));
    }
    for (Link link : machine.links) {
      link.from += base;
      link.to += base;
      graph.add(std::move(link));
    }
  }
  return graph;
}

void completed_for_planning(benchmark::State& state) {
  const auto machine = graph_from_notation("dgx-h100");
  if (!machine.ok()) return state.SkipWithError(std::string(machine.status().message()).c_str());
  const Graph cluster = side_by_side(*machine, static_cast<uint32_t>(state.range(0)));
  Placement placement;
  placement.node_of_rank = cluster.nodes_of(NodeKind::kHost);
  placement.inside = Way::kLoopback;
  for (auto _ : state) {
    state.PauseTiming();
    Graph graph = cluster;
    state.ResumeTiming();
    complete_for_planning(graph, placement);
    benchmark::DoNotOptimize(graph.links.data());
  }
}
BENCHMARK(completed_for_planning)
    ->Unit(benchmark::kMillisecond)
    ->Iterations(1)
    ->Repetitions(3)
    ->Arg(2'500)
    ->Arg(10'000);

}  // namespace
}  // namespace comity::topology

BENCHMARK_MAIN();
