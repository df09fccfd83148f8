// The tables of `nvidia-smi topo` and `npu-smi info -t topo` within a text, whole or refused. Internal to
// their importer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"
#include "topology/import/notes.h"
#include "topology/import/text_lines.h"

namespace comity::topology {

// What both tools print: a line of columns' names, a row for each of them, titles of further columns behind.
struct SmiTable {
  // What a row says behind the matrix; empty where it says nothing, or N/A.
  struct Row {
    size_t line = 0;
    std::vector<std::string> cells;  // one per label
    std::string cpus, numa, memory_numa;
  };
  size_t line = 0;                  // of the columns
  std::vector<std::string> labels;  // "GPU0", "mlx5_0"
  std::vector<Row> rows;            // in the order of the labels
  bool has_titles = false;
};

// "GPU12", "NPU3" or "Phy-ID12" of a tool whose devices are called so.
bool is_smi_device(std::string_view word, const std::vector<std::string_view>& stems);
// A word for how near two devices are: "PIX", "NV12", "HCCS".
bool is_smi_class(std::string_view word);

// All tables, and what stands outside them in the form "NIC0: mlx5_0" as `legend`. kInvalidArgument, naming
// row and column, where a row or a column lacks a cell: what a terminal cut off or wrapped is no smaller
// machine. A line within a table that is neither a row nor blank is noted.
struct SmiText {
  std::vector<SmiTable> tables;
  std::vector<std::pair<std::string, std::string>> legend;
};
Result<SmiText> read_smi_tables(const std::vector<TextLine>& lines,
                                const std::vector<std::string_view>& stems, const std::string& origin,
                                Notes& notes);

}  // namespace comity::topology
