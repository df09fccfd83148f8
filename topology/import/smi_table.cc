#include "topology/import/smi_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "src/base/text.h"

namespace comity::topology {

namespace {

constexpr size_t kMostDevices = 512;
constexpr size_t kNone = SIZE_MAX;
constexpr size_t kTabStop = 8;
// The columns behind the matrix, by the first word of their titles.
enum class Title : uint8_t { kCpus, kNuma, kMemoryNuma, kOther };

bool is_number(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// A word and where it begins.
struct Word {
  size_t at = 0;
  std::string text;
};

std::vector<Word> words_of(const std::string& text) {
  std::vector<Word> words;
  size_t at = 0;
  while ((at = text.find_first_not_of(" \t", at)) != std::string::npos) {
    const size_t end = std::min(text.find_first_of(" \t", at), text.size());
    words.push_back({at, text.substr(at, end - at)});
    at = end;
  }
  return words;
}

// What stands between tabs, without the blanks around it, from the first that is not blank.
std::vector<Word> tab_cells_of(const std::string& text) {
  std::vector<Word> cells;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\t', at), text.size());
    const size_t from = std::min(text.find_first_not_of(' ', at), end);
    const size_t last = text.find_last_not_of(' ', end == 0 ? 0 : end - 1);
    const bool blank = from >= end || last == std::string::npos || last < from;
    if (!blank || !cells.empty()) cells.push_back({from, blank ? "" : text.substr(from, last - from + 1)});
    at = end + 1;
  }
  while (!cells.empty() && cells.back().text.empty()) cells.pop_back();
  return cells;
}

// Numbers and ranges that ascend: "0-23,48-71". One that was cut off seldom does.
bool is_list(std::string_view text) {
  const auto parts = split(text);
  return std::all_of(parts.begin(), parts.end(),
                     [](std::string_view part) { return range_of(part).has_value(); });
}

class Reader {
 public:
  Reader(const std::vector<TextLine>& lines, const std::vector<std::string_view>& stems,
         const std::string& origin, Notes& notes)
      : lines_(lines), stems_(stems), origin_(origin), notes_(notes) {}
  Result<SmiText> read();

 private:
  struct Layout {
    bool tabs = false;     // each column between tabs
    bool aligned = false;  // columns stand below each other
    std::vector<Title> titles;
    std::vector<size_t> offsets;  // of the titles
  };
  // Of a row: whether its cells stand between tabs, where it begins, and where from there the matrix ends.
  struct Place {
    bool tabs = false;
    size_t begin = 0, rest = 0;
  };
  bool is_header(size_t index) const;
  size_t next_with_words(size_t index) const;
  Status begin(const TextLine& line);
  void read_title(const std::vector<Word>& words, size_t& at);
  Status read_line(const TextLine& line);
  Status read_row(const TextLine& line, size_t index);
  Status read_rest(const std::vector<Word>& rest, const Place& place, SmiTable::Row& row);
  std::vector<size_t> titles_of(const std::vector<Word>& rest, const Place& place) const;
  void set(Title title, const std::string& text, SmiTable::Row& row);
  Status finish() const;
  size_t label(const std::string& word) const;
  const std::string& name(size_t row) const { return table().labels[row]; }
  SmiTable& table() { return text_.tables.back(); }
  const SmiTable& table() const { return text_.tables.back(); }
  bool is_device(std::string_view word) const { return is_smi_device(word, stems_); }

