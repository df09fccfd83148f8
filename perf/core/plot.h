// Time and bus bandwidth against size, as an SVG picture of two panels, both axes logarithmic.
#pragma once

#include <string>
#include <vector>

#include "perf/core/measure.h"

namespace comity::perf {

// One line for each type, operation and root that is among the rows, whole out of place and dashed in place;
// what cannot stand on a logarithmic axis (size 0, bandwidth 0) is left out. Needs no font and no script of
// the reader's. Rows without any size above 0 give panels that say so.
std::string plot_svg(const std::string& title, const std::vector<RowResult>& rows);

}  // namespace comity::perf
