// A graph as our own JSON: docs/topology.md and docs/topology.schema.json describe it. Pure; does not block.
#pragma once

#include <string>
#include <string_view>

#include "comity/plugin/result.h"
#include "topology/graph.h"

namespace comity::topology {

inline constexpr int kJsonVersion = 1;

// Of a canonical graph (ids given): with its hash, islands and rails, which are derived and ignored when
// read.
std::string to_json(const Graph& graph);

// The canonical graph of a text. `origin` names it in errors and becomes the graph's. kInvalidArgument names
// the origin, the place and the reason: not JSON, another version, a missing or unknown field, a value of the
// wrong type or out of range, a link to an id that is not there, or what validate() says. Never a partial
// graph.
Result<Graph> from_json(std::string_view text, const std::string& origin);

}  // namespace comity::topology