  const std::vector<TextLine>& lines_;
  const std::vector<std::string_view>& stems_;
  const std::string& origin_;
  Notes& notes_;
  SmiText text_;
  Layout layout_;
  bool in_rows_ = false;  // not yet in the legend
  size_t seen_ = 0;       // rows of this table
};

size_t Reader::next_with_words(size_t index) const {
  do {
    ++index;
  } while (index < lines_.size() && lines_[index].words().empty());
  return index;
}

// The names of columns, the first of which begins the next row; or, where no row follows, nothing but such
// names.
bool Reader::is_header(size_t index) const {
  const std::vector<std::string> words = lines_[index].words();
  if (words.empty() || !is_device(words[0]) || (words.size() > 1 && is_smi_class(words[1]))) return false;
  const size_t next = next_with_words(index);
  if (next < lines_.size()) {
    const std::vector<std::string> row = lines_[next].words();
    if (row[0] == words[0] && row.size() > 1 && row[1] == "X") return true;
  }
  if (in_rows_ || words.size() < 2) return false;
  return is_device(words[1]) || words[1] == "CPU";
}

// "CPU Affinity", "NUMA Affinity", "GPU NUMA ID".
void Reader::read_title(const std::vector<Word>& words, size_t& at) {
  const auto next_is = [&](std::string_view word) {
    if (at + 1 >= words.size() || words[at + 1].text != word) return false;
    ++at;
    return true;
  };
  layout_.offsets.push_back(words[at].at);
  if (words[at].text == "CPU" || words[at].text == "NUMA") {
    layout_.titles.push_back(words[at].text == "CPU" ? Title::kCpus : Title::kNuma);
    if (!next_is("Affinity"))
      notes_.add(table().line,
                 fmt::format("the title \"{}\" is not whole: columns may be cut off", words[at].text));
  } else if (next_is("NUMA")) {
    next_is("ID");
    layout_.titles.push_back(Title::kMemoryNuma);
  } else {
    layout_.titles.push_back(Title::kOther);
    notes_.add(table().line, fmt::format("the column \"{}\" is not known; left out", words[at].text));
  }
}

Status Reader::begin(const TextLine& line) {
  text_.tables.emplace_back();
  table().line = line.number;
  layout_ = {};
  seen_ = 0;
  const std::vector<Word> words = words_of(line.text);
  const auto is_title = [&](const Word& word) {
    return word.text == "CPU" || word.text == "NUMA" ||
           std::find(stems_.begin(), stems_.end(), word.text) != stems_.end();
  };
  size_t at = 0;
  for (; at < words.size() && !is_title(words[at]); ++at) {
    if (label(words[at].text) != kNone)
      return bad_line(origin_, line.number, "column " + words[at].text + " is there twice");
    if (at == kMostDevices)
      return bad_line(origin_, line.number, fmt::format("more than {} columns", kMostDevices));
    table().labels.push_back(words[at].text);
  }
  for (; at < words.size(); ++at) read_title(words, at);
  table().has_titles = !layout_.titles.empty();
  table().rows.resize(table().labels.size());
  const std::vector<Word> cells = tab_cells_of(line.text);
  layout_.tabs = cells.size() == table().labels.size() + layout_.titles.size() &&
                 std::none_of(cells.begin(), cells.end(), [](const Word& cell) { return cell.text.empty(); });
  layout_.aligned = line.text.find("  ") != std::string::npos && line.text.find('\t') == std::string::npos;
  in_rows_ = true;
  return {};
}

size_t Reader::label(const std::string& word) const {
  const auto found = std::find(table().labels.begin(), table().labels.end(), word);
  return found == table().labels.end() ? kNone : static_cast<size_t>(found - table().labels.begin());
}

void Reader::set(Title title, const std::string& text, SmiTable::Row& row) {
  if (text.find("N/A") != std::string::npos || title == Title::kOther) return;
  if (!is_list(text)) {
    notes_.add(row.line, fmt::format("\"{}\" is no list of CPUs or NUMA domains; left out", text));
    return;
  }
  (title == Title::kCpus ? row.cpus : title == Title::kNuma ? row.numa : row.memory_numa) = text;
}

// Titles of the words behind the matrix, of which there are fewer than titles; kNone: nothing tells. Tabs do;
// a word right below a title does; and where a terminal made blanks of tabs, every eighth column is one.
// `begin`: where the row begins. `rest`: between tabs, if `tabs`, the empty ones too.
std::vector<size_t> Reader::titles_of(const std::vector<Word>& rest, const Place& place) const {
  std::vector<size_t> titles;
  size_t stop = place.rest;  // where the next cell would begin, and which it is
  for (size_t i = 0, cell = 0; i < rest.size(); ++i, ++cell) {
    const size_t at = rest[i].at - place.begin;
    const auto below = std::find(layout_.offsets.begin(), layout_.offsets.end(), rest[i].at);
    const bool stops = at % kTabStop == 0 && at >= stop;
    if (stops) cell += (at - stop) / kTabStop;
    stop = (at + rest[i].text.size()) / kTabStop * kTabStop + kTabStop;
    size_t title = kNone;
    if (place.tabs) {
      title = i;
    } else if (layout_.aligned && below != layout_.offsets.end()) {
      title = static_cast<size_t>(below - layout_.offsets.begin());
    } else if (layout_.aligned && stops) {
      title = cell;
    }
    // The last title has an empty cell before it, so wide is the one before.
    titles.push_back(title == kNone ? kNone : std::min(title, layout_.titles.size() - 1));
  }
  return titles;
}

// What stands behind the matrix.
Status Reader::read_rest(const std::vector<Word>& rest, const Place& place, SmiTable::Row& row) {
  const auto said = static_cast<size_t>(
      std::count_if(rest.begin(), rest.end(), [](const Word& word) { return !word.text.empty(); }));
  const bool all = said >= layout_.titles.size();
  const std::vector<size_t> titles = all ? std::vector<size_t>() : titles_of(rest, place);
  size_t number = 0;
  for (size_t i = 0; i < rest.size(); ++i) {
    const std::string& text = rest[i].text;
    if (text.empty()) continue;
    if (is_smi_class(text) && text != "N/A") {
      return bad_line(origin_, row.line,
                      fmt::format("row {} has \"{}\" where no column is: the line of columns is cut off",
                                  name(static_cast<size_t>(&row - table().rows.data())), text));
    }
    const size_t title = all ? number++ : titles[i];
    if (title == kNone) {
      notes_.add(row.line, "fewer figures than titles, and nothing tells which are there; left out");
    } else if (title >= layout_.titles.size()) {
      notes_.add(row.line, fmt::format("\"{}\" stands below no title; left out", text));
    } else {
      set(layout_.titles[title], text, row);
    }
  }
  return {};
}

Status Reader::read_row(const TextLine& line, size_t index) {
  SmiTable::Row& row = table().rows[index];
  if (row.line != 0) return bad_line(origin_, line.number, "row " + name(index) + " is there twice");
  row.line = line.number;
  ++seen_;
  if (!line.ended) notes_.add(line.number, "the text ends with this row, which may be cut off");
  const bool tabs = layout_.tabs && line.text.find('\t') != std::string::npos;
  const std::vector<Word> words = tabs ? tab_cells_of(line.text) : words_of(line.text);
  const size_t size = table().labels.size();
  for (size_t column = 0; column < size; ++column) {
    if (column + 1 >= words.size() || words[column + 1].text.empty()) {
      return bad_line(origin_, line.number,
                      fmt::format("row {} has no cell in column {}: the table is cut off or wrapped",
                                  name(index), table().labels[column]));
    }
    row.cells.push_back(words[column + 1].text);
  }
  const size_t begin = words.front().at, last = words[size].at - begin;
  return read_rest({words.begin() + static_cast<ptrdiff_t>(size) + 1, words.end()},
                   {tabs, begin, last / kTabStop * kTabStop + kTabStop}, row);
}

Status Reader::read_line(const TextLine& line) {
  const std::vector<std::string> words = line.words();
  if (words[0] == "Legend:" || (words.size() > 1 && (words[1] == "Legend:" || words[1] == "="))) {
    in_rows_ = false;
    return {};
  }
  if (words.size() == 2 && words[0].back() == ':') {
    text_.legend.emplace_back(words[0].substr(0, words[0].size() - 1), words[1]);
    if (!line.ended) notes_.add(line.number, "the text ends with this name, which may be cut off");
  }
  const size_t row = label(words[0]);
  const bool like_a_row = words.size() > 1 && is_smi_class(words[1]);
  if (row != kNone && (like_a_row || (in_rows_ && table().rows[row].line == 0))) return read_row(line, row);
  const bool device = is_device(words[0]);
  if (device ? in_rows_ || like_a_row : in_rows_ && like_a_row && !is_smi_class(words[0])) {
    return bad_line(
        origin_, line.number,
        fmt::format("row {} has no column of its name: the table is cut off or wrapped", words[0]));
  }
  if (!in_rows_) return {};
  if (is_smi_class(words[0])) {
    return bad_line(
        origin_, line.number,
        fmt::format("a line begins with the cell \"{}\" and no row's name: the table is wrapped", words[0]));
  }
  if (seen_ < table().rows.size())
    notes_.add(line.number, "this line within the table is not understood; left out");
  return {};
}

Status Reader::finish() const {
  if (text_.tables.empty()) return {};
  for (size_t i = 0; i < table().rows.size(); ++i) {
    if (table().rows[i].line == 0)
      return bad_line(origin_, table().line,
                      fmt::format("column {} has no row: the table is cut off", name(i)));
  }
  return {};
}

Result<SmiText> Reader::read() {
  for (size_t i = 0; i < lines_.size(); ++i) {
    if (lines_[i].words().empty()) continue;
    if (is_header(i)) {
      COMITY_RETURN_IF_ERROR(finish());
      COMITY_RETURN_IF_ERROR(begin(lines_[i]));
    } else if (!text_.tables.empty()) {
      COMITY_RETURN_IF_ERROR(read_line(lines_[i]));
    }
  }
  COMITY_RETURN_IF_ERROR(finish());
  return std::move(text_);
}

}  // namespace

bool is_smi_device(std::string_view word, const std::vector<std::string_view>& stems) {
  return std::any_of(stems.begin(), stems.end(), [&](std::string_view stem) {
    return word.substr(0, stem.size()) == stem && is_number(word.substr(stem.size()));
  });
}

bool is_smi_class(std::string_view word) {
  constexpr std::array<std::string_view, 14> kWords = {"X",   "PIX", "PXB",  "PHB",     "NODE", "SYS", "SOC",
                                                       "QPI", "DIS", "HCCS", "HCCS_SW", "SIO",  "NA",  "N/A"};
  if (std::find(kWords.begin(), kWords.end(), word) != kWords.end()) return true;
  return word.substr(0, 2) == "NV" && word.size() > 2 && is_number(word.substr(2));
}

Result<SmiText> read_smi_tables(const std::vector<TextLine>& lines,
                                const std::vector<std::string_view>& stems, const std::string& origin,
                                Notes& notes) {
  return Reader(lines, stems, origin, notes).read();
}

}  // namespace comity::topology
