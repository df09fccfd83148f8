// hwloc's XML (lstopo FILE.xml), versions 2 and 3, read without libhwloc, which refuses files newer than
// itself; of version 1 what it has in common with them.
#pragma once

#include <string>
#include <string_view>

#include "comity/plugin/result.h"
#include "topology/import/notes.h"

namespace comity::topology {

// A canonical graph of one host with the nodes that graph_of_hwloc tells of (hwloc_graph.h), or
// kInvalidArgument: "<origin>:<line>: <reason>"; kUnsupported without pugixml. Pure; time is linear in the
// text and the matrices' squares.
Result<Imported> import_hwloc_xml(std::string_view text, const std::string& origin);

}  // namespace comity::topology
