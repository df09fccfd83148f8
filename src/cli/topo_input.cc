#include "src/cli/topo_input.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "topology/catalogue/notation.h"
#include "topology/discover/discover.h"
#include "topology/import/hwloc_xml.h"
#include "topology/import/nccl_xml.h"
#include "topology/import/smi_text.h"
#include "topology/json.h"

namespace comity::cli {
namespace {

using topology::Graph;

constexpr size_t kMostBytes = size_t{64} << 20;

Result<std::string> read_text(const std::string& path) {
  const bool piped = path == "-";
  const std::unique_ptr<FILE, int (*)(FILE*)> file(piped ? stdin : std::fopen(path.c_str(), "rb"),
                                                   std::fclose);
  if (file == nullptr) return Status(Code::kSystemError, fmt::format("{}: {}", path, std::strerror(errno)));
  std::string text;
  char buffer[1 << 16];
  while (text.size() <= kMostBytes) {
    const size_t got = std::fread(buffer, 1, sizeof buffer, file.get());
    text.append(buffer, got);
    if (std::ferror(file.get()) != 0)
      return Status(Code::kSystemError, fmt::format("{}: {}", path, std::strerror(errno)));
    if (got == 0) break;
  }
  if (text.size() > kMostBytes)
    return Status(Code::kInvalidArgument, fmt::format("{}: larger than {} MiB", path, kMostBytes >> 20));
  return text;
}

using Reader = Result<Graph> (*)(std::string_view text, const std::string& origin);

Result<Graph> read_notation(std::string_view text, const std::string& origin) {
  Result<Graph> graph = topology::graph_from_notation(text);
  return graph.ok() ? std::move(graph) : Result<Graph>(graph.status().in(origin));
}

// A machine's file, as the catalogue has them: an operator tries one before putting it in.
Result<Graph> read_machine(std::string_view text, const std::string& origin) {
  Result<topology::Machine> machine = topology::parse_machine(text);
  if (!machine.ok()) return machine.status().in(origin);
  COMITY_ASSIGN_OR_RETURN(Graph graph, topology::build_machine(*machine));
  topology::canonicalize(graph);
  COMITY_RETURN_IF_ERROR(topology::validate(graph).in(origin));
  return graph;
}

struct Kind {
  const char* name;
  Reader read;
};
constexpr Kind kKinds[] = {
    {"json", topology::from_json},
    {"nccl-xml", topology::import_nccl_xml},
    {"hwloc-xml", topology::import_hwloc_xml},
    {"notation", read_notation},
    {"machine", read_machine},
    {"nvidia-smi", topology::import_nvidia_smi},
    {"rocm-smi", topology::import_rocm_smi},
    {"npu-smi", topology::import_npu_smi},
};

// By what only that kind has.
Result<const Kind*> recognise(std::string_view text, const std::string& origin) {
  const auto has = [text](std::string_view what) { return text.find(what) != std::string_view::npos; };
  const size_t first = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  const char begin = first == std::string_view::npos ? '\0' : text[first];
  const char* name = nullptr;
  if (begin == '{') name = has("\"sources\"") && !has("\"links\"") ? "machine" : "json";
  if (begin == '<') name = has("<topology") && !has("<system") ? "hwloc-xml" : "nccl-xml";
  if (name == nullptr && has("Topology Information")) name = "rocm-smi";
  if (name == nullptr && has("NPU0") && has("HCCS")) name = "npu-smi";
  if (name == nullptr && has("Legend:")) name = "nvidia-smi";
  for (const Kind& kind : kKinds) {
    if (name != nullptr && std::string_view(kind.name) == name) return &kind;
  }
  return Status(
      Code::kInvalidArgument,
      fmt::format("{}:1: not a kind of file that is known; if it is one of these, say so: --from {}", origin,
                  fmt::join(topology_kinds(), ", ")));
}

bool is_file(const std::string& text) {
  struct stat status {};
  return text.size() < 4096 && stat(text.c_str(), &status) == 0;
}

// Names of files have a slash or an ending; of a notation only speeds have a slash.
bool looks_like_a_path(const std::string& text) {
  if (text.find_first_of("*+{}() ") != std::string::npos) return false;
  return text.find('/') != std::string::npos || text.find(".xml") != std::string::npos ||
         text.find(".json") != std::string::npos || text.find(".txt") != std::string::npos;
}

// A notation on the command line is an argument, and a wrong one is not a malformed file.
Result<Graph> read_argument(const std::string& text) {
  Result<Graph> graph = topology::graph_from_notation(text);
  if (graph.ok()) return graph;
  return Status(Code::kInvalidUsage, std::string(graph.status().message()));
}

Result<Graph> read_this_machine() {
  COMITY_ASSIGN_OR_RETURN(topology::Discovered discovered, topology::discover());
  if (discovered.graph.origin.empty()) discovered.graph.origin = "this machine";
  return std::move(discovered.graph);
}

}  // namespace

std::vector<std::string> topology_kinds() {
  std::vector<std::string> names = {"auto"};
  for (const Kind& kind : kKinds) names.emplace_back(kind.name);
  return names;
}

Result<Graph> read_topology(const TopologyInput& input) {
  if (input.text.empty()) return read_this_machine();
  const bool is_notation = input.kind == "notation" && !is_file(input.text);
  if (is_notation ||
      (input.kind == "auto" && input.text != "-" && !is_file(input.text) && !looks_like_a_path(input.text)))
    return read_argument(input.text);
  COMITY_ASSIGN_OR_RETURN(const std::string text, read_text(input.text));
  const std::string origin = input.text == "-" ? "standard input" : input.text;
  if (input.kind != "auto") {
    const auto kind = std::find_if(std::begin(kKinds), std::end(kKinds),
                                   [&input](const Kind& each) { return each.name == input.kind; });
    return kind->read(text, origin);
  }
  COMITY_ASSIGN_OR_RETURN(const Kind* kind, recognise(text, origin));
  return kind->read(text, origin);
}

}  // namespace comity::cli
