// What ibnetdiscover prints (infiniband-diags): the switches, channel adapters and routers of an InfiniBand
// fabric and the cables between their ports. One network switch per Switch or Rt record, one NIC per cabled
// port of a Ca record. Hosts are told apart by system image GUID, and joined where descriptions name one host
// ("node01 mlx5_0"; ib_hosts.h). The adapters within switches that reduce (aggregation nodes) are no hosts':
// only the switch's attribute "aggregation_nodes" tells of them. Cables in parallel with one speed are one
// link with a count.
#pragma once

#include <string>
#include <string_view>

#include "comity/plugin/result.h"
#include "topology/import/notes.h"

namespace comity::topology {

// A canonical graph, or kInvalidArgument: "<origin>:<line>: <reason>", also when a cable's other end has no
// record or does not name it back: the dump is cut off. Pure; O(n log n).
Result<Imported> import_ibnetdiscover(std::string_view text, const std::string& origin);

}  // namespace comity::topology
