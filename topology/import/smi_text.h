// Matrices that vendors' tools print: `nvidia-smi topo -m` (also -mp), `npu-smi info -t topo`, `rocm-smi
// --showtopo`.
//
// They tell classes of paths and no figures, so the graph is the least one whose path classes are the
// matrix's, with guesses for vendors' links and none for PCIe. Text before the matrix (a prompt, warnings),
// ANSI escapes, marks of quoting, indents, columns of other widths and other matrices of the same tool do not
// matter; a table of which a row or column was cut off or wrapped is refused. A pair with a vendor's link
// hides its class over PCIe; there NUMA or CPU affinity decides. In a matrix where all pairs have more links
// than one device could have, a vendor switch stands between.
#pragma once

#include <string>
#include <string_view>

#include "comity/plugin/result.h"
#include "topology/import/notes.h"

namespace comity::topology {

// Canonical graphs, or kInvalidArgument: "<origin>:<line>: <reason>". Pure; quadratic in the number of
// devices, of which there may be 512.
Result<Imported> import_nvidia_smi(std::string_view text, const std::string& origin);
Result<Imported> import_npu_smi(std::string_view text, const std::string& origin);
Result<Imported> import_rocm_smi(std::string_view text, const std::string& origin);

}  // namespace comity::topology
