// Colours and widths of drawings.
#pragma once

#include <cstdint>

#include "topology/graph.h"

namespace comity::topology {

const char* colour_of(LinkKind kind);  // "#76b900"
const char* fill_of(NodeKind kind);    // a light colour, for black text on it
// Of a line, in pixels, from 0.8 to 6: by the logarithm of the bandwidth, as links differ a thousandfold.
double thickness_of(uint64_t bytes_per_s);

}  // namespace comity::topology
