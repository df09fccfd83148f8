// Any text given to an importer of topologies is refused or becomes a valid graph, which NCCL's XML holds:
// written, it is read back, equal where it came from NCCL's XML. One program per importer (COMITY_FUZZ_KIND).

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "topology/export/nccl_xml.h"
#include "topology/import/recognize.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace comity;            // NOLINT(google-build-using-namespace): a program of one function
  using namespace comity::topology;  // NOLINT(google-build-using-namespace): the same
  FileKind kind = FileKind::kUnknown;
  if (!parse(COMITY_FUZZ_KIND, kind)) std::abort();
  const Result<Imported> imported = import_any({reinterpret_cast<const char*>(data), size}, "fuzz", kind);
  if (!imported.ok()) return 0;
  const Graph* const graph = &imported->graph;
  if (!validate(*graph).ok()) std::abort();
  const Result<std::string> text = export_nccl_xml(*graph);
  if (!text.ok()) return 0;  // of a fabric of switches alone
  const Result<Imported> again = import_any(*text, "again", FileKind::kNcclXml);
  if (!again.ok()) std::abort();
  if (kind == FileKind::kNcclXml &&
      !(again->graph.nodes == graph->nodes && again->graph.links == graph->links))
    std::abort();
  return 0;
}
