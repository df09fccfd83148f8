// The notation of clusters: machines of the catalogue, what joins them, and what is broken:
//
//     2*dgx-h100 + 1*mi300x-8{nics=4} via rail(8, 50GB/s) - link(h0.nic3)
//
// The grammar is in docs/notation.md. A text becomes a canonical Graph; nothing blocks but reading the
// catalogue's files; no function is bound to a thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"
#include "topology/catalogue/machine.h"
#include "topology/graph.h"

namespace comity::topology {

inline constexpr uint32_t kMostNotationHosts = 4096;
inline constexpr uint32_t kMostNotationBytes = 65536;
inline constexpr uint32_t kMostNotationNodes = 1u << 20;
inline constexpr uint32_t kMostNotationLinks = 1u << 22;  // half a gigabyte

// What a text says, with the column (from 0) of each thing for errors about its meaning.
struct Notation {
  struct Group {
    uint32_t count = 1;
    std::string machine;
    MachineVariant variant;
    size_t column = 0;
  };
  struct Fabric {
    enum class Shape : uint8_t {
      kNone,
      kSwitch,   // one switch with every NIC
      kRail,     // `switches` switches; NIC i of each host to switch i modulo their number
      kFatTree,  // a leaf for each `hosts_per_leaf` hosts, each with one link to each of `switches` spines
    };
    Shape shape = Shape::kNone;
    uint32_t switches = 1;
    uint32_t hosts_per_leaf = 0;
    uint64_t bandwidth_bytes_per_s = 0;  // of a port, one way; a NIC's link has the lower of its own and this
    std::string network;                 // "roce": of all links; empty: of each NIC's own kind
    size_t column = 0;
  };
  struct Edit {
    std::string a, b;  // ids of nodes; b empty: a NIC's network links, a device's vendor links
    uint64_t bandwidth_bytes_per_s =
        0;  // 0: cut; else what it still carries one way, all parallel links together
    size_t column = 0;
  };
  std::vector<Group> groups;
  Fabric fabric;
  std::vector<Edit> edits;
};

// kInvalidArgument: what is wrong, and the text with a caret below the column. Long texts are shown in part.
Result<Notation> parse_notation(std::string_view text);
// parse_notation, then the canonical and valid graph; errors as of parse_notation. Limits: kMostNotation*.
Result<Graph> graph_from_notation(std::string_view text);

}  // namespace comity::topology
