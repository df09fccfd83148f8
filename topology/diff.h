// What differs between two topologies: what an operator asks after a repair. Pure; does not block.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "topology/graph.h"

namespace comity::topology {

struct Difference {
  enum class Kind : uint8_t {
    kMissing,  // a node or a link that was there, or a part of its memory
    kSlower,   // less bandwidth or more latency
    kMoved,    // hangs from another place, or is joined to another switch
    kOther,    // another device in its place; another state, CPU set, or whatever else a graph holds
    kAdded,    //
    kFaster,   //
  };
  Kind kind = Kind::kMissing;
  std::string text;  // "h0.nic3 - net.switch3: infiniband 10 GB/s, was 50 GB/s"; ids are those of `before`
                     // where it has one
  bool operator==(const Difference&) const = default;
};
std::string_view name_of(Difference::Kind kind);  // "missing"

// Both canonical and valid. Hosts are matched by host name, else by the GUIDs of their NICs, else by number,
// so that one that is gone does not shift those behind it; nodes within a host by kind and bus id, else by
// name, else by id. Links are matched by their ends and kind, and of several that are parallel each by
// itself; both directions of one make one difference if they differ alike, and links of a missing node make
// none. Every field and attribute is compared but these: ids and the numbers of hosts, which follow from the
// place; what a shared capacity is called (who shares it counts); what is new at each start (boot_id,
// nccl.host_hash); where a graph came from. Sorted by kind. O(n log n).
std::vector<Difference> diff(const Graph& before, const Graph& after);

}  // namespace comity::topology
