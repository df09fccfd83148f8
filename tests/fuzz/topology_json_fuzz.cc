// Any text given to the reader of our own JSON is refused or becomes a valid graph, which is read back equal
// from what is written of it, and which every drawing and the writer of NCCL's XML take or refuse.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "topology/draw/dot.h"
#include "topology/draw/hwloc_synthetic.h"
#include "topology/draw/svg.h"
#include "topology/draw/text.h"
#include "topology/export/nccl_xml.h"
#include "topology/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace comity;            // NOLINT(google-build-using-namespace): a program of one function
  using namespace comity::topology;  // NOLINT(google-build-using-namespace): the same
  const Result<Graph> graph = from_json({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!graph.ok()) return 0;
  if (!validate(*graph).ok()) std::abort();
  const Result<Graph> again = from_json(to_json(*graph), "fuzz");
  if (!again.ok() || !(*again == *graph)) std::abort();
  if (to_text(*graph).empty() || to_dot(*graph).empty() || to_svg(*graph).empty()) std::abort();
  (void)to_hwloc_synthetic(*graph).ok();
  (void)export_nccl_xml(*graph).ok();
  return 0;
}
