// `rocm-smi --showtopo`: matrices of weight, hops and link type, then NUMA domains.
//
// Hops are 1 over xGMI whether or not the two are neighbours (ROCm/rocm-systems issue 5763), so where the
// weight tells more (15 a hop) only the least weight is a link. Over PCIe 2 hops stay on a socket and 3 cross
// (ROCm's guide to MI200).

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "topology/import/class_matrix.h"
#include "topology/import/smi_text.h"
#include "topology/import/text_lines.h"

namespace comity::topology {

namespace {

constexpr size_t kMostDevices = 512;

enum class Table : uint8_t { kNone, kWeight, kHops, kType, kOther };

struct Tables {
  std::vector<std::string> labels;
  std::map<Table, std::vector<std::string>> cells;  // by row
  std::map<Table, size_t> rows;
  std::map<std::string, int32_t> numas;  // by label
  Notes notes;
};

Table title_of(const std::string& text) {
  if (text.find("Weight between two GPUs") != std::string::npos) return Table::kWeight;
  if (text.find("Hops between two GPUs") != std::string::npos) return Table::kHops;
  if (text.find("Link Type between two GPUs") != std::string::npos) return Table::kType;
  return text.find("=====") != std::string::npos ? Table::kOther : Table::kNone;
}

bool is_gpu(const std::string& word) {
  return word.size() > 3 && word.substr(0, 3) == "GPU" &&
         std::all_of(word.begin() + 3, word.end(), [](char c) { return c >= '0' && c <= '9'; });
}

uint64_t number(const std::string& word) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size() ? value : UINT64_MAX;
}

// "GPU[3]   : (Topology) Numa Node: 1", "GPU 3 : ..."
bool read_numa(const std::string& text, Tables& tables) {
  const size_t title = text.find("Numa Node:"), colon = text.find(':');
  if (text.substr(0, 3) != "GPU" || title == std::string::npos || colon >= title) return false;
  std::string label = "GPU";
  for (size_t i = 3; i < colon; ++i) {
    if (text[i] >= '0' && text[i] <= '9') label += text[i];
  }
  const size_t at = text.find_first_not_of(" \t", title + 10);
  const uint64_t numa =
      at == std::string::npos ? UINT64_MAX : number(text.substr(at, text.find_first_of(" \t", at) - at));
  if (numa < 4096) tables.numas[label] = static_cast<int32_t>(numa);
  return true;
}

Status read_row(const TextLine& line, const std::vector<std::string>& words, Table table,
                const std::string& origin, Tables& tables) {
  const size_t size = tables.labels.size(), row = tables.rows[table];
  if (std::find(tables.labels.begin(), tables.labels.end(), words[0]) == tables.labels.end()) {
    return bad_line(
        origin, line.number,
        fmt::format("row {} has no column of its name: the table is cut off or wrapped", words[0]));
  }
  if (row >= size || words[0] != tables.labels[row])
    return bad_line(origin, line.number, "row " + words[0] + " is not in the columns' order");
  if (words.size() < size + 1) {
    return bad_line(origin, line.number,
                    fmt::format("row {} has no cell in column {}: the table is cut off or wrapped", words[0],
                                tables.labels[words.size() - 1]));
  }
  if (words.size() > size + 1) {
    return bad_line(origin, line.number,
                    fmt::format("row {} has \"{}\" where no column is: the line of columns is cut off",
                                words[0], words[size + 1]));
  }
  tables.cells[table].insert(tables.cells[table].end(), words.begin() + 1, words.end());
  ++tables.rows[table];
  return {};
}

Status read_columns(const TextLine& line, const std::vector<std::string>& words, const std::string& origin,
                    Tables& tables) {
  if (!std::all_of(words.begin(), words.end(), is_gpu))
    return bad_line(origin, line.number, "a table without a line of columns");
  if (tables.labels.empty()) tables.labels = words;
  if (tables.labels != words) return bad_line(origin, line.number, "other columns than in the tables before");
  if (words.size() > kMostDevices)
    return bad_line(origin, line.number, fmt::format("more than {} columns", kMostDevices));
  return {};
}

Status read_tables(const std::vector<TextLine>& lines, const std::string& origin, Tables& tables) {
  Table table = Table::kNone;
  bool header = false;
  for (const TextLine& line : lines) {
    const Table title = title_of(line.text);
    if (title == Table::kOther) {
      if (line.text.find(" two GPUs") != std::string::npos)
        tables.notes.add(line.number, "this table is not known; left out");
      table = Table::kNone;
      continue;
    }
    if (title != Table::kNone) {
      if (tables.rows.count(title) != 0) return bad_line(origin, line.number, "the same table again");
      table = title;
      tables.rows[table] = 0;
      header = false;
      continue;
    }
    const std::vector<std::string> words = line.words();
    if (read_numa(line.text, tables) || words.empty() || table == Table::kNone || !is_gpu(words[0])) continue;
    if (header) {
      COMITY_RETURN_IF_ERROR(read_row(line, words, table, origin, tables));
      continue;
    }
    header = true;
    COMITY_RETURN_IF_ERROR(read_columns(line, words, origin, tables));
  }
  if (tables.rows.count(Table::kType) == 0 || tables.labels.empty())
    return bad_line(origin, 1, "no table \"Link Type between two GPUs\" is here");
  for (const auto& [which, rows] : tables.rows) {
    if (rows < tables.labels.size()) {
      return bad_line(origin, lines.back().number,
                      fmt::format("the text ends within a table: column {} has no row", tables.labels[rows]));
    }
  }
  return {};
}

ClassMatrix::Cell cell_of(const Tables& tables, size_t at, uint64_t least_weight) {
  const auto of = [&](Table table) {
    const auto found = tables.cells.find(table);
    return found == tables.cells.end() ? UINT64_MAX : number(found->second[at]);
  };
  ClassMatrix::Cell cell;
  const std::string& type = tables.cells.at(Table::kType)[at];
  const uint64_t hops = of(Table::kHops), weight = of(Table::kWeight);
  if (type == "XGMI") {
    const bool direct = weight == UINT64_MAX || weight <= least_weight || hops > 1000;
    if (direct) cell = {Nearness::kVendorLink, 1};
  } else if (type == "PCIE") {
    cell.nearness = hops <= 2 ? Nearness::kPhb : hops == 3 ? Nearness::kSys : Nearness::kUnknown;
  }
  return cell;
}

Status fill(const Tables& tables, const std::string& origin, ClassMatrix& matrix) {
  const size_t size = tables.labels.size();
  for (const std::string& label : tables.labels) {
    MatrixDevice device;
    device.node.kind = NodeKind::kDevice;
    device.node.name = label;
    device.node.vendor = "amd";
    device.node.attributes["smi.name"] = label;
    const auto numa = tables.numas.find(label);
    if (numa != tables.numas.end()) device.numa = numa->second;
    matrix.devices.push_back(std::move(device));
  }
  const std::vector<std::string>& types = tables.cells.at(Table::kType);
  uint64_t least = UINT64_MAX;
  const auto weights = tables.cells.find(Table::kWeight);
  for (size_t at = 0; at < size * size; ++at) {
    if (types[at] == "XGMI" && weights != tables.cells.end())
      least = std::min(least, number(weights->second[at]));
  }
  matrix.cells.resize(size * size);
  for (size_t at = 0; at < size * size; ++at) {
    const std::string& type = types[at];
    const bool diagonal = at / size == at % size;
    if (!diagonal && type != "XGMI" && type != "PCIE" && type != "N/A" && type != "XXXX" &&
        type != "UNKNOWN") {
      return bad_line(origin, 1,
                      fmt::format("link type \"{}\" between {} and {}", type, tables.labels[at / size],
                                  tables.labels[at % size]));
    }
    matrix.cells[at] = diagonal ? ClassMatrix::Cell{Nearness::kSelf, 0} : cell_of(tables, at, least);
  }
  return {};
}

}  // namespace

