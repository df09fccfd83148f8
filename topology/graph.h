// The graph of a machine or a cluster: every node there is and every link between them, whoever described it:
// discovery, an importer, the catalogue's notation, or a file of our own.
//
// Links are directed, and their figures are of one direction. Bandwidth and latency carry where they came
// from, and a better source replaces a worse one. Integers only: choices are made by integer arithmetic, so
// that all ranks choose alike. Nothing here blocks; values are owned; no function is bound to a thread.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"

namespace comity::topology {

enum class NodeKind : uint8_t {
  kHost,          // a machine: what shares memory
  kNuma,          // a NUMA domain: its CPUs and memory
  kPcieBridge,    // a host bridge or a root port
  kPcieSwitch,    // what several PCIe devices share below a bridge
  kDevice,        // an accelerator of any vendor
  kNic,           // a port of a NIC
  kNetSwitch,     // of the network
  kVendorSwitch,  // of a vendor's own link: an NVSwitch
};

enum class LinkKind : uint8_t {
  kMemory,      // a host and its NUMA domains
  kCpu,         // between NUMA domains: UPI, Infinity Fabric
  kPcie,        //
  kC2c,         // CPU to device, coherent: NVLink-C2C
  kNvlink,      //
  kXgmi,        //
  kHccs,        // Ascend
  kUb,          // Ascend's Unified Bus
  kMluLink,     // Cambricon
  kMtLink,      // Moore Threads
  kBlink,       // Biren
  kGcuLare,     // Enflame
  kXpuLink,     // Kunlun
  kXeLink,      // Intel
  kUalink,      //
  kGaudiRoce,   // Gaudi's RoCE on chip
  kVendor,      // another vendor's link between devices
  kInfiniband,  //
  kRoce,        //
  kEthernet,    //
};

// From the worst to the best.
enum class Source : uint8_t { kGuess, kDataSheet, kReported, kMeasured };

std::string_view name_of(NodeKind kind);  // "pcie_switch", as in JSON
std::string_view name_of(LinkKind kind);  // "nvlink"
std::string_view name_of(Source source);  // "data_sheet"
// Their inverses; false: there is none of that name.
bool parse(std::string_view text, NodeKind& kind);
bool parse(std::string_view text, LinkKind& kind);
bool parse(std::string_view text, Source& source);
// Whether devices that it joins form an island: vendors' links between devices, not PCIe and not networks.
bool joins_islands(LinkKind kind);
bool is_network(LinkKind kind);

struct Node {
  std::string id{};  // unique in the graph; canonicalize() gives it: "h0.gpu3", "h0.numa1", "net.switch2"
  NodeKind kind = NodeKind::kHost;
  std::string name{};    // for people: "NVIDIA H100", "mlx5_0"
  uint32_t host = 0;     // number of its host; kNoHost of what belongs to none (a network switch)
  std::string vendor{};  // "nvidia", "0x10de", or empty
  int32_t numa = -1;     // number of its NUMA domain within the host, or -1
  std::string bus_id{};  // "0000:17:00.0", or empty
  // What an importer needs to write its file again ("nccl.gdr": "1"), and what people want to see ("sm":
  // "90").
  std::map<std::string, std::string> attributes{};
  auto operator<=>(const Node&) const = default;
};

inline constexpr uint32_t kNoHost = UINT32_MAX;

// One direction. `count` links in parallel, each with these figures; a path that uses them all has
// count * bandwidth_bytes_per_s.
struct Link {
  uint32_t from = 0, to = 0;  // indices of nodes
  LinkKind kind = LinkKind::kPcie;
  uint64_t bandwidth_bytes_per_s = 0;  // 0: unknown
  uint64_t latency_ns = 0;             // 0: unknown
  uint32_t count = 1;
  Source source = Source::kGuess;
  // Links of equal non-empty text share one capacity (ports of one cable, slices of one device).
  std::string shared{};
  std::map<std::string, std::string> attributes{};
  uint64_t total_bytes_per_s() const { return count * bandwidth_bytes_per_s; }
  auto operator<=>(const Link&) const = default;
};

struct Graph {
  std::vector<Node> nodes;
  std::vector<Link> links;
  std::string origin;  // what described it: "this machine", "dgx-h100", "topo.xml (NCCL)"; not hashed

  uint32_t add(Node node);  // its index
  void add(Link link);
  // Both directions with equal figures.
  void join(Link link);
  // The index of the node with this id, or -1.
  int64_t find(std::string_view id) const;
  std::vector<uint32_t> nodes_of(NodeKind kind) const;  // ascending
  uint32_t host_count() const;
  bool operator==(const Graph&) const = default;
};

// What a `shared` text is called when its host becomes number `host`: texts of one host begin with "h0.".
std::string shared_on_host(std::string_view shared, uint32_t host);

// Adjacency: links out of each node, in the order of graph.links.
std::vector<std::vector<uint32_t>> links_out_of(const Graph& graph);

// kInvalidArgument naming the first thing that is wrong: an empty graph, a link to a node that is not there
// or to itself, count 0, ids used twice, a device or NIC without a host, a host number without its host node.
Status validate(const Graph& graph);

// Orders hosts, nodes and links, and gives ids, by structure and bus ids alone: two descriptions of one
// machine that list it in another order end equal. Hosts keep their order (the order of hosts has a meaning:
// rank order). Time O(n log n). Returns the new index of each node, by its old one.
std::vector<uint32_t> canonicalize(Graph& graph);

// Of the canonical form: over everything but `origin`, and over structure only (no figures, names or
// attributes: what a profile of measured figures is keyed by). 64-bit FNV-1a over a length-prefixed encoding.
uint64_t hash(const Graph& graph);
uint64_t structural_hash(const Graph& graph);

}  // namespace comity::topology
