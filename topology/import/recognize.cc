#include "topology/import/recognize.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "topology/import/hwloc_xml.h"
#include "topology/import/ibnetdiscover.h"
#include "topology/import/nccl_xml.h"
#include "topology/import/smi_text.h"
#include "topology/json.h"

namespace comity::topology {

namespace {

constexpr std::pair<FileKind, std::string_view> kNames[] = {{FileKind::kJson, "json"},
                                                            {FileKind::kNcclXml, "nccl-xml"},
                                                            {FileKind::kHwlocXml, "hwloc-xml"},
                                                            {FileKind::kNvidiaSmi, "nvidia-smi"},
                                                            {FileKind::kRocmSmi, "rocm-smi"},
                                                            {FileKind::kNpuSmi, "npu-smi"},
                                                            {FileKind::kIbnetdiscover, "ibnetdiscover"}};

constexpr size_t kLookAt = size_t{1} << 20;  // from the beginning

bool has(std::string_view text, std::string_view what) {
  return text.find(what) != std::string_view::npos;
}

// The name of the first element, past declarations and comments; empty: none.
std::string_view root_of(std::string_view text) {
  size_t at = 0;
  while ((at = text.find('<', at)) != std::string_view::npos) {
    if (text.substr(at, 4) == "<!--") {
      at = text.find("-->", at + 4);
      if (at == std::string_view::npos) return {};
    } else if (at + 1 < text.size() && (text[at + 1] == '?' || text[at + 1] == '!')) {
      ++at;
    } else {
      const std::string_view rest = text.substr(at + 1);
      return rest.substr(0, rest.find_first_of(" \t\r\n/>"));
    }
  }
  return {};
}

FileKind of_xml(std::string_view text) {
  const std::string_view root = root_of(text);
  if (root == "system") return FileKind::kNcclXml;
  return root == "topology" ? FileKind::kHwlocXml : FileKind::kUnknown;
}

}  // namespace

std::string_view name_of(FileKind kind) {
  for (const auto& [known, name] : kNames) {
    if (known == kind) return name;
  }
  return "auto";
}

bool parse(std::string_view text, FileKind& kind) {
  if (text == "auto") kind = FileKind::kUnknown;
  for (const auto& [known, name] : kNames) {
    if (name != text) continue;
    kind = known;
    return true;
  }
  return text == "auto";
}

std::string file_kind_names() {
  std::string names;
  for (const auto& entry : kNames) names += fmt::format("{}{}", names.empty() ? "" : ", ", entry.second);
  return names;
}

FileKind recognize(std::string_view whole) {
  whole = whole.substr(0, kLookAt);
  std::string text;
  for (size_t at = 0; at < whole.size(); ++at) {
    const bool odd = whole.substr(at, 2) == "\xc2\xa0";  // a blank of web pages, which does not break
    text += odd ? ' ' : whole[at];
    at += odd ? 1 : 0;
  }
  const size_t first = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (first == std::string_view::npos) return FileKind::kUnknown;
  if (text[first] == '{') return FileKind::kJson;
  if (text[first] == '<') return of_xml(text);
  if (has(text, "between two GPUs")) return FileKind::kRocmSmi;
  if (has(text, "switchguid=") || has(text, "caguid=") || has(text, "Topology file: generated on"))
    return FileKind::kIbnetdiscover;
  const bool table = has(text, "CPU Affinity") || has(text, "Legend");
  if (has(text, "NPU0") || has(text, "Phy-ID") || (table && has(text, "NPU"))) return FileKind::kNpuSmi;
  return has(text, "GPU0") || (table && has(text, "GPU")) ? FileKind::kNvidiaSmi : FileKind::kUnknown;
}

Result<Imported> import_any(std::string_view text, const std::string& origin, FileKind kind) {
  switch (kind == FileKind::kUnknown ? recognize(text) : kind) {
    case FileKind::kJson: {
      COMITY_ASSIGN_OR_RETURN(Graph graph, from_json(text, origin));  // which refuses what it does not know
      return Imported{std::move(graph)};
    }
    case FileKind::kNcclXml:
      return import_nccl_xml(text, origin);
    case FileKind::kHwlocXml:
      return import_hwloc_xml(text, origin);
    case FileKind::kNvidiaSmi:
      return import_nvidia_smi(text, origin);
    case FileKind::kRocmSmi:
      return import_rocm_smi(text, origin);
    case FileKind::kNpuSmi:
      return import_npu_smi(text, origin);
    case FileKind::kIbnetdiscover:
      return import_ibnetdiscover(text, origin);
    case FileKind::kUnknown:
      break;
  }
  return Status(Code::kInvalidArgument,
                fmt::format("{}:1: this is no topology of a known kind ({}); name its kind if it is one",
                            origin, file_kind_names()));
}

}  // namespace comity::topology
