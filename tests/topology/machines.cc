#include "tests/topology/machines.h"

#include <fmt/core.h>

namespace comity::topology::test {
namespace {

constexpr uint64_t kPcie5 = 63'000'000'000, kUpi = 60'000'000'000, kMemory = 200'000'000'000;

Link link(uint32_t from, uint32_t to, LinkKind kind, uint64_t bandwidth_bytes_per_s, uint32_t count = 1) {
  return {.from = from,
          .to = to,
          .kind = kind,
          .bandwidth_bytes_per_s = bandwidth_bytes_per_s,
          .latency_ns = 100,
          .count = count,
          .source = Source::kDataSheet};
}

// A host with its NUMA domains, each joined to the next; returns the first domain's index.
uint32_t add_sockets(Graph& graph, uint32_t host, uint32_t sockets) {
  const uint32_t node =
      graph.add({.kind = NodeKind::kHost, .name = fmt::format("host{}", host), .host = host});
  const auto first = static_cast<uint32_t>(graph.nodes.size());
  for (uint32_t numa = 0; numa < sockets; ++numa) {
    const uint32_t domain =
        graph.add({.kind = NodeKind::kNuma, .host = host, .numa = static_cast<int32_t>(numa)});
    graph.join(link(node, domain, LinkKind::kMemory, kMemory));
    if (numa > 0) graph.join(link(domain - 1, domain, LinkKind::kCpu, kUpi));
  }
  return first;
}

uint32_t add_on(Graph& graph, uint32_t parent, NodeKind kind, std::string name, std::string bus_id) {
  Node node{.kind = kind, .name = std::move(name), .host = graph.nodes[parent].host, .vendor = "nvidia"};
  node.numa = graph.nodes[parent].numa;
  node.bus_id = std::move(bus_id);
  const uint32_t index = graph.add(std::move(node));
  graph.join(link(parent, index, LinkKind::kPcie, kPcie5));
  return index;
}

Graph cluster_of_two() {
  return railed_cluster(2);
}
Graph flat_cluster_of_three() {
  return flat_cluster(3);
}
Graph one_switched_box() {
  return switched_box();
}

}  // namespace

Graph switched_box(uint32_t host) {
  Graph graph;
  const uint32_t numa = add_sockets(graph, host, 2);
  std::vector<uint32_t> gpus;
  for (uint32_t i = 0; i < 4; ++i) {
    const uint32_t bridge =
        add_on(graph, numa + i / 2, NodeKind::kPcieBridge, "", fmt::format("0000:{}0:00.0", i + 1));
    const uint32_t part =
        add_on(graph, bridge, NodeKind::kPcieSwitch, "", fmt::format("0000:{}1:00.0", i + 1));
    for (uint32_t g = 0; g < 2; ++g)
      gpus.push_back(
          add_on(graph, part, NodeKind::kDevice, "H100", fmt::format("0000:{}{}:00.0", i + 1, g + 2)));
    add_on(graph, part, NodeKind::kNic, fmt::format("mlx5_{}", i), fmt::format("0000:{}5:00.0", i + 1));
  }
  for (uint32_t s = 0; s < 2; ++s) {
    const uint32_t vendor_switch =
        graph.add({.kind = NodeKind::kVendorSwitch, .host = host, .vendor = "nvidia"});
    for (uint32_t gpu : gpus) graph.join(link(gpu, vendor_switch, LinkKind::kNvlink, 25'000'000'000, 9));
  }
  return graph;
}

Graph cube_mesh() {
  Graph graph;
  const uint32_t numa = add_sockets(graph, 0, 2);
  std::vector<uint32_t> gpus;
  for (uint32_t i = 0; i < 8; ++i) {
    const uint32_t domain = numa + i / 4;
    gpus.push_back(graph.add({.kind = NodeKind::kDevice,
                              .name = "V100",
                              .host = 0,
                              .vendor = "nvidia",
                              .numa = graph.nodes[domain].numa}));
    graph.join(link(domain, gpus[i], LinkKind::kPcie, 15'750'000'000));
  }
  for (uint32_t quad : {0u, 4u}) {
    for (uint32_t i = 0; i < 4; ++i) {
      for (uint32_t j = i + 1; j < 4; ++j)
        graph.join(
            link(gpus[quad + i], gpus[quad + j], LinkKind::kNvlink, 25'000'000'000, j - i == 2 ? 2 : 1));
    }
  }
  for (uint32_t i = 0; i < 4; ++i)
    graph.join(link(gpus[i], gpus[i + 4], LinkKind::kNvlink, 25'000'000'000, i == 0 || i == 3 ? 2 : 1));
  return graph;
}

Graph pcie_box() {
  Graph graph;
  const uint32_t numa = add_sockets(graph, 0, 1);
  for (uint32_t i = 0; i < 4; ++i) {
    const uint32_t port = add_on(graph, numa, NodeKind::kPcieBridge, "", fmt::format("0000:00:0{}.0", i + 1));
    add_on(graph, port, NodeKind::kDevice, "L40", fmt::format("0000:0{}:00.0", i + 1));
  }
  return graph;
}

Graph pairs_box() {
  Graph graph;
  const uint32_t numa = add_sockets(graph, 0, 2);
  std::vector<uint32_t> gpus;
  for (uint32_t i = 0; i < 4; ++i)
    gpus.push_back(
        add_on(graph, numa + i / 2, NodeKind::kDevice, "DCU", fmt::format("0000:{}1:00.0", i + 1)));
  for (uint32_t i : {0u, 2u}) graph.join(link(gpus[i], gpus[i + 1], LinkKind::kXgmi, 64'000'000'000));
  return graph;
}

Graph railed_cluster(uint32_t hosts) {
  Graph graph;
  std::vector<uint32_t> switches;
  for (uint32_t i = 0; i < 4; ++i)
    switches.push_back(
        graph.add({.kind = NodeKind::kNetSwitch, .name = fmt::format("rail{}", i), .host = kNoHost}));
  for (uint32_t host = 0; host < hosts; ++host) {
    Graph box = switched_box(host);
    const auto base = static_cast<uint32_t>(graph.nodes.size());
    for (Node& node : box.nodes) graph.add(std::move(node));
    for (Link& each : box.links) {
      each.from += base;
      each.to += base;
      graph.add(std::move(each));
    }
    uint32_t rail = 0;
    for (uint32_t i = base; i < graph.nodes.size(); ++i) {
      if (graph.nodes[i].kind == NodeKind::kNic)
        graph.join(link(i, switches[rail++], LinkKind::kInfiniband, 50'000'000'000));
    }
  }
  return graph;
}

Graph flat_cluster(uint32_t hosts) {
  Graph graph;
  const uint32_t center = graph.add({.kind = NodeKind::kNetSwitch, .name = "tor", .host = kNoHost});
  for (uint32_t host = 0; host < hosts; ++host) {
    const uint32_t numa = add_sockets(graph, host, 1);
    for (uint32_t i = 0; i < 2; ++i) {
      const uint32_t nic =
          add_on(graph, numa, NodeKind::kNic, fmt::format("eth{}", i), fmt::format("0000:0{}:00.0", i + 1));
      graph.join(link(nic, center, LinkKind::kEthernet, 12'500'000'000));
    }
  }
  return graph;
}

Graph bare_host() {
  Graph graph;
  add_sockets(graph, 0, 1);
  return graph;
}

std::vector<Machine> all_machines() {
  return {{"SwitchedBox", one_switched_box},
          {"CubeMesh", cube_mesh},
          {"PcieBox", pcie_box},
          {"PairsBox", pairs_box},
          {"Cluster", cluster_of_two},
          {"FlatCluster", flat_cluster_of_three},
          {"BareHost", bare_host}};
}

}  // namespace comity::topology::test
