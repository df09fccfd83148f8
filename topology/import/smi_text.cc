#include "topology/import/smi_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "topology/import/class_matrix.h"
#include "topology/import/text_lines.h"

namespace comity::topology {

namespace {

constexpr size_t kMostDevices = 512;

// Of NVIDIA's and Huawei's tools: the same table, other names.
struct Dialect {
  std::string_view device;  // "GPU"
  std::string_view vendor;
  LinkKind kind;
  uint64_t link_bytes_per_s;
  uint32_t most_links;
};

// The generation is not told: NVLink 2 to 4 have 25 GB/s one way; HCCS 56 GB/s between two Ascend 910B.
constexpr Dialect kNvidia{"GPU", "nvidia", LinkKind::kNvlink, 25'000'000'000, 18};
constexpr Dialect kNpu{"NPU", "huawei", LinkKind::kHccs, 56'000'000'000, 0};

bool is_count(std::string_view text, uint32_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// "GPU12".
bool is_device(std::string_view word, std::string_view prefix) {
  uint32_t number = 0;
  return word.substr(0, prefix.size()) == prefix && is_count(word.substr(prefix.size()), number);
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

class SmiReader {
 public:
  SmiReader(const Dialect& dialect, const std::string& origin) : dialect_(dialect), origin_(origin) {}
  Result<Graph> read(const std::vector<TextLine>& lines);
  const Notes& notes() const { return notes_; }

 private:
  bool is_header(const std::vector<std::string>& words) const;
  Status read_header(const TextLine& line);
  Status read_row(const TextLine& line, const std::vector<std::string>& words);
  void read_affinity(size_t row, const std::vector<std::string>& words);
  void read_legend(const std::vector<std::string>& words);

  const Dialect& dialect_;
  const std::string& origin_;
  Notes notes_;
  ClassMatrix matrix_;
  std::map<std::string, size_t> labels_;
  std::vector<bool> seen_;
  std::vector<std::string> titles_;  // of the columns after the matrix: "CPU", "NUMA", "GPU"
};

// Device labels alone, up to the titles.
bool SmiReader::is_header(const std::vector<std::string>& words) const {
  return !words.empty() && is_device(words[0], dialect_.device) &&
         (words.size() == 1 || words[1] == "CPU" || is_device(words[1], dialect_.device) ||
          (words.size() > 2 && words[1] != "X" && !is_device(words[0], "NIC") &&
           words[1].find('_') != std::string::npos));
}

Status SmiReader::read_header(const TextLine& line) {
  const std::vector<std::string> words = line.words();
  size_t at = 0;
  for (; at < words.size() && words[at] != "CPU" && words[at] != "NUMA"; ++at) {
    // "GPU NUMA ID" is a title too.
    if (words[at] == dialect_.device) break;
    MatrixDevice device;
    device.node.kind = is_device(words[at], dialect_.device) ? NodeKind::kDevice : NodeKind::kNic;
    device.node.name = words[at];
    device.node.attributes["smi.name"] = words[at];
    if (device.node.kind == NodeKind::kDevice) device.node.vendor = dialect_.vendor;
    if (!labels_.emplace(words[at], labels_.size()).second)
      return bad_line(origin_, line.number, "column " + words[at] + " is there twice");
    matrix_.devices.push_back(std::move(device));
  }
  for (; at < words.size(); ++at) {
    if (words[at] != "Affinity" && words[at] != "ID" &&
        !(words[at] == "NUMA" && !titles_.empty() && titles_.back() == dialect_.device)) {
      titles_.push_back(words[at]);
    }
  }
  const size_t size = matrix_.devices.size();
  if (size > kMostDevices)
    return bad_line(origin_, line.number, fmt::format("{} columns; {} are the most", size, kMostDevices));
  matrix_.cells.resize(size * size);
  seen_.resize(size);
  return {};
}

void SmiReader::read_affinity(size_t row, const std::vector<std::string>& words) {
  MatrixDevice& device = matrix_.devices[row];
  std::string cpus, numa;
  for (size_t i = 1 + matrix_.devices.size(), title = 0; i < words.size() && title < titles_.size();
       ++i, ++title) {
    if (words[i].find("N/A") != std::string::npos) continue;
    if (titles_[title] == "CPU") cpus = words[i];
    if (titles_[title] == "NUMA") numa = words[i];
  }
  if (!cpus.empty()) device.node.attributes["cpuset"] = cpus;
  device.domain = numa.empty() ? cpus : "numa " + numa;
  uint32_t number = 0;
  if (is_count(numa.substr(0, numa.find_first_of("-,")), number) && number < 4096)
    device.numa = static_cast<int32_t>(number);
}

Status SmiReader::read_row(const TextLine& line, const std::vector<std::string>& words) {
  const size_t row = labels_.at(words[0]), size = matrix_.devices.size();
  if (seen_[row]) return bad_line(origin_, line.number, "row " + words[0] + " is there twice");
  seen_[row] = true;
  if (words.size() < size + 1) {
    return bad_line(origin_, line.number,
                    fmt::format("row {} has {} of {} cells", words[0], words.size() - 1, size));
  }
  for (size_t column = 0; column < size; ++column) {
    ClassMatrix::Cell& cell = matrix_.cells[row * size + column];
    if (!parse_cell(words[column + 1], cell)) {
      return bad_line(origin_, line.number,
                      fmt::format("\"{}\" between {} and {} is no class that is known", words[column + 1],
                                  words[0], matrix_.devices[column].node.name));
    }
    if ((cell.nearness == Nearness::kSelf) != (row == column)) {
      return bad_line(origin_, line.number, fmt::format("X of row {} is not in its column", words[0]));
    }
  }
  read_affinity(row, words);
  return {};
}

// "NIC0: mlx5_0".
void SmiReader::read_legend(const std::vector<std::string>& words) {
  if (words.size() != 2 || words[0].back() != ':') return;
  const auto found = labels_.find(words[0].substr(0, words[0].size() - 1));
  if (found != labels_.end() && matrix_.devices[found->second].node.kind == NodeKind::kNic) {
    matrix_.devices[found->second].node.name = words[1];
  }
}

Result<Graph> SmiReader::read(const std::vector<TextLine>& lines) {
  size_t header = 0;
  for (const TextLine& line : lines) {
    const std::vector<std::string> words = line.words();
    if (words.empty()) continue;
    if (header == 0) {
      if (!is_header(words)) continue;
      header = line.number;
      COMITY_RETURN_IF_ERROR(read_header(line));
    } else if (labels_.count(words[0]) != 0) {
      COMITY_RETURN_IF_ERROR(read_row(line, words));
    } else {
      read_legend(words);
    }
  }
  if (header == 0)
    return bad_line(
        origin_, 1,
        fmt::format("no line of columns {}0, {}1, ... is here", dialect_.device, dialect_.device));
  for (size_t i = 0; i < seen_.size(); ++i) {
    if (!seen_[i])
      return bad_line(origin_, header, fmt::format("column {} has no row", matrix_.devices[i].node.name));
  }
  matrix_.link_kind = dialect_.kind;
  matrix_.link_bytes_per_s = dialect_.link_bytes_per_s;
  matrix_.most_links = dialect_.most_links;
  const Result<Graph> graph = graph_of_matrix(matrix_);
  if (!graph.ok()) return bad_line(origin_, header, std::string(graph.status().message()));
  return *graph;
}

Result<Imported> import_table(const Dialect& dialect, const char* tool, std::string_view text,
                              const std::string& origin) {
  COMITY_ASSIGN_OR_RETURN(const std::vector<TextLine> lines, lines_of(text, origin));
  SmiReader reader(dialect, origin);
  COMITY_ASSIGN_OR_RETURN(Graph graph, reader.read(lines));
  COMITY_RETURN_IF_ERROR(validate(graph).in(origin));
  canonicalize(graph);
  graph.origin = fmt::format("{} ({})", origin, tool);
  return Imported{std::move(graph), reader.notes().warnings(origin)};
}

}  // namespace

Result<Imported> import_nvidia_smi(std::string_view text, const std::string& origin) {
  return import_table(kNvidia, "nvidia-smi", text, origin);
}

Result<Imported> import_npu_smi(std::string_view text, const std::string& origin) {
  return import_table(kNpu, "npu-smi", text, origin);
}

}  // namespace comity::topology
