#include "topology/import/smi_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "topology/import/class_matrix.h"
#include "topology/import/smi_table.h"
#include "topology/import/text_lines.h"

namespace comity::topology {

namespace {

// Of NVIDIA's and Huawei's tools: the same table, other names.
struct Dialect {
  std::vector<std::string_view> devices;  // what their columns begin with
  std::string_view vendor;
  LinkKind kind;
  uint64_t link_bytes_per_s;
  uint32_t most_links;
  std::string_view titled;  // devices of which a table without CPU affinity was cut off on its right
};

// The generation is not told: NVLink 2 to 4 have 25 GB/s one way; HCCS 56 GB/s both ways between two Ascend
// 910B, as secondary sources have it without a direction.
const Dialect kNvidia{{"GPU"}, "nvidia", LinkKind::kNvlink, 25'000'000'000, 18, "GPU"};
const Dialect kNpu{{"NPU", "Phy-ID"}, "huawei", LinkKind::kHccs, 28'000'000'000, 0, "NPU"};

bool is_count(std::string_view text, uint32_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool parse_cell(std::string_view word, ClassMatrix::Cell& cell) {
  constexpr std::pair<std::string_view, Nearness> kWords[] = {
      {"X", Nearness::kSelf},          {"PIX", Nearness::kPix},
      {"PXB", Nearness::kPxb},         {"PHB", Nearness::kPhb},
      {"NODE", Nearness::kPhb},        {"SYS", Nearness::kSys},
      {"SOC", Nearness::kSys},         {"QPI", Nearness::kSys},
      {"HCCS", Nearness::kVendorLink}, {"HCCS_SW", Nearness::kVendorLink},
      {"SIO", Nearness::kVendorLink},  {"NA", Nearness::kUnknown},
      {"N/A", Nearness::kUnknown},     {"DIS", Nearness::kUnknown}};
  cell.links = 0;
  for (const auto& [text, nearness] : kWords) {
    if (word != text) continue;
    cell.nearness = nearness;
    if (nearness == Nearness::kVendorLink) cell.links = 1;
    return true;
  }
  cell.nearness = Nearness::kVendorLink;
  return word.substr(0, 2) == "NV" && is_count(word.substr(2), cell.links) && cell.links >= 1 &&
         cell.links <= 64;
}

// Whether a table tells classes of paths; others of the tool tell what peers may do to each other ("OK").
bool tells_classes(const SmiTable& table) {
  for (size_t row = 0; row < table.rows.size(); ++row) {
    for (size_t column = 0; column < table.labels.size(); ++column) {
      if (row != column && is_smi_class(table.rows[row].cells[column])) return true;
    }
  }
  return table.labels.size() == 1;
}

// The one table of classes. Another of the same devices tells no more of them; one of others is of another
// machine.
Result<const SmiTable*> choose(const SmiText& text, const std::string& origin, Notes& notes) {
  const SmiTable* chosen = nullptr;
  for (const SmiTable& table : text.tables) {
    if (chosen == nullptr && tells_classes(table)) {
      chosen = &table;
    } else if (!tells_classes(table)) {
      notes.add(table.line, "a table that tells no classes of paths; left out");
    } else if (table.labels != chosen->labels) {
      return bad_line(
          origin, table.line,
          fmt::format("a second table, of other columns than the one of line {}: give each machine a "
                      "file of its own",
                      chosen->line));
    } else {
      notes.add(table.line, fmt::format("a second table of the devices of line {}; left out", chosen->line));
    }
  }
  return chosen;
}

MatrixDevice device_of(const SmiTable& table, size_t index, const Dialect& dialect) {
  const SmiTable::Row& row = table.rows[index];
  MatrixDevice device;
  device.node.name = table.labels[index];
  device.node.attributes["smi.name"] = table.labels[index];
  device.node.kind = is_smi_device(device.node.name, dialect.devices) ? NodeKind::kDevice : NodeKind::kNic;
  if (device.node.kind == NodeKind::kDevice) device.node.vendor = dialect.vendor;
  if (!row.cpus.empty()) device.node.attributes["cpuset"] = row.cpus;
  if (!row.memory_numa.empty()) device.node.attributes["smi.memory_numa"] = row.memory_numa;
  device.cpus = row.cpus;
  uint32_t number = 0;  // of several, the first
  if (is_count(row.numa.substr(0, row.numa.find_first_of("-,")), number) && number < 4096)
    device.numa = static_cast<int32_t>(number);
  return device;
}

// "NIC0" is a number; which NIC it is stands in the legend.
void note_names(const SmiTable& table, const SmiText& text, Notes& notes) {
  for (const std::string& label : table.labels) {
    const bool named = std::any_of(text.legend.begin(), text.legend.end(),
                                   [&](const auto& entry) { return entry.first == label; });
    if (!named && is_smi_device(label, {"NIC"}))
      notes.add(table.line, label + " has no name in a legend: the text may be cut off");
  }
}

Result<ClassMatrix> matrix_of(const SmiTable& table, const SmiText& text, const Dialect& dialect,
                              const std::string& origin) {
  ClassMatrix matrix;
  const size_t size = table.labels.size();
  for (size_t row = 0; row < size; ++row) {
    matrix.devices.push_back(device_of(table, row, dialect));
    for (size_t column = 0; column < size; ++column) {
      const std::string& word = table.rows[row].cells[column];
      ClassMatrix::Cell cell;
      if (!parse_cell(word, cell)) {
        return bad_line(origin, table.rows[row].line,
                        fmt::format("\"{}\" between {} and {} is no class that is known", word,
                                    table.labels[row], table.labels[column]));
      }
      if ((cell.nearness == Nearness::kSelf) != (row == column)) {
        return bad_line(origin, table.rows[row].line,
                        fmt::format("X of row {} is not in its column", table.labels[row]));
      }
      matrix.cells.push_back(cell);
    }
  }
  for (const auto& [label, name] : text.legend) {
    const auto found = std::find(table.labels.begin(), table.labels.end(), label);
    if (found == table.labels.end()) continue;
    Node& node = matrix.devices[static_cast<size_t>(found - table.labels.begin())].node;
    if (node.kind == NodeKind::kNic) node.name = name;
  }
  matrix.link_kind = dialect.kind;
  matrix.link_bytes_per_s = dialect.link_bytes_per_s;
  matrix.most_links = dialect.most_links;
  return matrix;
}

Result<Imported> import_table(const Dialect& dialect, const char* tool, std::string_view text,
                              const std::string& origin) {
  COMITY_ASSIGN_OR_RETURN(const std::vector<TextLine> lines, lines_of(text, origin));
  Notes notes;
  COMITY_ASSIGN_OR_RETURN(const SmiText read, read_smi_tables(lines, dialect.devices, origin, notes));
  COMITY_ASSIGN_OR_RETURN(const SmiTable* const table, choose(read, origin, notes));
  if (table == nullptr) {
    return bad_line(origin, 1,
                    fmt::format("no line of columns {0}0, {0}1, ... with rows of classes below is here",
                                dialect.devices[0]));
  }
  if (!table->has_titles && is_smi_device(table->labels[0], {dialect.titled}))
    notes.add(table->line, "no CPU or NUMA affinity is told: columns may be cut off on the right");
  note_names(*table, read, notes);
  COMITY_ASSIGN_OR_RETURN(const ClassMatrix matrix, matrix_of(*table, read, dialect, origin));
  std::vector<std::string> doubts;
  Result<Graph> made = graph_of_matrix(matrix, doubts);
  if (!made.ok()) return bad_line(origin, table->line, std::string(made.status().message()));
  for (std::string& doubt : doubts) notes.add(table->line, std::move(doubt));
  Graph graph = *std::move(made);
  COMITY_RETURN_IF_ERROR(validate(graph).in(origin));
  canonicalize(graph);
  graph.origin = fmt::format("{} ({})", origin, tool);
  return Imported{std::move(graph), notes.warnings(origin)};
}

}  // namespace

Result<Imported> import_nvidia_smi(std::string_view text, const std::string& origin) {
  return import_table(kNvidia, "nvidia-smi", text, origin);
}

Result<Imported> import_npu_smi(std::string_view text, const std::string& origin) {
  return import_table(kNpu, "npu-smi", text, origin);
}

}  // namespace comity::topology
