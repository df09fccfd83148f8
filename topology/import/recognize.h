// Files that describe topologies, whoever wrote them: what kind a text is of, and a graph from any of them,
// with a warning for whatever was not understood.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "comity/plugin/result.h"
#include "topology/import/notes.h"

namespace comity::topology {

enum class FileKind : uint8_t {
  kUnknown,
  kJson,
  kNcclXml,
  kHwlocXml,
  kNvidiaSmi,
  kRocmSmi,
  kNpuSmi,
  kIbnetdiscover
};

// "nccl-xml", as `comity topo --from` takes it; "auto" of kUnknown.
std::string_view name_of(FileKind kind);
// The inverse; false: no kind has that name.
bool parse(std::string_view text, FileKind& kind);
// All names, for messages: "json, nccl-xml, ...".
std::string file_kind_names();

// By content alone: the root element of XML, a brace, or the first line that only one of the tools prints.
FileKind recognize(std::string_view text);

// By the importer of its kind, or of the kind recognized where `kind` is kUnknown. kInvalidArgument: what the
// importer says, or that no kind fits, with the names of those that there are.
Result<Imported> import_any(std::string_view text, const std::string& origin,
                            FileKind kind = FileKind::kUnknown);

}  // namespace comity::topology
