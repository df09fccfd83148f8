// The machine catalogue: known machines as data files, topology/catalogue/machines/<name>.json, each figure
// with its source. A file is read into a Machine, and a Machine is built into a Graph, whole or in a variant
// (fewer devices, slices of a device, other NICs). docs/notation.md describes the files and what they can
// say.
//
// Nothing here blocks but reading the catalogue's files; values are owned; no function is bound to a thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"
#include "topology/graph.h"

namespace comity::topology {

// One link as a machine's file gives it: figures of one direction of one link.
struct MachineLink {
  LinkKind kind = LinkKind::kPcie;
  uint64_t bandwidth_bytes_per_s = 0;
  uint64_t latency_ns = 0;  // 0: unknown
  uint32_t count = 1;
  Source source = Source::kGuess;
};

// What a switch, device or NIC hangs from: a NUMA domain, a PCIe switch, or a device (a NIC on a device).
struct MachineAnchor {
  NodeKind kind = NodeKind::kNuma;
  uint32_t index = 0;
};

// `count` alike: switches, devices, or NICs.
struct MachinePart {
  uint32_t count = 0;
  std::string name;
  std::string vendor;
  std::vector<MachineAnchor> at;  // as many as `count`
  MachineLink link;               // to what it hangs from
  MachineLink port;               // of NICs: the network's side; its kind is the network's
};

// A vendor's links among devices.
struct MachineFabric {
  enum class Shape : uint8_t {
    kSwitch,  // every device to one vendor switch that stands for all chips of it
    kMesh,    // every pair within each group of `group` devices
    kList,    // the pairs of `pairs`
  };
  struct Pair {
    uint32_t a = 0, b = 0, count = 1;
  };
  Shape shape = Shape::kMesh;
  std::string name;  // of the switch
  std::string vendor;
  MachineLink link;
  uint32_t group = 0;      // 0: all devices
  bool all_hosts = false;  // joins the devices of all hosts of the machine: a rack
  std::vector<Pair> pairs;
};

struct Machine {
  struct SourceNote {
    std::string key, text;
    bool weak = false;
  };
  std::string name, title;
  std::vector<SourceNote> sources;
  uint32_t hosts = 1;  // more: a rack whose devices a vendor's fabric joins
  uint32_t numa_count = 1;
  std::string cpu, arch;
  MachineLink memory;                   // host and each NUMA domain
  std::optional<MachineLink> cpu_link;  // every pair of NUMA domains; none within one CPU
  MachinePart switches;                 // PCIe; count 0: none
  MachinePart devices;
  std::vector<MachinePart> nics;
  std::vector<MachineFabric> fabrics;
};

// How one machine departs from its file.
struct MachineVariant {
  std::optional<uint32_t> devices;  // only the first so many
  uint32_t slices = 1;              // of each device; slices of one share its links' capacity
  std::optional<uint32_t> nics;     // only the first so many
  // Speed of each NIC's port in bytes/s: empty as in the file; one for all; or one for each (sets their
  // number).
  std::vector<uint64_t> nic_bytes_per_s;
};

inline constexpr uint32_t kMostSlices = 32;

// From the text of a machine's file. kInvalidArgument naming the field: "devices.link.source: ...".
Result<Machine> parse_machine(std::string_view json);
// Of the catalogue by name, whatever the case of its letters: the file in share/comity/machines beside the
// running program if there is one (so that an operator may correct a figure), else the copy built in.
// kInvalidArgument listing the names nearest to it.
Result<Machine> find_machine(std::string_view name);
// Names of all machines, ascending.
std::vector<std::string> machine_names();

// Its graph: the machine's hosts alone, not joined by a network, not yet canonical. Nodes carry the ids that
// canonicalize() gives ("h0.gpu3"), NICs the attributes "net.bandwidth_bytes_per_s" and "net.kind".
// kInvalidArgument: the variant asks for more devices or NICs than there are.
Result<Graph> build_machine(const Machine& machine, const MachineVariant& variant = {});

}  // namespace comity::topology