Result<Imported> import_rocm_smi(std::string_view text, const std::string& origin) {
  COMITY_ASSIGN_OR_RETURN(const std::vector<TextLine> lines, lines_of(text, origin));
  Tables tables;
  COMITY_RETURN_IF_ERROR(read_tables(lines, origin, tables));
  ClassMatrix matrix;
  matrix.link_kind = LinkKind::kXgmi;
  matrix.link_bytes_per_s = 50'000'000'000;  // of MI200; the model is not told
  COMITY_RETURN_IF_ERROR(fill(tables, origin, matrix));
  std::vector<std::string> doubts;
  Result<Graph> made = graph_of_matrix(matrix, doubts);
  if (!made.ok()) return bad_line(origin, 1, std::string(made.status().message()));
  for (std::string& doubt : doubts) tables.notes.add(1, std::move(doubt));
  Graph graph = std::move(made).value();
  COMITY_RETURN_IF_ERROR(validate(graph).in(origin));
  canonicalize(graph);
  graph.origin = origin + " (rocm-smi)";
  if (!lines.back().ended && lines.back().text.substr(0, 3) == "GPU")
    tables.notes.add(lines.back().number, "the text ends with this line, which may be cut off");
  const bool all = tables.rows.size() == 3;  // of --showtopo, which tells NUMA domains too
  if ((all || !tables.numas.empty()) && tables.numas.size() < tables.labels.size())
    tables.notes.add(lines.back().number,
                     "the NUMA domain is not told of each device: the text may be cut off");
  return Imported{std::move(graph), tables.notes.warnings(origin)};
}

}  // namespace comity::topology
