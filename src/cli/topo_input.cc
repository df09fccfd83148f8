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
#include "topology/discover/profile.h"
#include "topology/import/recognize.h"

namespace comity::cli {
namespace {

using topology::FileKind;
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

Result<Graph> read_notation(const std::string& text, const std::string& origin) {
  Result<Graph> graph = topology::graph_from_notation(text);
  return graph.ok() ? std::move(graph) : Result<Graph>(graph.status().in(origin));
}

// A machine's file, as the catalogue has them: an operator tries one before putting it in.
Result<Graph> read_machine(const std::string& text, const std::string& origin) {
  Result<topology::Machine> machine = topology::parse_machine(text);
  if (!machine.ok()) return machine.status().in(origin);
  COMITY_ASSIGN_OR_RETURN(Graph graph, topology::build_machine(*machine));
  topology::canonicalize(graph);
  COMITY_RETURN_IF_ERROR(topology::validate(graph).in(origin));
  return graph;
}

// A graph's own JSON has links; a machine's has sources, and none.
bool is_machine(const std::string& text) {
  return text.find("\"sources\"") != std::string::npos && text.find("\"links\"") == std::string::npos;
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

// Beside the output, which may be a file for a program; an operator sees them all the same.
void warn(const std::vector<std::string>& warnings) {
  if (warnings.empty()) return;
  fmt::print(stderr, "comity: warning: the file was understood only in part:\n");
  for (const std::string& each : warnings) fmt::print(stderr, "  {}\n", each);
}

FileKind next(FileKind kind) {
  return static_cast<FileKind>(static_cast<int>(kind) + 1);
}

Result<Graph> read_this_machine() {
  COMITY_ASSIGN_OR_RETURN(topology::Discovered discovered, topology::discover());
  topology::apply(topology::load_profile(topology::structural_hash(discovered.graph)), discovered.graph);
  if (discovered.graph.origin.empty()) discovered.graph.origin = "this machine";
  return std::move(discovered.graph);
}

}  // namespace

std::vector<std::string> topology_kinds() {
  std::vector<std::string> names = {"auto", "notation", "machine"};
  for (auto kind = FileKind::kJson; kind <= FileKind::kIbnetdiscover; kind = next(kind))
    names.emplace_back(topology::name_of(kind));
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
  if (input.kind == "notation") return read_notation(text, origin);
  FileKind kind = FileKind::kUnknown;
  topology::parse(input.kind, kind);
  if (kind == FileKind::kUnknown) kind = topology::recognize(text);
  if (input.kind == "machine" || (input.kind == "auto" && kind == FileKind::kJson && is_machine(text)))
    return read_machine(text, origin);
  COMITY_ASSIGN_OR_RETURN(topology::Imported imported, topology::import_any(text, origin, kind));
  warn(imported.warnings);
  return std::move(imported.graph);
}

}  // namespace comity::cli
